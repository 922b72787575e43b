"""PCI devices, resource mappings and whether they still fit each other."""

from __future__ import annotations

from typing import Any

from localai_deploy.sandbox.release import Release
from localai_deploy.sandbox.state import Mapping, Node
from localai_deploy.sandbox.tables.cluster import MAP_ENTRY
from localai_deploy.sandbox.verification import Values, parse_properties


def parse_entry(entry: str, release: Release) -> Values:
    """One entry of a mapping as values by key."""
    return parse_properties(entry, MAP_ENTRY.properties, release)


def entries_on(mapping: Mapping, node: str, release: Release) -> list[Values]:
    """The entries of a mapping for one node."""
    parsed = (parse_entry(entry, release) for entry in mapping.map)
    return [entry for entry in parsed if entry["node"] == node]


def functions_at(node: Node, path: str) -> list[dict[str, Any]]:
    """The devices of a path: one function, or all of a slot when the path names no function."""
    ids = [path] if "." in path else [f"{path}."]
    return [d for d in node.pci_devices if any(d["id"] == i or d["id"].startswith(i) for i in ids)]


def problem_of(name: str, entry: Values, node: Node) -> str | None:
    """Why an entry does not fit the node's hardware, in the server's words; None when it fits."""
    paths = entry["path"].split(";")
    for path in paths:
        if not functions_at(node, path):
            return f"pci device '{path}' not found\n"
    device = functions_at(node, paths[0])[0]
    expected: dict[str, Any] = {"id": _ids(device, "vendor", "device")}
    if device.get("iommugroup", -1) != -1:
        expected["iommugroup"] = device["iommugroup"]
    if device.get("subsystem_vendor") and "subsystem-id" in entry:
        expected["subsystem-id"] = _ids(device, "subsystem_vendor", "subsystem_device")
    for key in sorted({*expected, *({"iommugroup"} & set(entry))}):
        if key not in expected:
            return f"unexpected property '{key}' configured for device '{path}'\n"
        if key not in entry:
            return f"missing expected property '{key}' for device '{path}'\n"
        if str(expected[key]) != str(entry[key]):
            return f"'{key}' does not match for '{name}' ({expected[key]} != {entry[key]})\n"
    return None


def _ids(device: dict[str, Any], vendor: str, part: str) -> str:
    return f"{device[vendor].removeprefix('0x')}:{device[part].removeprefix('0x')}"
