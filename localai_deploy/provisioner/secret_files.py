"""Secrets for Ansible's children: one 0600 inventory file in memory, gone when the run ends.

A run that was killed cannot remove its file; the next run does (:mod:`localai_deploy.scratch`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from localai_deploy.errors import LocalaiError
from localai_deploy.provisioner.render import GROUP
from localai_deploy.scratch import ScratchDirectory

NAME_PREFIX = "localai-deploy-"
_MEMORY_DIRECTORIES = ("/dev/shm", "/run/shm")  # noqa: S108 - chosen because it is memory


@contextmanager
def secret_inventory(variables: Mapping[str, Mapping[str, str]]) -> Iterator[Path]:
    """An inventory file that adds ``host → variables``; removed on exit, also after an error.

    :raises LocalaiError: ``no-memory-directory`` when no tmpfs can be written.
    """
    directory = ScratchDirectory(NAME_PREFIX, Path(_memory_directory()))
    path = directory.path / "secrets.json"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({GROUP: {"hosts": {host: _literal(one) for host, one in variables.items()}}}, file)
        yield path
    finally:
        directory.remove()


def _literal(variables: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Values that Ansible takes as they are: a password may look like a template."""
    return {name: {"__ansible_unsafe": value} for name, value in variables.items()}


def _memory_directory() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for candidate in (runtime, *_MEMORY_DIRECTORIES):
        if candidate and os.access(candidate, os.W_OK) and _is_tmpfs(candidate):
            return candidate
    raise LocalaiError(
        "no-memory-directory",
        "no directory in memory can be written",
        why="secrets are handed to Ansible only through a file that never reaches a disk",
        hint="mount a tmpfs on /dev/shm",
    )


def _is_tmpfs(directory: str) -> bool:
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    real = os.path.realpath(directory)
    kinds = {fields[1]: fields[2] for fields in (line.split() for line in mounts)}
    best = max(
        (point for point in kinds if real == point or real.startswith(f"{point.rstrip('/')}/")), key=len
    )
    return kinds[best] in {"tmpfs", "ramfs"}
