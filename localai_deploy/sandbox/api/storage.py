"""Storages: configuration, status, content."""

from __future__ import annotations

from typing import Any

from localai_deploy.sandbox.answers import ApiError, bad_parameters, died
from localai_deploy.sandbox.api.access import split_list
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Storage, Volume, digest_of
from localai_deploy.sandbox.tasks import Task
from localai_deploy.sandbox.volumes import (
    check_volume_access,
    kind_of,
    parse_volid,
    path_of,
    remove_volume,
    storage_config,
    usable_storage,
)

_READERS = ("Datastore.Audit", "Datastore.AllocateSpace")


def _config(call: Call, store: Storage) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "storage": store.name,
        "type": store.type,
        "path": store.path,
        "content": ",".join(store.content),
        "digest": digest_of([repr(s) for s in call.cluster.storages.values()]),
        **store.options,
    }
    if store.nodes:
        shown["nodes"] = ",".join(store.nodes)
    if store.disable:
        shown["disable"] = 1
    if store.shared:
        shown["shared"] = 1
    return shown | ({"is_mountpoint": store.is_mountpoint} if store.is_mountpoint else {})


def list_configs(call: Call) -> list[dict[str, Any]]:
    """Answer GET /storage."""
    return [
        _config(call, store)
        for store in call.cluster.storages.values()
        if call.permissions.has_any(
            call.who, f"/storage/{store.name}", ("Datastore.Audit", "Datastore.Allocate")
        )
        and call.values.get("type", store.type) == store.type
    ]


def get_config(call: Call) -> dict[str, Any]:
    """Answer GET /storage/{storage}."""
    return _config(call, storage_config(call.site, call.values["storage"]))


def create_storage(call: Call) -> dict[str, Any]:
    """Answer POST /storage."""
    name, values = call.values["storage"], call.values
    if values["type"] != "dir":
        raise died("create storage failed: the sandbox has storages of type 'dir' only")
    with call.cluster.lock:
        if name in call.cluster.storages:
            raise died(f"create storage failed: storage ID '{name}' already defined")
        store = Storage(
            name, path=values.get("path", ""), content=split_list(values.get("content")) or ["images"]
        )
        call.cluster.storages[name] = store
        _apply(store, values)
    return {"storage": name, "type": store.type}


def update_storage(call: Call) -> dict[str, Any]:
    """Answer PUT /storage/{storage}."""
    with call.cluster.lock:
        store = storage_config(call.site, call.values["storage"])
        if "content" in call.values:
            store.content = split_list(call.values["content"])
        _apply(store, call.values)
        for key in split_list(call.values.get("delete")):
            _apply(
                store,
                {"disable": 0, "nodes": "", "shared": 0} if key in {"disable", "nodes", "shared"} else {},
            )
    return {"storage": store.name, "type": store.type}


def _apply(store: Storage, values: dict[str, Any]) -> None:
    if "nodes" in values:
        store.nodes = split_list(values["nodes"])
    if "disable" in values:
        store.disable = bool(values["disable"])
    if "shared" in values:
        store.shared = bool(values["shared"])
    if "is_mountpoint" in values:
        store.is_mountpoint = str(values["is_mountpoint"])
    if "prune-backups" in values:
        store.options["prune-backups"] = values["prune-backups"]


def delete_storage(call: Call) -> None:
    """Answer DELETE /storage/{storage}."""
    with call.cluster.lock:
        storage_config(call.site, call.values["storage"])
        del call.cluster.storages[call.values["storage"]]


def _status(store: Storage, node: str) -> dict[str, Any]:
    enabled = not store.disable and (not store.nodes or node in store.nodes)
    active = enabled and store.mounted
    return {
        "type": store.type,
        "content": ",".join(store.content),
        "shared": int(store.shared),
        "enabled": int(enabled),
        "active": int(active),
        "total": store.total if active else 0,
        "used": store.used if active else 0,
        "avail": store.avail if active else 0,
    }


