"""Generations of NVIDIA's chips: kernel modules, last driver branch, CUDA toolkits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CudaVersion = tuple[int, int]


class KernelModules(StrEnum):
    """The two variants of NVIDIA's kernel modules."""

    OPEN = "open"
    PROPRIETARY = "proprietary"


ONLY_PROPRIETARY = (KernelModules.PROPRIETARY,)
EITHER = (KernelModules.OPEN, KernelModules.PROPRIETARY)
ONLY_OPEN = (KernelModules.OPEN,)


@dataclass(frozen=True, slots=True)
class Generation:
    """What all chips of a generation share.

    :param modules: variants that drive it, the recommended one first.
    :param last_branch: last driver branch; ``None``: it is in the current one.
    """

    name: str
    modules: tuple[KernelModules, ...]
    last_branch: int | None = None


KEPLER = Generation("Kepler", ONLY_PROPRIETARY, 470)
MAXWELL = Generation("Maxwell", ONLY_PROPRIETARY, 580)
PASCAL = Generation("Pascal", ONLY_PROPRIETARY, 580)
VOLTA = Generation("Volta", ONLY_PROPRIETARY, 580)
TURING = Generation("Turing", EITHER)
AMPERE = Generation("Ampere", EITHER)
ADA = Generation("Ada", EITHER)
HOPPER = Generation("Hopper", EITHER)
GRACE_HOPPER = Generation("Grace Hopper", ONLY_OPEN)
BLACKWELL = Generation("Blackwell", ONLY_OPEN)
RUBIN = Generation("Rubin", ONLY_OPEN)
UNKNOWN = Generation("unknown", ONLY_OPEN)
"""Everything since Blackwell needs the open modules: the safe choice for a chip newer than this table."""

_TOOLKITS: dict[tuple[int, int], tuple[CudaVersion, CudaVersion | None]] = {
    (3, 0): ((6, 0), (10, 2)),
    (3, 5): ((6, 0), (11, 8)),
    (3, 7): ((6, 5), (11, 8)),
    (5, 0): ((6, 0), (12, 9)),
    (5, 2): ((6, 5), (12, 9)),
    (6, 0): ((8, 0), (12, 9)),
    (6, 1): ((8, 0), (12, 9)),
    (7, 0): ((9, 0), (12, 9)),
    (7, 5): ((10, 0), None),
    (8, 0): ((11, 0), None),
    (8, 6): ((11, 1), None),
    (8, 9): ((11, 8), None),
    (9, 0): ((11, 8), None),
    (10, 0): ((12, 8), None),
    (10, 3): ((12, 9), None),
    (11, 0): ((13, 0), None),
    (12, 0): ((12, 8), None),
    (12, 1): ((12, 9), None),
}
"""Compute capability → first and last CUDA toolkit that compiles for it (the toolkits' release notes)."""


@dataclass(frozen=True, slots=True)
class CudaRange:
    """CUDA toolkits that make programs for a card; ``last`` is ``None`` where none has left it out yet."""

    first: CudaVersion
    last: CudaVersion | None

    def has_major(self, major: int) -> bool:
        """Whether any toolkit of this major version is in the range."""
        return self.first[0] <= major and (self.last is None or major <= self.last[0])


def cuda_range(compute_capability: tuple[int, int] | None) -> CudaRange | None:
    """Toolkits for a compute capability; ``None`` where it is unknown or older than 3.0."""
    found = None if compute_capability is None else _TOOLKITS.get(compute_capability)
    return None if found is None else CudaRange(*found)
