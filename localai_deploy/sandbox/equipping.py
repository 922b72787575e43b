"""Give a cluster the hardware, mappings and VMs of a hardware file."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.hardware import functions_at
from localai_deploy.sandbox.hardware_spec import CardSpec, Function, Hardware, NodeSpec, VmSpec
from localai_deploy.sandbox.state import Cluster, Mapping, Node, Vm

_VENDORS = {"10de": "NVIDIA Corporation", "8086": "Intel Corporation", "1234": "QEMU"}


def equip(cluster: Cluster, hardware: Hardware) -> None:
    """Let the cluster have it; a node that the file names and the cluster lacks is like the local one."""
    for spec in hardware.nodes:
        like = cluster.nodes.get(spec.name) or replace(cluster.nodes[cluster.local], name=spec.name)
        cluster.nodes[spec.name] = _equipped(like, spec)
    for name, entries in hardware.mappings.items():
        cluster.mappings[name] = Mapping(name, list(entries))
    for vm in hardware.vms:
        cluster.vms[vm.vmid] = _vm(vm, cluster.nodes[vm.node], cluster)


def _equipped(node: Node, spec: NodeSpec) -> Node:
    functions = [*(one for card in spec.cards for one in card.functions), *spec.others]
    models = {_full(card.functions[0].address): card.model for card in spec.cards if card.model}
    equipped = replace(
        node,
        iommu=spec.iommu,
        pci_devices=[_device(one, iommu=spec.iommu) for one in functions],
        drivers={_full(one.address): one.driver for one in functions if one.driver},
        models=models,
        bad_resets=_slots(spec.cards, "reset_fails"),
        slow_starts=_slots(spec.cards, "start_fails"),
        used_slots=set(),
    )
    if spec.memory_gib:
        equipped = replace(equipped, memory_bytes=spec.memory_gib << 30, measure_used=None)
    return replace(equipped, cpus=spec.cpus) if spec.cpus else equipped


def _slots(cards: tuple[CardSpec, ...], flaw: str) -> frozenset[str]:
    return frozenset(_full(card.slot) for card in cards if getattr(card, flaw))


def _full(address: str) -> str:
    return f"0000:{address}"


def _device(function: Function, *, iommu: bool) -> dict[str, Any]:
    """As ``GET /nodes/N/hardware/pci`` lists it."""
    vendor, _, device = function.id.partition(":")
    entry: dict[str, Any] = {
        "id": _full(function.address),
        "class": f"0x{function.class_id}",
        "vendor": f"0x{vendor}",
        "device": f"0x{device}",
        "iommugroup": function.group if iommu else -1,
    }
    if function.subsystem:
        vendor_id, _, device_id = function.subsystem.partition(":")
        entry |= {"subsystem_vendor": f"0x{vendor_id}", "subsystem_device": f"0x{device_id}"}
    if vendor in _VENDORS:
        entry["vendor_name"] = _VENDORS[vendor]
    return entry | ({"device_name": function.name} if function.name else {})


def _vm(spec: VmSpec, node: Node, cluster: Cluster) -> Vm:
    """One that was there before us; a running one has the devices that its card names."""
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, f"{spec.vmid}.{spec.name}")
    config: dict[str, Any] = {
        "name": spec.name,
        "memory": "4096",
        "cores": 4,
        "machine": "q35",
        "onboot": 1,
        "smbios1": f"uuid={identity}",
        "hostpci0": spec.card,
    }
    body = BareBody(powers_off=True, power="running" if spec.running else "stopped")
    devices = _devices_of(spec.card, node, cluster) if spec.running else []
    return Vm(spec.vmid, spec.node, config, body, devices=devices)


def _devices_of(card: str, node: Node, cluster: Cluster) -> list[str]:
    """Addresses of the functions that ``mapping=NAME,…`` or ``01:00,…`` stands for on the node."""
    first = card.split(",", maxsplit=1)[0].removeprefix("host=")
    if not first.startswith("mapping="):
        return [one["id"] for one in functions_at(node, _full(first))]
    entries = cluster.mappings[first.removeprefix("mapping=")].map
    parsed = [dict(part.split("=", 1) for part in entry.split(",")) for entry in entries]
    paths = [entry["path"] for entry in parsed if entry["node"] == node.name]
    return [one["id"] for path in paths[:1] for one in functions_at(node, path)]
