"""An Ansible inventory and flags become host specs, with the source of every value."""

from __future__ import annotations

import os
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
from localai_deploy.inventory.connection import PASSWORD_VARIABLES, become_password_of, connection_of
from localai_deploy.inventory.gateway import with_gateway
from localai_deploy.inventory.nodes import Nodes, vm_wish
from localai_deploy.inventory.query import ask, refuse_nodes, refuse_strangers, shown
from localai_deploy.inventory.sources import Sources
from localai_deploy.inventory.twins import refuse_twins

Inventories = Path | Sequence[Path] | None
"""An inventory, or several: of what they both say the later one wins, as in Ansible."""
Entry = Mapping[str, Any]
"""A host as Ansible's reader tells it: ``name``, ``groups`` (innermost first), ``variables``."""

KNOWN_VARIABLES = frozenset({setting.name for setting in (*SETTINGS, *NODE_SETTINGS)})


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets of one host: never shown, never in a rendered file.

    :param become_source: where sudo's password was said, ``FILE:LINE``.
    """

    become_password: str = field(default="", repr=False)
    hub_token: str = field(default="", repr=False)
    become_source: str = ""


@dataclass(frozen=True, slots=True)
class InventoryHost:
    """One host as inventory and flags describe it; ``vm`` of a VM, ``gateway`` of that group's host.

    :param place: where the inventory lists it, ``FILE:LINE``; empty for an SSH destination.
    """

    name: str
    connection: Connection
    settings: Mapping[str, Sourced]
    secrets: Secrets = Secrets()
    vm: VmWish | None = None
    gateway: Gateway | None = None
    place: str = ""

    def spec(self) -> HostSpec:
        """The typed spec; InputError ``gpu-needs-node``."""
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
    inventory: Inventories,
    overrides: Overrides,
    vault_password_file: Path | None = None,
    *,
    limit: str = "",
    only_shown: bool = False,
) -> list[InventoryHost]:
    """The hosts that ``names`` (inventory names or patterns; else SSH destinations) stand for.

    Where a node is named on the command line, names that the inventory does not know are VMs made ad hoc:
    they have the variables of group ``proxmox_vms``.

    :param limit: a pattern of Ansible that narrows them down.
    :param only_shown: no node is asked: what is missing to reach one is no error.
    :raises InputError: ``usage``, ``host-missing``, ``host-not-in-inventory``, ``host-is-node``, and:
        ``variable-unknown``, ``setting-invalid``, ``inventory-unreadable``, ``inventory-name-twice``.
    """
    makes_vms = "localai_node" in overrides.settings
    sources = paths_of(inventory)
    if not sources:
        _refuse_limit(limit)
        nodes = Nodes(insecure=overrides.insecure, only_shown=only_shown)
        return [_ad_hoc(name, overrides, nodes) for name in _required(names)]
    names = _required(names) if makes_vms else names
    answer = ask(names, sources, vault_password_file, limit=limit, makes_vms=makes_vms)
    files = Sources(sources, answer["vaulted"])
    refuse_twins(files, {str(entry["name"]) for entry in answer["hosts"]})
    nodes = Nodes(_variables(answer["nodes"], files), overrides.insecure, only_shown)
    refuse_strangers(answer["strangers"], answer["known"], sources)
    refuse_nodes(names, answer["nodes"])
    require_some([*names, *([limit] if limit else [])], sources, answer["hosts"])
    hosts = [host_of_entry(entry, files, overrides, nodes) for entry in answer["hosts"]]
    return with_gateway(hosts, answer["gateways"], _variables(answer["replicas"], files), shown(sources))


def paths_of(inventory: Inventories) -> tuple[Path, ...]:
    """The inventories, later ones win."""
    return (inventory,) if isinstance(inventory, Path) else tuple(inventory or ())


def _refuse_limit(limit: str) -> None:
    if limit:
        raise InputError(
            "usage", "--limit narrows the hosts of an inventory down", hint="give --inventory DIR"
        )


def load_nodes(
    inventory: Inventories,
    vault_password_file: Path | None = None,
    *,
    insecure: bool,
    only_shown: bool = False,
) -> Nodes:
    """The nodes of group ``proxmox_nodes``; none without an inventory.

    :raises InputError: as :func:`load_hosts`.
    """
    sources = paths_of(inventory)
    if not sources:
        return Nodes(insecure=insecure, only_shown=only_shown)
    answer = ask(None, sources, vault_password_file)
    return Nodes(_variables(answer["nodes"], Sources(sources, answer["vaulted"])), insecure, only_shown)


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
    if overrides.become_password:
        secrets = Secrets(overrides.become_password, become_source="asked for on the terminal")
    connection = replace(
        connection,
        host_key=settings["localai_host_key"].value,
        become_password_needed=bool(secrets.become_password),
    )
    vm = vm_wish(name, settings, nodes) if settings["localai_node"].value else None
    if vm is not None:
        connection = replace(connection, kind="vm", destination=name, user=vm.spec.user)
    secrets = replace(secrets, hub_token=os.environ.get("HF_TOKEN", ""))
    return InventoryHost(name, connection, settings, secrets, vm)


def require_some(names: Sequence[str], sources: Sequence[Path], entries: Sequence[Entry]) -> None:
    """Refuse a pattern that no host matches.

    :raises InputError: ``host-missing``.
    """
    if not entries:
        wanted = f"host that matches {' and '.join(names)}" if names else "host to install something on"
        raise InputError(
            "host-missing",
            f"{shown(sources)} has no {wanted}",
            hint="`config show` lists the hosts; a group may be there and have none",
        )


def host_of_entry(entry: Entry, files: Sources, overrides: Overrides, nodes: Nodes) -> InventoryHost:
    """One host of an inventory.

    :raises InputError: as :func:`load_hosts`.
    """
    name = str(entry["name"])
    variables = _variables([entry], files)[name]
    secrets = _secrets(entry, files)
    connection = connection_of(name, entry["variables"])
    host = _host(name, connection, variables, overrides, secrets, nodes)
    return replace(host, place=str(files.place_of_host(name)))


def _secrets(entry: Entry, files: Sources) -> Secrets:
    name, variables = str(entry["name"]), entry["variables"]
    given = [key for key in PASSWORD_VARIABLES if variables.get(key)]
    source = str(files.place_of_variable(name, entry["groups"], given[0])) if given else ""
    return Secrets(become_password_of(name, variables), become_source=source)


def _variables(entries: Sequence[Entry], files: Sources) -> dict[str, dict[str, Sourced]]:
    """Our variables of each host with their sources; an unknown one is refused."""
    found = {}
    for entry in entries:
        name = str(entry["name"])
        check_host_name(name)
        found[name] = {
            key: Sourced(value, str(files.place_of_variable(name, entry["groups"], key)))
            for key, value in entry["variables"].items()
            if key.startswith(PREFIX)
        }
        for key, sourced in found[name].items():
            if key not in KNOWN_VARIABLES:
                raise unknown_variable(key, sourced.source)
    return found


def unknown_variable(name: str, source: str) -> InputError:
    """What to raise of a name that begins like ours and is none of ours."""
    return InputError(
        "variable-unknown",
        f"{source}: {name} is not a variable of localai-deploy",
        why=suggestion(name, KNOWN_VARIABLES),
        hint="localai-deploy config show lists all variables",
    )
