"""VMs as lists and status calls show them."""

from __future__ import annotations

import time
from typing import Any

from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Vm
from localai_deploy.sandbox.vm_values import boot_order, is_cdrom, is_drive, parse
from localai_deploy.sandbox.vms import is_running, load, uptime
from localai_deploy.sandbox.volumes import parse_size

_PRESSURES = [f"pressure{what}{part}" for what in ("cpu", "io", "memory") for part in ("full", "some")]
_PRESSURES.remove("pressurecpufull")


def boot_disk_bytes(call: Call, vm: Vm) -> int:
    """The size of the first disk in the boot order."""
    release = call.cluster.release
    for device in boot_order(vm.config, release):
        if is_drive(device) and device in vm.config:
            drive = parse(device, vm.config[device], release)
            if not is_cdrom(drive):
                return parse_size(drive["size"]) if "size" in drive else 0
    return 0


def _memory_bytes(call: Call, vm: Vm) -> int:
    memory = str(vm.config.get("memory", 512))
    return int(parse("memory", memory, call.cluster.release)["current"]) << 20


def _cpus(vm: Vm) -> int:
    return int(vm.config.get("vcpus") or vm.config.get("sockets", 1) * vm.config.get("cores", 1))


def statistics(call: Call, vm: Vm) -> dict[str, Any]:
    """What every view of a VM has."""
    config, running = vm.config, is_running(vm)
    entry: dict[str, Any] = {
        "vmid": vm.vmid,
        "name": config.get("name", f"VM {vm.vmid}"),
        "status": "running" if running else "stopped",
        "cpu": 0,
        "cpus": _cpus(vm),
        "mem": 0,
        "maxmem": _memory_bytes(call, vm),
        "disk": 0,
        "maxdisk": boot_disk_bytes(call, vm),
        "netin": 0,
        "netout": 0,
        "uptime": uptime(vm),
    }
    if call.major > 8:
        entry["memhost"] = 0
    if config.get("tags"):
        entry["tags"] = config["tags"]
    if "lock" in config:
        entry["lock"] = config["lock"]
    if config.get("template"):
        entry["template"] = 1
    return entry


def _process(call: Call, vm: Vm) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if is_running(vm):
        entry["pid"] = vm.pid
        if call.major > 8:
            entry |= dict.fromkeys([*_PRESSURES, "pressurecpufull"], 0)
    if any(name.startswith("serial") for name in vm.config):
        entry["serial"] = 1
    return entry


def list_containers(call: Call) -> list[dict[str, Any]]:
    """The node's containers: it has none, and inventories ask for them."""
    del call
    return []


def list_vms(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/qemu."""
    return [
        statistics(call, vm) | _process(call, vm)
        for vm in list(call.cluster.vms.values())
        if vm.node == call.values["node"]
        and call.permissions.has_any(call.who, f"/vms/{vm.vmid}", ("VM.Audit",))
    ]


def current(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/qemu/{vmid}/status/current."""
    vm = load(call)
    entry = statistics(call, vm) | _process(call, vm) | {"ha": {"managed": 0}}
    state = vm.body.state()
    entry["qmpstatus"] = state
    if _agent_enabled(call, vm):
        entry["agent"] = 1
    if "vga" in vm.config:
        entry["clipboard"] = parse("vga", vm.config["vga"], call.cluster.release).get("clipboard")
    nets = [name for name in vm.config if name.startswith("net") and name[3:].isdigit()]
    if nets and state != "stopped":
        entry["nics"] = {f"tap{vm.vmid}i{name[3:]}": {"netin": 0, "netout": 0} for name in nets}
    return entry


def _agent_enabled(call: Call, vm: Vm) -> bool:
    return (
        bool(parse("agent", vm.config["agent"], call.cluster.release)["enabled"])
        if "agent" in vm.config
        else False
    )


def resource(call: Call, vm: Vm) -> dict[str, Any]:
    """A VM in the cluster's list; before the next status round a new one has no name and no tags."""
    entry = statistics(call, vm)
    entry["maxcpu"] = entry.pop("cpus")
    pool = next((p.name for p in call.cluster.pools.values() if vm.vmid in p.vms), None)
    entry |= {
        "id": f"qemu/{vm.vmid}",
        "type": "qemu",
        "node": vm.node,
        "template": int(vm.config.get("template", 0)),
        "diskread": 0,
        "diskwrite": 0,
    }
    if pool is not None:
        entry["pool"] = pool
    if vm.created_at and vm.created_at + call.site.pace.status_round_s > time.time():
        for late in ("name", "tags"):
            entry.pop(late, None)
    return entry


HANDLERS: dict[str, Handler] = {
    "GET /nodes/{node}/lxc": list_containers,
    "GET /nodes/{node}/qemu": list_vms,
    "GET /nodes/{node}/qemu/{vmid}/status/current": current,
}
