"""A host's whole state as comparable data: all that changed since it was new, less what changes by itself."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

VOLATILE = (
    "/dev/*",
    "/proc/*",
    "/run/*",
    "/sys/*",
    "/tmp/*",
    "/var/tmp/*",
    "/var/log/*",
    "/var/cache/*",
    "/var/lib/apt/lists/*",
    "/var/lib/apt/periodic/*",
    "/var/lib/dpkg/*-old",
    "/var/lib/sudo/*",
    "/var/lib/systemd/*",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/home/*/.ansible/*",
    "/home/*/.sudo_as_admin_successful",
    "/root/.ansible/*",
    "*/.cache",
    "*/.cache/*",
    "*/__pycache__",
    "*/__pycache__/*",
)
"""Globs of paths that two hosts treated the same may differ in: file systems of the kernel, scratch
space, logs and the journal, caches (apt's archives, ldconfig's, man's), package lists, the one-back copies
that dpkg and the user tools keep, sudo's lectures and marks, systemd's own clocks and random seed,
Ansible's scratch folders (a killed run leaves its own), users' caches, compiled Python (which holds its
source's time)."""

_ABSENT = 0


class Entry(NamedTuple):
    """``kind``: file, directory, link, device, fifo, socket or absent; ``content``: SHA-256 or target."""

    kind: str
    mode: int
    uid: int
    gid: int
    content: str


_GONE = Entry("absent", _ABSENT, _ABSENT, _ABSENT, "")
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True)
class Layers:
    """Folders of one host: ``rootfs`` shows ``upper`` over ``image``; ``pristine`` is the first ``upper``."""

    rootfs: Path
    upper: Path
    pristine: Path
    image: Path


def whole_state(layers: Layers, without_content: Collection[str] = ()) -> dict[str, Entry]:
    """What differs now from the host before its first boot, by absolute path.

    :param without_content: paths whose content is random by design; their presence, mode and owner count.
    """
    state: dict[str, Entry] = {}
    for path in _touched(layers.upper, layers.image):
        if any(fnmatchcase(path, glob) for glob in VOLATILE):
            continue
        now, before = _entry(layers.rootfs, path), _entry_before(layers, path)
        if now != before:
            state[path] = now._replace(content="") if path in without_content else now
    return state


def _entry_before(layers: Layers, path: str) -> Entry:
    planted = _entry(layers.pristine, path)
    return _entry(layers.image, path) if planted == _GONE else planted


def difference(left: dict[str, Entry], right: dict[str, Entry]) -> list[str]:
    """One line per path in which two states differ; empty when they are equal."""
    paths = sorted({*left, *right})
    return [
        f"{path}: {left.get(path)} / {right.get(path)}" for path in paths if left.get(path) != right.get(path)
    ]


def _touched(upper: Path, image: Path) -> Iterator[str]:
    """Every path that ``upper`` holds, and what it hides of ``image``."""
    for path in _paths_below(upper):
        yield path
        hidden = image / path.lstrip("/")
        if _hides_all(upper / path.lstrip("/")) and hidden.is_dir() and not hidden.is_symlink():
            yield from (f"{path}{below}" for below in _paths_below(hidden))


def _paths_below(root: Path) -> Iterator[str]:
    for directory, names, files in os.walk(root):
        base = directory.removeprefix(str(root))
        yield from (f"{base}/{name}" for name in (*names, *files))


def _hides_all(path: Path) -> bool:
    """It is a whiteout, an opaque directory, or a file in place of a directory."""
    if path.is_symlink() or not path.is_dir():
        return True
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def _entry(root: Path, path: str) -> Entry:
    full = root / path.lstrip("/")
    try:
        status = full.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _GONE
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "device")
    return Entry(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, _content(full, kind))


def _content(path: Path, kind: str) -> str:
    if kind == "link":
        return str(path.readlink())
    if kind != "file":
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
