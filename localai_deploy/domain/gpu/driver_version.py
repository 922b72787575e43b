"""Versions of NVIDIA's driver and of Linux, as packages and ``uname -r`` write them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from localai_deploy.errors import InputError

_CUDA_OF_BRANCH: tuple[tuple[int, tuple[int, int]], ...] = (
    (450, (11, 0)),
    (455, (11, 1)),
    (460, (11, 2)),
    (465, (11, 3)),
    (470, (11, 4)),
    (495, (11, 5)),
    (510, (11, 6)),
    (515, (11, 7)),
    (520, (11, 8)),
    (525, (12, 0)),
    (530, (12, 1)),
    (535, (12, 2)),
    (545, (12, 3)),
    (550, (12, 4)),
    (555, (12, 5)),
    (560, (12, 6)),
    (565, (12, 7)),
    (570, (12, 8)),
    (575, (12, 9)),
    (580, (13, 0)),
    (590, (13, 1)),
)
"""First branch with a CUDA version of the driver (release notes of the CUDA toolkits)."""


@dataclass(frozen=True, slots=True, order=True)
class DriverVersion:
    """``535.309.01``; numbers compare, zeros at the front do not count."""

    numbers: tuple[int, ...]
    text: str = field(compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def branch(self) -> int:
        """``535``."""
        return self.numbers[0]

    @property
    def cuda(self) -> tuple[int, int]:
        """Newest CUDA version that it runs; of branches newer than the table, the newest that is known."""
        return max((cuda for branch, cuda in _CUDA_OF_BRANCH if branch <= self.branch), default=(0, 0))


def parse_driver_version(text: str) -> DriverVersion:
    """Read ``535.309.01`` or a package's version, ``1:535.309.01-0+deb12u1``.

    :raises InputError: ``driver-version-invalid``.
    """
    match = re.fullmatch(r"(?:\d+:)?(\d{2,3}(?:\.\d+){1,2})(?:[-~+].*)?", text.strip())
    if match is None:
        raise InputError("driver-version-invalid", f"{text!r} is no version of NVIDIA's driver")
    return DriverVersion(tuple(int(part) for part in match[1].split(".")), match[1])


def parse_kernel_release(release: str) -> tuple[int, int] | None:
    """``6.12.95+deb13-amd64`` → ``(6, 12)``; ``None`` for what does not begin like a Linux version."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else None
