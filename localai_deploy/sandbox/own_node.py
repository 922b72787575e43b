"""A cluster of one node whose figures are this machine's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from localai_deploy.sandbox.server import new_cluster
from localai_deploy.sandbox.state import Cluster, Node, Storage, User

_CONTENT = ("iso", "import", "vztmpl", "backup", "snippets", "images")
_FIRST_WITH_IMPORT = 8


def machine_cluster(major: int, node: str, files: Path, root: User) -> Cluster:
    """An empty cluster: one node, the bridge ``vmbr0``, and the storage ``local`` in the folder ``files``.

    :param root: the only user, with the tokens that it has.
    """
    cluster = new_cluster(major, node)
    cluster.nodes = {node: _machine_node(node)}
    cluster.users = {root.userid: root}
    cluster.storages = {"local": _storage(major, files)}
    return cluster


def _machine_node(name: str) -> Node:
    total, _ = _memory_bytes()
    return Node(name, memory_bytes=total, cpus=os.cpu_count() or 1, measure_used=_used_memory_bytes)


def _storage(major: int, files: Path) -> Storage:
    disk = shutil.disk_usage(files)
    content = [kind for kind in _CONTENT if kind != "import" or major >= _FIRST_WITH_IMPORT]
    return Storage(
        "local",
        content=content,
        options={"prune-backups": "keep-all=1"},
        total=disk.total,
        used=disk.total - disk.free,
        avail=disk.free,
    )


def _used_memory_bytes() -> int:
    total, available = _memory_bytes()
    return total - available


def _memory_bytes() -> tuple[int, int]:
    """All of this machine's memory, and what programs can still have."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
    return kib["MemTotal"] << 10, kib.get("MemAvailable", kib["MemFree"]) << 10