def list_status(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/storage."""
    wanted = split_list(call.values.get("content"))
    found = []
    for store in list(call.cluster.storages.values()):
        entry = {"storage": store.name, **_status(store, call.values["node"])}
        if not call.permissions.has_any(call.who, f"/storage/{store.name}", _READERS):
            continue
        if call.values.get("storage", store.name) != store.name or (
            wanted and not set(wanted) & set(store.content)
        ):
            continue
        if call.values.get("enabled") and not entry["enabled"]:
            continue
        if entry["total"]:
            entry["used_fraction"] = entry["used"] / entry["total"]
        found.append(entry)
    return found


def one_status(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/storage/{storage}/status."""
    store = call.cluster.storages.get(call.values["storage"])
    if store is None:
        raise bad_parameters({"storage": "No such storage."})
    return _status(store, call.values["node"])


def list_content(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/storage/{storage}/content."""
    store = usable_storage(call.site, call.values["storage"], call.values["node"])
    vmid = call.values.get("vmid")
    found = []
    for volume in list(call.cluster.volumes.values()):
        wrong_kind = call.values.get("content", volume.content) != volume.content
        other_vm = vmid is not None and volume.vmid is not None and volume.vmid != vmid
        if volume.store == store.name and not wrong_kind and not other_vm and _may_use(call, volume, vmid):
            found.append(_listed(volume))
    return found


def _may_use(call: Call, volume: Volume, vmid: int | None) -> bool:
    try:
        check_volume_access(call.site, call.who, vmid, volume.volid)
    except ApiError:
        return False
    return True


def _listed(volume: Volume) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "volid": volume.volid,
        "content": volume.content,
        "format": volume.format,
        "size": volume.size,
        "ctime": volume.ctime,
    }
    if volume.vmid is not None:
        entry |= {"vmid": volume.vmid, "used": volume.used, "parent": volume.parent}
    return entry


def _volid(call: Call) -> str:
    volume, store = call.values["volume"], call.values.get("storage")
    return volume if parse_volid(volume) else f"{store}:{volume}"


def get_volume(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/storage/{storage}/content/{volume}."""
    volid = _volid(call)
    store = storage_config(call.site, volid.partition(":")[0])
    check_volume_access(call.site, call.who, None, volid)
    volume = call.cluster.volumes.get(volid)
    if volume is None:
        raise died(f"volume_size_info on '{volid}' failed - no format")
    size = volume.virtual_size if volume.virtual_size is not None else volume.size
    return {"path": path_of(store, volid), "size": size, "used": volume.used, "format": volume.format}


def delete_volume(call: Call) -> str | None:
    """Answer DELETE /nodes/{node}/storage/{storage}/content/{volume}."""
    volid = _volid(call)
    store = storage_config(call.site, volid.partition(":")[0])
    check_volume_access(call.site, call.who, None, volid)
    call.permissions.need(call.who, f"/storage/{store.name}", "Datastore.Allocate")
    _, owner = kind_of(volid)

    def work(task: Task) -> None:
        usable_storage(call.site, store.name, call.values["node"])
        if volid not in call.cluster.volumes:
            raise died(f"unlink '{path_of(store, volid)}' failed - No such file or directory")
        remove_volume(call.site, volid)
        task.say(f"Removed volume '{volid}'")

    upid = call.task("imgdel", f"{owner}@{store.name}" if owner else store.name, work)
    task = call.site.tasks.get(upid)
    if task is not None and call.values.get("delay") and task.ended.wait(call.values["delay"]):
        if task.exitstatus != "OK":
            raise died(str(task.exitstatus))
        return None
    return upid


HANDLERS: dict[str, Handler] = {
    "GET /storage": list_configs,
    "POST /storage": create_storage,
    "GET /storage/{storage}": get_config,
    "PUT /storage/{storage}": update_storage,
    "DELETE /storage/{storage}": delete_storage,
    "GET /nodes/{node}/storage": list_status,
    "GET /nodes/{node}/storage/{storage}/status": one_status,
    "GET /nodes/{node}/storage/{storage}/content": list_content,
    "GET /nodes/{node}/storage/{storage}/content/{volume}": get_volume,
    "DELETE /nodes/{node}/storage/{storage}/content/{volume}": delete_volume,
}
