"""What is built once and kept between sandboxes: roots and images of guests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.errors import ExitCode, LocalaiError


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

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep others from emptying it; many may use it at once."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def size_bytes(self) -> int:
        """Space that is taken on the disk."""
        return sum(_size_bytes(folder) for folder in self._folders())

    def remove(self) -> None:
        """Delete the sandbox's folders; the directory goes when nothing else is in it.

        :raises LocalaiError: ``sandbox-cache-in-use``.
        """
        if self._lock.exists():
            with self._lock.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise self._used() from error
                self._delete()
        else:
            self._delete()

    def _delete(self) -> None:
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)
        self._lock.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def _used(self) -> LocalaiError:
        return LocalaiError(
            "sandbox-cache-in-use",
            f"the cache {self.directory} was not emptied",
            why="another sandbox runs with it",
            hint="stop that one first, or give each its own: --cache DIR",
            exit_code=ExitCode.HELD,
        )

    @property
    def _lock(self) -> Path:
        return self.directory / "in-use.lock"

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
