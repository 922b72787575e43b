"""Nodes: list, status, hardware, networks; the cluster's own status, ids and resources."""

from __future__ import annotations

import time
from typing import Any

from localai_deploy.sandbox.answers import bad_parameters, died
from localai_deploy.sandbox.api.vm_status import resource
from localai_deploy.sandbox.fetching import Refused, Unreachable
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Node, Storage

_BRIDGES = "060400"
_DEFAULT_BLACKLIST = "05,06,08,0b"


def _uptime(call: Call) -> int:
    return int(time.time() - call.site.started_at) + 3600


def _numbers(call: Call, node: Node) -> dict[str, Any]:
    root = next(iter(call.cluster.storages.values()), Storage("local"))
    return {
        "cpu": 0.02,
        "maxcpu": node.cpus,
        "mem": node.memory_used_bytes,
        "maxmem": node.memory_bytes,
        "disk": root.used,
        "maxdisk": root.total,
        "uptime": _uptime(call),
    }


def _listed(call: Call, node: Node) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": f"node/{node.name}",
        "node": node.name,
        "type": "node",
        "level": "",
        "status": "offline" if node.reachable else "online",
    }
    if not node.reachable and call.permissions.has_any(call.who, f"/nodes/{node.name}", ("Sys.Audit",)):
        entry |= _numbers(call, node)
    return entry


def _members(call: Call) -> list[Node]:
    return [
        node for node in call.cluster.nodes.values() if node.name == call.cluster.local or not node.reachable
    ]


