"""An Ansible inventory and flags become host specs, with the source of every value."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from localai_deploy.domain.connection import Connection, check_host_name, parse_destination
from localai_deploy.domain.settings import (
    BY_NAME,
    PREFIX,
    Sourced,
    resolve_settings,
    suggestion,
)
from localai_deploy.domain.spec import HostSpec, host_spec
from localai_deploy.errors import InputError
from localai_deploy.inventory_sources import find_broken_file, find_source

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
    found = []
    for entry in _read(names, inventory, vault_password_file):
        name, raw = str(entry["name"]), entry["variables"]
        check_host_name(name)
        variables = {
            key: Sourced(value, find_source(inventory, name, entry["groups"], key))
            for key, value in raw.items()
            if key.startswith(PREFIX)
        }
        _refuse_unknown(variables)
        connection, secrets = _connection(name, raw)
        found.append(_host(name, connection, variables, overrides, secrets))
    return found


def _read(names: Sequence[str], inventory: Path, vault_password_file: Path | None) -> list[Mapping[str, Any]]:
    """Ansible's own reader, in a process of its own: its settings and secrets are global to a process.

    A file that cannot be read is an error; Ansible itself would go on without its hosts.
    """
    if not inventory.exists():
        raise InputError("inventory-unreadable", f"inventory {inventory} does not exist")
    question = {
        "inventory": str(inventory),
        "patterns": list(names),
        "default_group": INFERENCE_GROUP,
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
        place = find_broken_file(inventory)
        why = f"{place}: {answer['error']}" if place else str(answer["error"])
        raise InputError("inventory-unreadable", f"inventory {inventory} cannot be read", why=why)
    _refuse_strangers(names, answer["known"], inventory)
    if not answer["hosts"]:
        raise InputError(
            "host-missing", f"{inventory} has no host that matches {', '.join(names) or 'anything'}"
        )
    return list(answer["hosts"])


def _refuse_strangers(names: Sequence[str], known: Sequence[str], inventory: Path) -> None:
    for name in names:
        plain = name.lstrip("!&")
        if not any(mark in name for mark in "*?[:,~") and plain not in known:
            raise InputError(
                "host-not-in-inventory",
                f"{name!r} is neither a host nor a group of {inventory}",
                why=suggestion(plain, known),
                hint="`config show` lists the hosts; without --inventory a name is an SSH destination",
            )


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
    secrets = Secrets(_password(name, raw))
    if str(raw.get("ansible_connection", "")) == "local":
        return Connection(kind="local"), secrets
    connection = Connection(
        kind="ssh",
        destination=str(raw.get("ansible_host") or name),
        user=str(raw.get("ansible_user") or ""),
        port=_port(name, raw.get("ansible_port") or 0),
        private_key_file=str(raw.get("ansible_ssh_private_key_file") or ""),
        ssh_args=_words(name, "ansible_ssh_common_args", raw),
    )
    return connection, secrets


def _password(name: str, raw: Mapping[str, Any]) -> str:
    """Sudo's password; a line break at its end, as block scalars of YAML have, does not belong to it."""
    given = raw.get("ansible_become_password") or raw.get("ansible_become_pass") or ""
    password = str(given).rstrip("\r\n")
    if not password.isprintable():
        raise InputError(
            "setting-invalid",
            f"ansible_become_password of {name} is not one line of printable characters",
            hint="vault it anew: ansible-vault encrypt_string --name ansible_become_password",
        )
    return password


def _port(name: str, value: object) -> int:
    if not str(value).isdecimal():
        raise InputError("setting-invalid", f"ansible_port of {name} is {value!r}", why="expected a number")
    return int(str(value))


def _words(name: str, variable: str, raw: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(str(raw.get(variable) or "")))
    except ValueError as error:
        raise InputError(
            "setting-invalid", f"{variable} of {name} is {raw[variable]!r}", why=str(error)
        ) from error
