"""Removing what a sandbox left, whatever became of its process: found by the sandbox's token and folder.

Every step looks first, so that nothing needs root where nothing can be left.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from localai_deploy.errors import ExitCode, LocalaiError

_CGROUP_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"))
_NAMESPACES = Path("/run/netns")
_NSPAWN_RUN = Path("/run/systemd/nspawn/propagate")
_KILL_TIMEOUT_S = 20.0
_POLL_S = 0.05


def kernel_prefix(token: str) -> str:
    """How the names of this sandbox's namespaces and cgroups begin."""
    return f"localai-{token}"


def remains(token: str, data: Path) -> list[str]:
    """What is left of a sandbox, in words; empty when nothing is."""
    found = [f"control group {group}" for group in _groups(token)]
    found += [f"network namespace {path.name}" for path in _namespaces(token)]
    return found + ([str(data)] if data.exists() else [])


def sweep(token: str, data: Path) -> None:
    """End every process of a sandbox, then remove its namespaces, mounts and folder.

    :raises LocalaiError: ``sandbox-remains``.
    """
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while pids := _pids(token):
        if time.monotonic() > deadline:
            raise _stuck(f"processes that do not end: {' '.join(map(str, pids))}")
        for pid in pids:
            _kill(pid)
        time.sleep(_POLL_S)
    for path in _namespaces(token):
        _run("ip", "netns", "delete", path.name)
    for mounted in _mounts_below(data):
        _run("umount", "--lazy", mounted)
    for group in _groups(token):
        _remove_group(group, deadline)
    for propagated in _NSPAWN_RUN.glob(f"{kernel_prefix(token)}*"):
        propagated.rmdir()
    _remove_tree(data)


def _pids(token: str) -> list[int]:
    """All processes in the sandbox's cgroups and network namespaces."""
    below = [Path(found[0]) for group in _groups(token) for found in os.walk(group)]
    in_groups = {int(pid) for path in below for pid in _read(path / "cgroup.procs").split()}
    inodes = {path.stat().st_ino for path in _namespaces(token)} - {_network_of("self"), _network_of("1")}
    return sorted(in_groups | set(_in_namespaces(inodes)))


def _in_namespaces(inodes: set[int]) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        if _network_of(process.name) in inodes:
            yield int(process.name)


def _network_of(process: str) -> int:
    """The network namespace of a process, by inode; 0 when it is gone or may not be asked."""
    try:
        return Path("/proc", process, "ns/net").stat().st_ino
    except OSError:
        return 0


def _groups(token: str) -> list[Path]:
    prefix = kernel_prefix(token)
    return sorted(path for mount in _CGROUP_MOUNTS for path in mount.glob(f"{prefix}*") if path.is_dir())


def _namespaces(token: str) -> list[Path]:
    return sorted(_NAMESPACES.glob(f"{kernel_prefix(token)}*"))


def _mounts_below(data: Path) -> list[str]:
    """Mount points in the folder, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = [os.fsdecode(_unescaped(line.split(b" ")[4])) for line in lines]
    return sorted((point for point in points if Path(point).is_relative_to(data)), key=len, reverse=True)


def _unescaped(path: bytes) -> bytes:
    """The kernel writes blanks, line ends and backslashes as three octal digits."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), path)


def _remove_group(group: Path, deadline: float) -> None:
    while True:
        try:
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:
            if time.monotonic() > deadline:
                raise _stuck(f"control group {group}: {error.strerror}") from error
            time.sleep(_POLL_S)
        else:
            return


def _remove_tree(data: Path) -> None:
    if mounted := _mounts_below(data):
        raise _stuck(f"{mounted[0]} is still mounted")
    if data.exists():
        try:
            shutil.rmtree(data)
        except OSError as error:
            raise _stuck(f"{error.filename}: {error.strerror}") from error


def _stuck(why: str) -> LocalaiError:
    return LocalaiError(
        "sandbox-remains",
        "not all of the sandbox could be removed",
        why=why,
        hint="look at what holds it, then run localai-deploy sandbox stop again (as root if root started it)",
        exit_code=ExitCode.PARTIAL,
    )


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _stuck(f"{' '.join(argv)}: {done.stderr.strip()}")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise _stuck(f"process {pid} is another user's") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
