"""An Ansible inventory and flags become host specs, with the source of every value."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from localai_deploy.domain.connection import Connection, parse_destination
from localai_deploy.domain.settings import (
    BY_NAME,
    PREFIX,
    Sourced,
    resolve_settings,
    suggestion,
)
from localai_deploy.domain.spec import HostSpec, host_spec
from localai_deploy.errors import InputError
from localai_deploy.inventory_sources import find_source

INFERENCE_GROUP = "inference"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets of one host: never shown, never in a rendered file."""

    become_password: str = field(default="", repr=False)
    hub_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class InventoryHost:
    """One host as inventory and flags describe it."""

    name: str
    connection: Connection
    settings: Mapping[str, Sourced]
    secrets: Secrets = Secrets()

    def spec(self) -> HostSpec:
        """The typed spec; InputError ``model-missing`` without a model."""
        return host_spec(self.name, self.connection, self.settings)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What flags say, for every host of the run.

    :param settings: values of settings, as given.
    :param become_password: asked for on the terminal.
    """

    settings: Mapping[str, Sourced] = field(default_factory=dict)
    become_password: str = field(default="", repr=False)


def load_hosts(
    names: Sequence[str],
    inventory: Path | None,
    overrides: Overrides,
    vault_password_file: Path | None = None,
) -> list[InventoryHost]:
    """The hosts that ``names`` (inventory names or patterns; else SSH destinations) stand for.

    :raises InputError: ``host-missing``, ``host-not-in-inventory``, ``host-name-invalid``,
        ``variable-unknown``, ``setting-invalid``, ``inventory-unreadable``.
    """
    if inventory is None:
        return [_ad_hoc(name, overrides) for name in _required(names)]
    return _from_inventory(names, inventory, overrides, vault_password_file)


def _required(names: Sequence[str]) -> list[str]:
    if not names:
        raise InputError(
            "host-missing",
            "no host is named",
            hint="name one: localai-deploy up admin@192.0.2.10 …, localhost, or give --inventory DIR",
        )
    return list(dict.fromkeys(names))


def _ad_hoc(name: str, overrides: Overrides) -> InventoryHost:
    connection = parse_destination(name)
    return _host(connection.destination, connection, {}, overrides, Secrets())


def _host(
    name: str,
    connection: Connection,
    variables: Mapping[str, Sourced],
    overrides: Overrides,
    secrets: Secrets,
) -> InventoryHost:
    settings = resolve_settings([overrides.settings, variables])
    password = overrides.become_password or secrets.become_password
    connection = replace(
        connection,
        host_key=settings["localai_host_key"].value,
        become_password_needed=bool(password),
    )
    token = os.environ.get("HF_TOKEN", "")
    return InventoryHost(name, connection, settings, Secrets(password, token))


def _from_inventory(
    names: Sequence[str], inventory: Path, overrides: Overrides, vault_password_file: Path | None
) -> list[InventoryHost]:
    manager, variable_manager = _open(inventory, vault_password_file)
    hosts = _select(manager, names, inventory)
    found = []
    for host in hosts:
        raw = variable_manager.get_vars(host=host, include_hostvars=False)
        groups = [group.name for group in sorted(host.get_groups(), key=lambda g: -g.depth)]
        variables = {
            key: Sourced(_plain(value), find_source(inventory, host.name, groups, key))
            for key, value in raw.items()
            if key.startswith(PREFIX)
        }
        _refuse_unknown(variables)
        connection, secrets = _connection(host.name, raw)
        found.append(_host(host.name, connection, variables, overrides, secrets))
    return found


def _open(inventory: Path, vault_password_file: Path | None) -> tuple[Any, Any]:
    """Ansible's own reader: its plugins, vault files and precedence apply."""
    if not inventory.exists():
        raise InputError("inventory-unreadable", f"inventory {inventory} does not exist")
    from ansible.cli import CLI
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.vars.manager import VariableManager

    loader = DataLoader()
    files = [str(vault_password_file)] if vault_password_file else []
    try:
        loader.set_vault_secrets(
            CLI.setup_vault_secrets(loader, vault_ids=[], vault_password_files=files, auto_prompt=False)
        )
        manager = InventoryManager(loader=loader, sources=[str(inventory)])
        return manager, VariableManager(loader=loader, inventory=manager)
    except AnsibleError as error:
        raise InputError(
            "inventory-unreadable", f"inventory {inventory} cannot be read", why=str(error)
        ) from error


def _select(manager: Any, names: Sequence[str], inventory: Path) -> list[Any]:  # noqa: ANN401
    from ansible.errors import AnsibleError

    known = [*manager.hosts, *manager.groups]
    for name in names:
        plain = name.lstrip("!&")
        if not any(mark in name for mark in "*?[:,~") and plain not in known:
            raise InputError(
                "host-not-in-inventory",
                f"{name!r} is neither a host nor a group of {inventory}",
                why=suggestion(plain, known),
                hint="`config show` lists the hosts; without --inventory a name is an SSH destination",
            )
    pattern = list(names) or [INFERENCE_GROUP if INFERENCE_GROUP in manager.groups else "all"]
    try:
        hosts = manager.get_hosts(pattern)
    except AnsibleError as error:
        raise InputError(
            "host-not-in-inventory", f"pattern {pattern} cannot be used", why=str(error)
        ) from error
    if not hosts:
        raise InputError("host-missing", f"{inventory} has no host that matches {', '.join(pattern)}")
    return list(hosts)


def _refuse_unknown(variables: Mapping[str, Sourced]) -> None:
    for name, sourced in variables.items():
        if name not in BY_NAME:
            raise InputError(
                "variable-unknown",
                f"{sourced.source}: {name} is not a variable of localai-deploy",
                why=suggestion(name),
                hint="localai-deploy config show lists all variables",
            )


def _connection(name: str, raw: Mapping[str, Any]) -> tuple[Connection, Secrets]:
    password = raw.get("ansible_become_password") or raw.get("ansible_become_pass") or ""
    if str(raw.get("ansible_connection", "")) == "local":
        return Connection(kind="local"), Secrets(str(password))
    import shlex

    connection = Connection(
        kind="ssh",
        destination=str(raw.get("ansible_host") or name),
        user=str(raw.get("ansible_user") or ""),
        port=int(raw.get("ansible_port") or 0),
        private_key_file=str(raw.get("ansible_ssh_private_key_file") or ""),
        ssh_args=tuple(shlex.split(str(raw.get("ansible_ssh_common_args") or ""))),
    )
    return connection, Secrets(str(password))


def _plain(value: Any) -> Any:  # noqa: ANN401 - YAML of any shape
    """Ansible's tagged values as plain ones."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
