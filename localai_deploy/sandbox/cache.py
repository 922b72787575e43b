"""What is built once and kept between sandboxes: roots and images of guests."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cache:
    """A directory of which only the folders named here are the sandbox's."""

    directory: Path

    @property
    def container_root(self) -> Path:
        """The Debian root of container guests."""
        return self.directory / "container"

    @property
    def saved_guests(self) -> Path:
        """QEMU guests that were saved when they had booted."""
        return self.directory / "qemu"

    def size_bytes(self) -> int:
        """Space that is taken on the disk."""
        return sum(_size_bytes(folder) for folder in self._folders())

    def remove(self) -> None:
        """Delete the sandbox's folders; the directory goes when nothing else is in it."""
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def _folders(self) -> tuple[Path, ...]:
        return (self.container_root, self.saved_guests)


def _size_bytes(folder: Path) -> int:
    found: dict[int, int] = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(Path(directory, name))
                found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())
