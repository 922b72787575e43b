"""An Ansible inventory and flags become host specs, with the source of every value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from localai_deploy.domain.connection import Connection, check_host_name, parse_destination
from localai_deploy.domain.gateway import Gateway
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.domain.settings import (
    PREFIX,
    SETTINGS,
    Sourced,
    resolve_settings,
    suggestion,
)
from localai_deploy.domain.spec import HostSpec, host_spec
from localai_deploy.domain.vm_settings import NODE_SETTINGS
from localai_deploy.errors import InputError
from localai_deploy.inventory_connection import become_password_of, connection_of
from localai_deploy.inventory_gateway import with_gateway
from localai_deploy.inventory_nodes import NODES_GROUP, Nodes, vm_wish
from localai_deploy.inventory_sources import find_broken_file, find_source

INFERENCE_GROUP = "inference"
VMS_GROUP = "proxmox_vms"
Sources = Path | Sequence[Path] | None
"""An inventory, or several: of what they both say the later one wins, as in Ansible."""

_KNOWN = frozenset({setting.name for setting in (*SETTINGS, *NODE_SETTINGS)})


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets of one host: never shown, never in a rendered file."""

    become_password: str = field(default="", repr=False)
    hub_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class InventoryHost:
    """One host as inventory and flags describe it; ``vm`` of a VM, ``gateway`` of that group's host."""

    name: str
    connection: Connection
    settings: Mapping[str, Sourced]
    secrets: Secrets = Secrets()
    vm: VmWish | None = None
    gateway: Gateway | None = None

    def spec(self) -> HostSpec:
        """The typed spec; InputError ``model-missing`` without a model."""
        return replace(host_spec(self.name, self.connection, self.settings), gateway=self.gateway)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What flags say, for every host of the run.

    :param settings: values of settings, as given.
    :param become_password: asked for on the terminal.
    :param insecure: verify no certificate of a Proxmox node.
    """

    settings: Mapping[str, Sourced] = field(default_factory=dict)
    become_password: str = field(default="", repr=False)
    insecure: bool = False


def load_hosts(
    names: Sequence[str],
    inventory: Sources,
    overrides: Overrides,
    vault_password_file: Path | None = None,
    *,
    only_shown: bool = False,
) -> list[InventoryHost]:
    """The hosts that ``names`` (inventory names or patterns; else SSH destinations) stand for.

    Where a node is named on the command line, names that the inventory does not know are VMs made ad hoc:
    they have the variables of group ``proxmox_vms``.

    :param only_shown: no node is asked: what is missing to reach one is no error.
    :raises InputError: ``host-missing``, ``host-not-in-inventory``, ``host-is-node``, ``host-name-invalid``,
        ``variable-unknown``, ``setting-invalid``, ``inventory-unreadable``.
    """
    makes_vms = "localai_node" in overrides.settings
    sources = _paths(inventory)
    if not sources:
        nodes = Nodes(insecure=overrides.insecure, only_shown=only_shown)
        return [_ad_hoc(name, overrides, nodes) for name in _required(names)]
    names = _required(names) if makes_vms else names
    answer = _read(names, sources, vault_password_file, makes_vms=makes_vms)
    nodes = Nodes(_variables(answer["nodes"], sources), overrides.insecure, only_shown)
    _refuse_strangers(names, answer["known"], sources)
    _refuse_nodes(names, answer["nodes"])
    hosts = _from_inventory(names, sources, overrides, answer["hosts"], nodes)
    return with_gateway(hosts, answer["gateways"], _variables(answer["replicas"], sources), _shown(sources))


def _paths(inventory: Sources) -> tuple[Path, ...]:
    if isinstance(inventory, Path):
        return (inventory,)
    return tuple(inventory or ())


def _shown(sources: Sequence[Path]) -> str:
    return ", ".join(map(str, sources))


def load_nodes(
    inventory: Sources,
    vault_password_file: Path | None = None,
    *,
    insecure: bool,
    only_shown: bool = False,
) -> Nodes:
    """The nodes of group ``proxmox_nodes``; none without an inventory.

    :raises InputError: as :func:`load_hosts`.
    """
    sources = _paths(inventory)
    if not sources:
        return Nodes(insecure=insecure, only_shown=only_shown)
    answer = _read(None, sources, vault_password_file)
    return Nodes(_variables(answer["nodes"], sources), insecure, only_shown)


def _required(names: Sequence[str]) -> list[str]:
    if not names:
        raise InputError(
            "host-missing",
            "no host is named",
            hint="name one: localai-deploy up admin@192.0.2.10 …, localhost, or give --inventory DIR",
        )
    return list(dict.fromkeys(names))


def _ad_hoc(name: str, overrides: Overrides, nodes: Nodes) -> InventoryHost:
    if "localai_node" in overrides.settings:
        return _host(name, Connection(kind="ssh"), {}, overrides, Secrets(), nodes)
    connection = parse_destination(name)
    return _host(connection.destination, connection, {}, overrides, Secrets(), nodes)


def _host(
    name: str,
    connection: Connection,
    variables: Mapping[str, Sourced],
    overrides: Overrides,
    secrets: Secrets,
    nodes: Nodes,
) -> InventoryHost:
    settings = resolve_settings([overrides.settings, variables])
    password = overrides.become_password or secrets.become_password
    connection = replace(
        connection,
        host_key=settings["localai_host_key"].value,
        become_password_needed=bool(password),
    )
    vm = vm_wish(name, settings, nodes) if settings["localai_node"].value else None
    if vm is not None:
        connection = replace(connection, kind="vm", destination=name, user=vm.spec.user)
    token = os.environ.get("HF_TOKEN", "")
    return InventoryHost(name, connection, settings, Secrets(password, token), vm)


def _from_inventory(
    names: Sequence[str],
    sources: Sequence[Path],
    overrides: Overrides,
    entries: Sequence[Mapping[str, Any]],
    nodes: Nodes,
) -> list[InventoryHost]:
    if not entries:
        raise InputError(
            "host-missing", f"{_shown(sources)} has no host that matches {', '.join(names) or 'anything'}"
        )
    variables = _variables(entries, sources)
    found = []
    for entry in entries:
        name = str(entry["name"])
        connection = connection_of(name, entry["variables"])
        secrets = Secrets(become_password_of(name, entry["variables"]))
        found.append(_host(name, connection, variables[name], overrides, secrets, nodes))
    return found


def _variables(
    entries: Sequence[Mapping[str, Any]], sources: Sequence[Path]
) -> dict[str, dict[str, Sourced]]:
    """Our variables of each host with their sources; an unknown one is refused."""
    found = {}
    for entry in entries:
        name = str(entry["name"])
        check_host_name(name)
        found[name] = {
            key: Sourced(value, find_source(sources, name, entry["groups"], key))
            for key, value in entry["variables"].items()
            if key.startswith(PREFIX)
        }
        _refuse_unknown(found[name])
    return found


def known_names(inventory: Path, vault_password_file: Path | None = None) -> frozenset[str]:
    """All hosts and groups of an inventory.

    :raises InputError: ``inventory-unreadable``.
    """
    return frozenset(_read(None, [inventory], vault_password_file, wants_nodes=False)["known"])


def _read(
    names: Sequence[str] | None,
    sources: Sequence[Path],
    vault_password_file: Path | None,
    *,
    makes_vms: bool = False,
    wants_nodes: bool = True,
) -> dict[str, Any]:
    """Ansible's own reader, in a process of its own: its settings and secrets are global to a process.

    A file that cannot be read is an error; Ansible itself would go on without its hosts.
    """
    for path in sources:
        if not path.exists():
            raise InputError("inventory-unreadable", f"inventory {path} does not exist")
    question = {
        "inventories": [str(path) for path in sources],
        "patterns": list(names or ()),
        "wants_hosts": names is not None,
        "wants_nodes": wants_nodes,
        "default_group": INFERENCE_GROUP,
        "nodes_group": NODES_GROUP,
        "gateway_group": "gateway",
        "makes_vms_in": [VMS_GROUP, INFERENCE_GROUP, "all"] if makes_vms else [],
        "vault_password_file": str(vault_password_file or ""),
    }
    done = subprocess.run(
        [sys.executable, "-m", "localai_deploy.inventory_reader"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"},
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"error": done.stderr.strip().splitlines()[-1:] or ["Ansible printed nothing"]}
    if "error" in answer:
        place = next(filter(None, map(find_broken_file, sources)), "")
        why = f"{place}: {answer['error']}" if place else str(answer["error"])
        raise InputError("inventory-unreadable", f"inventory {_shown(sources)} cannot be read", why=why)
    return dict(answer)


def _refuse_strangers(names: Sequence[str], known: Sequence[str], sources: Sequence[Path]) -> None:
    for name in names:
        plain = name.lstrip("!&")
        if not any(mark in name for mark in "*?[:,~") and plain not in known:
            raise InputError(
                "host-not-in-inventory",
                f"{name!r} is neither a host nor a group of {_shown(sources)}",
                why=suggestion(plain, known),
                hint="`config show` lists the hosts; without --inventory a name is an SSH destination",
            )


def _refuse_nodes(names: Sequence[str], nodes: Sequence[Mapping[str, Any]]) -> None:
    """A node is none of the hosts that something is installed on, unless it is in ``inference`` too."""
    for node in nodes:
        if node["name"] in names and INFERENCE_GROUP not in node["groups"]:
            raise InputError(
                "host-is-node",
                f"{node['name']} is a Proxmox node, no host to install something on",
                why=f"the inventory has it in group {NODES_GROUP}",
                hint=f"name a VM on it: --node {node['name']} --name NAME",
            )


def _refuse_unknown(variables: Mapping[str, Sourced]) -> None:
    for name, sourced in variables.items():
        if name not in _KNOWN:
            raise InputError(
                "variable-unknown",
                f"{sourced.source}: {name} is not a variable of localai-deploy",
                why=suggestion(name, _KNOWN),
                hint="localai-deploy config show lists all variables",
            )
