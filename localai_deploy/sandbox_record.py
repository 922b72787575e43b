"""Where a running sandbox says how to reach it: one private file, which ``--node sandbox`` reads."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.errors import InputError, LocalaiError

DIRECTORY_VARIABLE = "LOCALAI_DEPLOY_SANDBOX_DIR"
NODE = "sandbox"
"""The name of the embedded node, for ``--node``."""
LOCK_NAME = "daemon.lock"
"""Held by the sandbox's process as long as it lives; the file holds its pid."""
_RECORD_NAME = "connection.json"
_START_HINT = "start it: localai-deploy sandbox start"


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """How a running sandbox is reached, which guest bodies it has, and its process.

    :param further: names of nodes that it has besides the one that is called as the sandbox is.
    """

    connection: NodeConnection
    body: str
    pid: int
    further: tuple[str, ...] = ()


def runtime_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the sandbox's small private files lie; it need not exist."""
    if chosen := environment.get(DIRECTORY_VARIABLE):
        return Path(chosen).absolute()
    if base := environment.get("XDG_RUNTIME_DIR"):
        return Path(base, "localai-deploy", "sandbox")
    base = "/run" if os.geteuid() == 0 else f"/run/user/{os.geteuid()}"
    return Path(base, "localai-deploy", "sandbox")


def make_private(directory: Path) -> Path:
    """Make ``directory`` with mode 0700, or check that only this user may enter the one that is there.

    :raises LocalaiError: ``sandbox-directory-unusable``.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        raise _unusable(directory, error.strerror or str(error)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise _unusable(directory, "it is no directory")
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise _unusable(directory, "it belongs to somebody else, or others may enter it")
    return directory


def _unusable(directory: Path, why: str) -> LocalaiError:
    return LocalaiError(
        "sandbox-directory-unusable",
        f"the sandbox cannot keep its private files in {directory}",
        why=why,
        hint=f"name another directory, of mode 0700 or not there yet, in {DIRECTORY_VARIABLE}",
    )


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 that appears whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - of a descriptor
        file.write(text)
    partial.replace(path)


def record_path(directory: Path) -> Path:
    """The record's file in a runtime directory."""
    return directory / _RECORD_NAME


def write_record(directory: Path, record: SandboxRecord) -> None:
    """Say how the sandbox is reached."""
    data = record.connection.to_data()
    data |= {"body": record.body, "pid": record.pid, "further": list(record.further)}
    write_private(record_path(directory), json.dumps(data, indent=1))


def remove_record(directory: Path) -> None:
    """Inverse of :func:`write_record`; fine when there is none."""
    record_path(directory).unlink(missing_ok=True)


def read_record(directory: Path) -> SandboxRecord | None:
    """What the last sandbox said; None when there is no record. Its process may be gone by now.

    :raises LocalaiError: ``sandbox-record-unreadable``.
    """
    path = record_path(directory)
    try:
        data = json.loads(_read_private(path))
        further = tuple(str(one) for one in data.get("further", ()))
        return SandboxRecord(NodeConnection.from_data(data), str(data["body"]), int(data["pid"]), further)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise LocalaiError(
            "sandbox-record-unreadable",
            f"the sandbox's connection record {path} cannot be read",
            why=str(error),
            hint="localai-deploy sandbox stop clears it away; then start it again",
        ) from error


def _read_private(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(descriptor, encoding="utf-8") as file:  # noqa: PTH123 - of a descriptor
        found = os.fstat(file.fileno())
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError("it belongs to somebody else, or others may read or change it")
        return file.read()


def running_pid(directory: Path) -> int | None:
    """The process that is the sandbox; None when none is."""
    with contextlib.suppress(FileNotFoundError), (directory / LOCK_NAME).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0)
    return None


def is_sandbox_node(name: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a name is the sandbox's, or that of a further node of the one that runs."""
    if name == NODE:
        return True
    directory = runtime_directory(environment)
    if running_pid(directory) is None:
        return False
    record = read_record(directory)
    return record is not None and name in record.further


def sandbox_connection(environment: Mapping[str, str] = os.environ, name: str = NODE) -> NodeConnection:
    """The connection to the sandbox of this user that runs now.

    :param name: of its node; all are reached through one address.
    :raises LocalaiError: ``sandbox-not-running``, ``sandbox-died``, ``sandbox-record-unreadable``.
    """
    directory = runtime_directory(environment)
    record = read_record(directory)
    if record is None:
        raise LocalaiError(
            "sandbox-not-running",
            "the sandbox node does not run",
            why=f"there is no connection record in {directory}",
            hint=f"{_START_HINT} (as the same user: one that root started is root's)",
        )
    if running_pid(directory) is None:
        raise LocalaiError(
            "sandbox-died",
            "the sandbox node does not run any more",
            why=f"its process {record.pid} is gone, its guests may still be there",
            hint="localai-deploy sandbox stop clears it away; then start it again",
        )
    return replace(record.connection, node=name)
