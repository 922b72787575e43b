"""Snapshots of VMs."""

from __future__ import annotations

import time
import uuid
from typing import Any

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Snapshot, Vm
from localai_deploy.sandbox.tasks import Task, TaskFailed
from localai_deploy.sandbox.vm_values import is_cdrom, is_drive, parse
from localai_deploy.sandbox.vms import check_lock, digest, is_running, load, shown


def list_snapshots(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/qemu/{vmid}/snapshot."""
    vm = load(call)
    found = []
    for name, snapshot in vm.snapshots.items():
        entry = {
            "name": name,
            "snaptime": snapshot.snaptime,
            "vmstate": snapshot.vmstate,
            "description": snapshot.description,
        }
        found.append(entry | ({"parent": snapshot.parent} if snapshot.parent else {}))
    current = {
        "name": "current",
        "description": "You are here!",
        "digest": digest(vm),
        "running": int(is_running(vm)),
    }
    return [*found, current | ({"parent": vm.config["parent"]} if "parent" in vm.config else {})]


def create(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/snapshot."""
    name = call.values["snapname"]
    if name == "current":
        raise died("unable to use snapshot name 'current' (reserved name)")

    def work(task: Task) -> None:
        vm = load(call)
        with vm.lock:
            check_lock(vm)
            if name in vm.snapshots:
                raise TaskFailed(f"snapshot name '{name}' already used")
            drives = _drives(call, vm)
            if any(
                call.cluster.volumes[v].format != "qcow2"
                for v in drives.values()
                if v in call.cluster.volumes
            ):
                raise TaskFailed("snapshot feature is not available")
            for slot, volid in sorted(drives.items()):
                task.say(f"snapshotting 'drive-{slot}' ({volid})")
            config = {key: value for key, value in vm.config.items() if key != "parent"}
            vm.snapshots[name] = Snapshot(
                config,
                int(time.time()),
                call.values.get("description", ""),
                vm.config.get("parent"),
                int(call.values.get("vmstate", 0) and is_running(vm)),
            )
            vm.config["parent"] = name

    return call.task("qmsnapshot", call.values["vmid"], work)


def _drives(call: Call, vm: Vm) -> dict[str, str]:
    parsed = {n: parse(n, v, call.cluster.release) for n, v in vm.config.items() if is_drive(n)}
    return {name: drive["file"] for name, drive in parsed.items() if not is_cdrom(drive)}


def _snapshot(call: Call, vm: Vm) -> Snapshot:
    snapshot = vm.snapshots.get(call.values["snapname"])
    if snapshot is None:
        raise TaskFailed(f"snapshot '{call.values['snapname']}' does not exist")
    return snapshot


def rollback(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback."""

    def work(task: Task) -> None:  # noqa: ARG001
        vm = load(call)
        with vm.lock:
            snapshot = _snapshot(call, vm)
            check_lock(vm)
            vm.body.stop()
            vm.pending, vm.pending_delete = {}, []
            vm.config = {**snapshot.config, "parent": call.values["snapname"], "vmgenid": str(uuid.uuid4())}

    return call.task("qmrollback", call.values["vmid"], work)


def delete(call: Call) -> str:
    """Answer DELETE /nodes/{node}/qemu/{vmid}/snapshot/{snapname}."""

    def work(task: Task) -> None:  # noqa: ARG001
        vm = load(call)
        with vm.lock:
            if not call.values.get("force"):
                check_lock(vm)
            removed = _snapshot(call, vm)
            name = call.values["snapname"]
            del vm.snapshots[name]
            for other in vm.snapshots.values():
                other.parent = removed.parent if other.parent == name else other.parent
            if vm.config.get("parent") == name:
                vm.config.pop("parent")
                vm.config |= {"parent": removed.parent} if removed.parent else {}

    return call.task("qmdelsnapshot", call.values["vmid"], work)


def get_config(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config."""
    snapshot = load(call).snapshots.get(call.values["snapname"])
    if snapshot is None:
        raise died(f"snapshot '{call.values['snapname']}' does not exist")
    return shown(snapshot.config) | {"snaptime": snapshot.snaptime}


_BASE = "/nodes/{node}/qemu/{vmid}/snapshot"
HANDLERS: dict[str, Handler] = {
    f"GET {_BASE}": list_snapshots,
    f"POST {_BASE}": create,
    f"DELETE {_BASE}/{{snapname}}": delete,
    f"POST {_BASE}/{{snapname}}/rollback": rollback,
    f"GET {_BASE}/{{snapname}}/config": get_config,
}
