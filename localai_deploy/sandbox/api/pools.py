"""Resource pools."""

from __future__ import annotations

from typing import Any, TypeVar

from localai_deploy.sandbox.answers import ApiError, died
from localai_deploy.sandbox.api.access import split_list
from localai_deploy.sandbox.api.nodes import storage_resources
from localai_deploy.sandbox.api.vm_status import resource
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Pool

T = TypeVar("T", int, str)


def _pool(call: Call, prefix: str = "") -> Pool:
    pool = call.cluster.pools.get(call.values["poolid"])
    if pool is None:
        raise died(f"{prefix}pool '{call.values['poolid']}' does not exist")
    return pool


def _sees(call: Call, pool: Pool) -> bool:
    return call.permissions.has_any(call.who, f"/pool/{pool.name}", ("Pool.Audit",))


def _named(pool: Pool) -> dict[str, Any]:
    return {"poolid": pool.name} | ({"comment": pool.comment} if pool.comment else {})


def list_pools(call: Call) -> list[dict[str, Any]]:
    """Answer GET /pools."""
    if "poolid" in call.values:
        pool = _pool(call)
        call.permissions.need(call.who, f"/pool/{pool.name}", "Pool.Audit")
        return [_named(pool) | {"members": _members(call, pool)}]
    return [_named(pool) for pool in call.cluster.pools.values() if _sees(call, pool)]


def get_pool(call: Call) -> dict[str, Any]:
    """Answer GET /pools/{poolid}."""
    pool = _pool(call)
    found: dict[str, Any] = {"members": _members(call, pool)}
    return found | ({"comment": pool.comment} if pool.comment else {})


def _members(call: Call, pool: Pool) -> list[dict[str, Any]]:
    wanted = call.values.get("type")
    vms = [resource(call, call.cluster.vms[vmid]) for vmid in sorted(pool.vms) if vmid in call.cluster.vms]
    for entry in vms:
        entry.pop("pool", None)
    storages = [entry for entry in storage_resources(call) if entry["storage"] in pool.storages]
    return [entry for entry in [*vms, *storages] if wanted in {None, entry["type"]}]


def create_pool(call: Call) -> None:
    """Answer POST /pools."""
    name = call.values["poolid"]
    with call.cluster.lock:
        if name in call.cluster.pools:
            raise died(f"create pool failed: pool '{name}' already exists")
        call.cluster.pools[name] = Pool(name, call.values.get("comment", ""))


def update_pool(call: Call) -> None:
    """Answer PUT /pools and PUT /pools/{poolid}."""
    with call.cluster.lock:
        pool = _pool(call, "update pool failed: ")
        pool.comment = call.values.get("comment", pool.comment)
        for vmid in map(int, split_list(call.values.get("vms"))):
            _change_vm(call, pool, vmid)
        for store in split_list(call.values.get("storage")):
            call.permissions.need(call.who, f"/storage/{store}", "Datastore.Allocate")
            _change(call, pool.storages, store, f"Storage '{store}'", pool)


def _change_vm(call: Call, pool: Pool, vmid: int) -> None:
    call.permissions.need_any(call.who, f"/vms/{vmid}", "Permissions.Modify", "VM.Allocate")
    other = next((p for p in call.cluster.pools.values() if vmid in p.vms and p is not pool), None)
    if other is not None and not call.values.get("delete"):
        if not call.values.get("allow-move"):
            raise died(
                f"update pool failed: VM {vmid} belongs already to pool '{other.name}' "
                "and 'allow-move' is not set"
            )
        other.vms.discard(vmid)
    _change(call, pool.vms, vmid, f"VM {vmid}", pool)


def _change(call: Call, members: set[T], item: T, text: str, pool: Pool) -> None:
    if call.values.get("delete"):
        if item not in members:
            raise died(f"update pool failed: {text} is not a pool member")
        members.discard(item)
    elif item in members:
        raise died(f"update pool failed: {text} is already a pool member")
    elif isinstance(item, int) and item not in call.cluster.vms:
        raise ApiError(500, f"update pool failed: VM {item} does not exist")
    else:
        members.add(item)
    call.cluster.pools[pool.name] = pool


def delete_pool(call: Call) -> None:
    """Answer DELETE /pools and DELETE /pools/{poolid}."""
    with call.cluster.lock:
        pool = _pool(call, "delete pool failed: ")
        if pool.vms or pool.storages:
            raise died(f"delete pool failed: pool '{pool.name}' is not empty")
        del call.cluster.pools[pool.name]


HANDLERS: dict[str, Handler] = {
    "GET /pools": list_pools,
    "POST /pools": create_pool,
    "PUT /pools": update_pool,
    "DELETE /pools": delete_pool,
    "GET /pools/{poolid}": get_pool,
    "PUT /pools/{poolid}": update_pool,
    "DELETE /pools/{poolid}": delete_pool,
}
