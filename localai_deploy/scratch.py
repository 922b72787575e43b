"""Temporary directories of this process; what a killed process left is removed by the next one.

A directory is locked as long as its process lives, so nothing has to be guessed from numbers or times.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

Closing = Callable[[Path], None]
"""What to do with a directory before it is removed, such as ending what is connected to it."""


def _nothing(_: Path) -> None:
    """Most directories hold plain files."""


class ScratchDirectory:
    """A directory that only this user may enter, called ``PREFIX…``; abandoned ones of that name go.

    :param prefix: begins the names of directories of this kind, and of no others.
    :param closing: called with each abandoned directory before it is removed, and with this one.
    """

    def __init__(self, prefix: str, parent: Path, closing: Closing = _nothing) -> None:
        remove_abandoned(prefix, parent, closing)
        unlocked = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=parent))
        self._lock = os.open(unlocked, os.O_RDONLY)
        self._closing = closing
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = unlocked.rename(parent / unlocked.name.removeprefix("."))

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self._closing(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_abandoned(prefix: str, parent: Path, closing: Closing = _nothing) -> None:
    """Remove this user's directories ``PREFIX…`` that no living process holds."""
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), _unused(path) as is_abandoned:
            if is_abandoned:
                closing(path)
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _unused(path: Path) -> Iterator[bool]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        yield _is_ours(descriptor) and _lock(descriptor)
    finally:
        os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    found = os.fstat(descriptor)
    return found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == stat.S_IRWXU


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
