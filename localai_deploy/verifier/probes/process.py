"""One process out of ``/proc``: what it executes, with which arguments, as whom, with which files mapped."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

from localai_deploy.verifier.probes.api_key import contains_key, redact_arguments
from localai_deploy.verifier.probes.conda import file_sha256


def read(pid: int, keys: list[str]) -> dict[str, Any] | None:
    """Evidence about process ``pid``; None when there is no such process.

    Of its environment only the names are told, and whether a key stands in it.
    """
    try:
        arguments = _bytes(pid, "cmdline")
        environment = _bytes(pid, "environ")
        uids = read_ids(pid, "Uid")
        return {
            "pid": pid,
            "executable": os.readlink(f"/proc/{pid}/exe"),  # noqa: PTH115
            "executable_sha256": file_sha256(f"/proc/{pid}/exe"),
            "arguments": redact_arguments(_nul_separated(arguments)),
            "environment_names": [one.partition("=")[0] for one in _nul_separated(environment)],
            "has_key": contains_key(environment + b"\0" + arguments, keys),
            "uids": uids,
            "user": _user_name(uids[0]),
        }
    except OSError:
        return None


def mapped_files(pid: int) -> list[str]:
    """Paths that the process has mapped; one that was replaced since ends with ``(deleted)``."""
    try:
        lines = _bytes(pid, "maps").decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) > 5}
    return sorted(path for path in paths if path.startswith("/"))


def read_ids(pid: int, name: str) -> list[int]:
    """Real, effective, saved and file-system id, for ``Uid`` or ``Gid``.

    :raises OSError: no such process.
    """
    for line in _bytes(pid, "status").decode("utf-8", "replace").splitlines():
        label, _, values = line.partition(":")
        if label == name:
            return [int(value) for value in values.split()]
    raise OSError(f"/proc/{pid}/status has no {name}")


def _bytes(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def _nul_separated(data: bytes) -> list[str]:
    return [part.decode("utf-8", "replace") for part in data.split(b"\0")[:-1]]


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
