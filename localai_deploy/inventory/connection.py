"""Ansible's own variables that say how a host is reached."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import InputError

PASSWORD_VARIABLES = ("ansible_become_password", "ansible_become_pass")
"""The first one that is set counts."""


def connection_of(name: str, raw: Mapping[str, Any]) -> Connection:
    """The connection that ``ansible_*`` variables describe.

    :raises InputError: ``setting-invalid``, ``host-name-invalid``.
    """
    if str(raw.get("ansible_connection", "")) == "local":
        return Connection(kind="local")
    return Connection(
        kind="ssh",
        destination=str(raw.get("ansible_host") or name),
        user=str(raw.get("ansible_user") or ""),
        port=_port(name, raw.get("ansible_port") or 0),
        private_key_file=str(raw.get("ansible_ssh_private_key_file") or ""),
        ssh_args=_words(name, "ansible_ssh_common_args", raw),
    )


def become_password_of(name: str, raw: Mapping[str, Any]) -> str:
    """Sudo's password; a line break at its end, as block scalars of YAML have, does not belong to it.

    :raises InputError: ``setting-invalid``.
    """
    given = next((raw[one] for one in PASSWORD_VARIABLES if raw.get(one)), "")
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
