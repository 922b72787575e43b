"""Resource mappings of PCI devices."""

from __future__ import annotations

from typing import Any

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.api.access import split_list
from localai_deploy.sandbox.hardware import entries_on, problem_of
from localai_deploy.sandbox.proxying import check_node
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Mapping, digest_of

_OPTIONS = ("mdev", "live-migration-capable")
_RIGHTS = ("Mapping.Use", "Mapping.Modify", "Mapping.Audit")


def _digest(call: Call) -> str:
    return digest_of([(m.name, m.map, m.description, m.options) for m in call.cluster.mappings.values()])


def _shown(call: Call, mapping: Mapping) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "pci", "map": mapping.map, "digest": _digest(call), **mapping.options}
    return shown | ({"description": mapping.description} if mapping.description is not None else {})


def list_mappings(call: Call) -> list[dict[str, Any]]:
    """Answer GET /cluster/mapping/pci."""
    node = call.values.get("check-node")
    if node is not None:
        check_node(call.site, node)
    found = []
    for mapping in list(call.cluster.mappings.values()):
        if not call.permissions.has_any(call.who, f"/mapping/pci/{mapping.name}", _RIGHTS):
            continue
        shown = {"id": mapping.name, **_shown(call, mapping)}
        if node is not None:
            shown["checks"] = _checks(call, mapping, node)
        found.append(shown)
    return found


def _checks(call: Call, mapping: Mapping, node: str) -> list[dict[str, str]]:
    entries = entries_on(mapping, node, call.cluster.release)
    if not entries:
        return [{"severity": "warning", "message": f"No mapping for node {node}."}]
    problems = [problem_of(mapping.name, entry, call.cluster.nodes[node]) for entry in entries]
    return [
        {"severity": "error", "message": f"Invalid configuration: {problem}"}
        for problem in problems
        if problem is not None
    ]


def get_mapping(call: Call) -> dict[str, Any]:
    """Answer GET /cluster/mapping/pci/{id}."""
    mapping = call.cluster.mappings.get(call.values["id"])
    if mapping is None:
        raise died(f"mapping '{call.values['id']}' not found")
    return _shown(call, mapping)


def create_mapping(call: Call) -> None:
    """Answer POST /cluster/mapping/pci."""
    name = call.values["id"]
    _one_line(call, "")
    with call.cluster.lock:
        if name in call.cluster.mappings:
            raise died(f"create hardware mapping failed: pci ID '{name}' already defined")
        options = {key: call.values[key] for key in _OPTIONS if key in call.values}
        call.cluster.mappings[name] = Mapping(name, _entries(call), call.values.get("description"), options)


def _one_line(call: Call, doing: str) -> None:
    """The file of mappings has one line for each value (source: `check_value` in SectionConfig)."""
    if "\n" in call.values.get("description", ""):
        raise died(f"{doing}property contains a line feed")


def _entries(call: Call) -> list[str]:
    return list(call.values["map"])


def update_mapping(call: Call) -> None:
    """Answer PUT /cluster/mapping/pci/{id}."""
    name, failed = call.values["id"], "update hardware mapping failed: "
    with call.cluster.lock:
        if call.values.get("digest", _digest(call)) != _digest(call):
            raise died(f"{failed}detected modified configuration - file changed by other user? Try again.")
        mapping = call.cluster.mappings.get(name)
        if mapping is None:
            raise died(f"{failed}pci ID '{name}' does not exist")
        if "map" not in call.values:
            raise died(f"{failed}missing value for required option 'map'")
        _one_line(call, failed)
        mapping.map = _entries(call)
        mapping.description = call.values.get("description", mapping.description)
        mapping.options |= {key: call.values[key] for key in _OPTIONS if key in call.values}
        for key in split_list(call.values.get("delete")):
            mapping.options.pop(key, None)
            mapping.description = None if key == "description" else mapping.description


def delete_mapping(call: Call) -> None:
    """Answer DELETE /cluster/mapping/pci/{id}."""
    with call.cluster.lock:
        call.cluster.mappings.pop(call.values["id"], None)


HANDLERS: dict[str, Handler] = {
    "GET /cluster/mapping/pci": list_mappings,
    "POST /cluster/mapping/pci": create_mapping,
    "GET /cluster/mapping/pci/{id}": get_mapping,
    "PUT /cluster/mapping/pci/{id}": update_mapping,
    "DELETE /cluster/mapping/pci/{id}": delete_mapping,
}