def list_nodes(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes."""
    return [_listed(call, node) | {"ssl_fingerprint": call.site.fingerprint} for node in _members(call)]


def node_status(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/status."""
    release, node = call.cluster.release, call.node
    root = next(iter(call.cluster.storages.values()), Storage("local"))
    used = node.memory_used_bytes
    memory = {"total": node.memory_bytes, "used": used, "free": node.memory_bytes - used}
    status: dict[str, Any] = {
        "pveversion": f"pve-manager/{release.version}/{release.repoid}",
        "kversion": "Linux 6.8.12-1-pve #1 SMP PREEMPT_DYNAMIC",
        "uptime": _uptime(call),
        "cpu": 0.02,
        "idle": 0,
        "wait": 0,
        "ksm": {"shared": 0},
        "loadavg": ["0.10", "0.08", "0.05"],
        "swap": {"total": 0, "used": 0, "free": 0},
        "rootfs": {
            "total": root.total,
            "used": root.used,
            "avail": root.avail,
            "free": root.total - root.used,
        },
        "memory": memory,
        "cpuinfo": {
            "cpus": node.cpus,
            "cores": node.cpus,
            "sockets": 1,
            "model": "sandbox",
            "mhz": "2500.000",
            "hvm": "1" if node.kvm else "",
            "user_hz": 100,
            "flags": "vmx" if node.kvm else "",
        },
    }
    if release.major > 7:
        memory["available"] = node.memory_bytes - used
        status["boot-info"] = {"mode": "efi", "secureboot": 0}
        status["current-kernel"] = {
            "sysname": "Linux",
            "release": "6.8.12-1-pve",
            "version": "#1 SMP PREEMPT_DYNAMIC",
            "machine": "x86_64",
        }
        status["cpuinfo"] |= {"vendor": "GenuineIntel", "family": "6"}
    return status


def pci_devices(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/hardware/pci."""
    hidden = call.values.get("pci-class-blacklist", _DEFAULT_BLACKLIST)
    classes = tuple(part.strip().removeprefix("0x") for part in hidden.split(",") if part.strip())
    short = ("id", "class", "iommugroup", "vendor", "device")
    found = []
    for device in call.node.pci_devices:
        if classes and device["class"].removeprefix("0x").startswith(classes):
            continue
        found.append(device if call.values.get("verbose", 1) else {key: device[key] for key in short})
    return found


def networks(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/network."""
    wanted = call.values.get("type")
    if wanted not in {None, "bridge", "any_bridge", "any_local_bridge"}:
        return []
    return [
        {
            "iface": bridge,
            "type": "bridge",
            "active": 1,
            "autostart": 1,
            "priority": 3 + position,
            "method": "static",
            "method6": "manual",
            "families": ["inet"],
            "address": call.node.address,
            "netmask": "24",
            "cidr": f"{call.node.address}/24",
            "bridge_ports": "",
            "bridge_stp": "off",
            "bridge_fd": "0",
        }
        for position, bridge in enumerate(call.node.bridges)
        if call.permissions.has_any(call.who, f"/sdn/zones/localnetwork/{bridge}", ("SDN.Audit", "SDN.Use"))
        or call.permissions.has_any(call.who, f"/nodes/{call.node.name}", ("Sys.Audit", "Sys.Modify"))
        or wanted is None
    ]


def url_metadata(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/query-url-metadata."""
    url = call.values["url"]
    try:
        found = call.site.fetch(url, None)
    except Refused as error:
        raise died(f"invalid server response: '{error}'") from error
    except Unreachable as error:
        host = url.split("/")[2]
        port = host if ":" in host else f"{host}:{443 if url.startswith('https') else 80}"
        raise died(f"invalid server response: '500 Can't connect to {port} ({error})'") from error
    return {"filename": found.filename, "size": found.size, "mimetype": found.mime}


def cluster_status(call: Call) -> list[dict[str, Any]]:
    """Answer GET /cluster/status."""
    members = _members(call)
    nodes = [
        {
            "id": f"node/{node.name}",
            "name": node.name,
            "type": "node",
            "level": "",
            "ip": node.address,
            "nodeid": 0 if len(members) == 1 else position,
            "online": 1,
            "local": int(node.name == call.cluster.local),
        }
        for position, node in enumerate(members, 1)
    ]
    if len(members) == 1:
        return nodes
    whole = {
        "id": "cluster",
        "type": "cluster",
        "name": "sandbox",
        "nodes": len(members),
        "quorate": 1,
        "version": 1,
    }
    return [whole, *nodes]


def next_id(call: Call) -> str:
    """Answer GET /cluster/nextid."""
    wanted = call.values.get("vmid")
    with call.cluster.lock:
        if wanted is None:
            return str(next(vmid for vmid in range(100, 1_000_000) if vmid not in call.cluster.vms))
        if wanted in call.cluster.vms:
            raise bad_parameters({"vmid": f"VM {wanted} already exists"})
        return str(wanted)


def resources(call: Call) -> list[dict[str, Any]]:
    """Answer GET /cluster/resources."""
    wanted = call.values.get("type")
    found: list[dict[str, Any]] = []
    if wanted in {None, "vm"}:
        found += [
            resource(call, vm)
            for vm in list(call.cluster.vms.values())
            if call.permissions.has_any(call.who, f"/vms/{vm.vmid}", ("VM.Audit",))
        ]
    if wanted in {None, "node"}:
        found += [_listed(call, node) | {"cgroup-mode": 2} for node in _members(call)]
    if wanted in {None, "storage"}:
        found += storage_resources(call)
    if wanted in {None, "sdn"} and call.major > 7:
        found += _zones(call)
    return found


def storage_resources(call: Call) -> list[dict[str, Any]]:
    """Storages by node as the cluster's list shows them, as far as the caller may see them."""
    return [
        {
            "id": f"storage/{node.name}/{store.name}",
            "type": "storage",
            "storage": store.name,
            "node": node.name,
            "status": "available" if store.mounted else "unknown",
            "plugintype": store.type,
            "shared": int(store.shared),
            "content": ",".join(store.content),
            "disk": store.used,
            "maxdisk": store.total,
        }
        for node in _members(call)
        for store in call.cluster.storages.values()
        if not store.disable
        and (not store.nodes or node.name in store.nodes)
        and call.permissions.has_any(call.who, f"/storage/{store.name}", ("Datastore.Audit",))
    ]


def _zones(call: Call) -> list[dict[str, Any]]:
    if not call.permissions.has_any(call.who, "/sdn/zones/localnetwork", ("SDN.Audit",)):
        return []
    name = "localnetwork"
    if call.major > 8:
        kind = {"type": "network", "network-type": "zone", "network": name}
        return [
            {"id": f"network/{n.name}/zone/{name}", "node": n.name, "status": "ok", **kind}
            for n in _members(call)
        ]
    return [
        {"id": f"sdn/{n.name}/{name}", "node": n.name, "status": "ok", "type": "sdn", "sdn": name}
        for n in _members(call)
    ]


HANDLERS: dict[str, Handler] = {
    "GET /nodes": list_nodes,
    "GET /nodes/{node}/status": node_status,
    "GET /nodes/{node}/version": lambda call: {
        "version": call.cluster.release.version,
        "release": call.cluster.release.short,
        "repoid": call.cluster.release.repoid,
    },
    "GET /nodes/{node}/hardware/pci": pci_devices,
    "GET /nodes/{node}/network": networks,
    "GET /nodes/{node}/query-url-metadata": url_metadata,
    "GET /cluster/status": cluster_status,
    "GET /cluster/nextid": next_id,
    "GET /cluster/resources": resources,
}
