"""Temporary directories of this process; what a killed process left is removed by the next one.

A directory is locked as long as its process lives, so nothing has to be guessed from numbers or times.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_SOCKET_PATH_LENGTH = 107
_MUX_NAME_LENGTH = 18
"""ssh binds a socket under a name of its own, longer by this, before it gives it the wanted name."""
Closing = Callable[[Path], None]
"""What to do with a directory before it is removed, such as ending what is connected to it."""


def _nothing(_: Path) -> None:
    """Most directories hold plain files."""


def short_directory(below: int) -> Path:
    """Where sockets may lie: ``$XDG_RUNTIME_DIR`` if their paths stay short enough, else ``/tmp``.

    :param below: length of the longest path that will be made below it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    is_short = len(runtime) + 1 + below + _MUX_NAME_LENGTH <= _SOCKET_PATH_LENGTH
    usable = is_short and re.fullmatch(r"[A-Za-z0-9/._-]+", runtime) and os.access(runtime, os.W_OK)
    return Path(runtime if usable else "/tmp")  # noqa: S108 - a private directory is made there


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
