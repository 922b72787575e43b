"""A cgroup of this process's own, so that whatever it starts can be found and ended after it was killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOUNTS = {
    "name=systemd": Path("/sys/fs/cgroup/systemd"),
    "": Path("/sys/fs/cgroup/unified"),
}
_UNIFIED = Path("/sys/fs/cgroup")


@contextmanager
def own_group(name: str) -> Iterator[None]:
    """Be in the cgroup ``name`` with all children; where there are no such groups, nothing happens."""
    before = present_groups()
    for mount in before:
        (mount / name).mkdir(exist_ok=True)
        join_group(mount / name)
    try:
        yield
    finally:
        for mount, group in before.items():
            join_group(group)
            with contextlib.suppress(OSError):
                (mount / name).rmdir()


def present_groups() -> dict[Path, Path]:
    """Hierarchy → the group that this process is in."""
    found = {}
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, kind, path = line.split(":", maxsplit=2)
        mount = _mount_of(kind)
        if mount is not None:
            found[mount] = mount / path.lstrip("/")
    return found


def _mount_of(kind: str) -> Path | None:
    places = [_MOUNTS[kind]] if kind in _MOUNTS else []
    if not kind:
        places.append(_UNIFIED)
    return next((place for place in places if (place / "cgroup.procs").exists()), None)


def join_group(group: Path) -> None:
    """Be in a group with this process; its children stay where they are."""
    (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
