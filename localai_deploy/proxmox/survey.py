"""Look at a node: all that its API tells, in as few turns as it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from localai_deploy.domain.pve.facts import NodeFacts, StorageFacts
from localai_deploy.domain.pve.ownership import POOL
from localai_deploy.domain.pve.seed import is_seed_volume
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient

_AT_ONCE = 8
_MAKING = frozenset({"create", "clone"})
_Question = Callable[[], Any]


def survey_node(client: PveClient) -> NodeFacts:
    """One look, two turns: first the node, then what lies on its storages.

    :raises LocalaiError: ``pve-*``, ``tls-*``: the node cannot be looked at; ``pve-version-unsupported``.
    """
    version = client.version()
    node = f"nodes/{client.node}"
    storages, permissions, bridges, status, machines, pool = ask_all(
        lambda: client.get(f"{node}/storage"),
        lambda: client.get("access/permissions"),
        _optional(lambda: client.get(f"{node}/network", type="any_bridge")),
        _optional(lambda: client.get(f"{node}/status")),
        lambda: client.get("cluster/resources", type="vm"),
        lambda: pool_exists(client),
    )
    facts = [_storage(entry) for entry in storages]
    images, isos = _contents(client, facts)
    return NodeFacts(
        node=client.node,
        version=version,
        permissions=permissions or {},
        storages=tuple(facts),
        bridges=None if bridges is None else tuple(sorted(str(one["iface"]) for one in bridges)),
        images={str(one["volid"]): int(one.get("size", 0)) for one in images},
        seeds=tuple(sorted(str(one["volid"]) for one in isos if is_seed_volume(str(one["volid"])))),
        names=_names(machines),
        half_made=tuple(sorted(int(one["vmid"]) for one in machines if one.get("lock") in _MAKING)),
        pool_exists=bool(pool),
        token=f"{client.connection.token.user}!{client.connection.token.name}",
        **_status(status or {}),
    )


def pool_exists(client: PveClient) -> bool:
    """Whether our pool is there; of one that the token may not see, its missing rights are told instead."""
    try:
        client.get(f"pools/{POOL}")
    except LocalaiError as error:
        if error.error_id == "pve-forbidden":
            return True
        if "does not exist" in str(error):
            return False
        raise
    return True


def ask_all(*questions: _Question) -> list[Any]:
    """The answers to questions that are asked at once, in their order; the first error is raised."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [one.result() for one in [pool.submit(question) for question in questions]]


def _optional(question: _Question) -> _Question:
    """``None`` in place of an answer that the token may not have."""

    def ask() -> Any:  # noqa: ANN401 - decoded JSON
        try:
            return question()
        except LocalaiError as error:
            if error.error_id == "pve-forbidden":
                return None
            raise

    return ask


def _storage(entry: Mapping[str, Any]) -> StorageFacts:
    return StorageFacts(
        str(entry["storage"]),
        frozenset(str(entry.get("content", "")).split(",")) - {""},
        active=bool(entry.get("active")) and bool(entry.get("enabled", 1)),
        available_bytes=int(entry.get("avail") or 0),
        total_bytes=int(entry.get("total") or 0),
    )


def _contents(client: PveClient, storages: Iterable[StorageFacts]) -> tuple[list[Any], list[Any]]:
    """Disk images and ISOs of all storages."""
    wanted = [(s.name, kind) for s in storages if s.active for kind in ("import", "iso") if kind in s.content]
    answers = ask_all(*(_optional(_list_content(client, name, kind)) for name, kind in wanted))
    found: dict[str, list[Any]] = {"import": [], "iso": []}
    for (_, kind), entries in zip(wanted, answers, strict=True):
        found[kind] += entries or []
    return found["import"], found["iso"]


def _list_content(client: PveClient, storage: str, kind: str) -> _Question:
    return lambda: client.get(f"nodes/{client.node}/storage/{storage}/content", content=kind)


def _names(machines: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
    names: dict[str, tuple[int, ...]] = {}
    for one in machines:
        name = str(one.get("name", ""))
        names[name] = (*names.get(name, ()), int(one["vmid"]))
    return names


def _status(status: Mapping[str, Any]) -> dict[str, Any]:
    if not status:
        return {}
    memory = status.get("memory", {})
    return {
        "memory_available_bytes": int(memory.get("available", memory.get("free", 0))),
        "memory_total_bytes": int(memory.get("total", 0)),
        "cpu_count": int(status.get("cpuinfo", {}).get("cpus", 0)) or None,
        "has_kvm": str(status.get("cpuinfo", {}).get("hvm", "1")) == "1",
    }
