"""Options of commands that look at a node itself, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from localai_deploy.inventory.node_ssh import NodeSsh

Command = TypeVar("Command", bound=Callable[..., Any])

accept_host_key = click.option(
    "--accept-host-key", metavar="SHA256:…", help="Accept this SSH host key, and no other, if unknown."
)


def ssh_options(command: Command) -> Command:
    """``--ssh`` and ``--accept-host-key``."""
    command = accept_host_key(command)
    return click.option(
        "--ssh/--no-ssh",
        "use_ssh",
        default=None,
        help="Log in to the node and look at it, read-only.  [default: localai_proxmox_ssh of the inventory]",
    )(command)


def login_of(name: str, options: Mapping[str, Any]) -> NodeSsh:
    """How the node is logged in to.

    :raises InputError: ``node-without-ssh``, ``pve-host-missing``, ….
    """
    from localai_deploy.inventory.node_ssh import node_ssh
    from localai_deploy.inventory.specs import load_nodes

    nodes = load_nodes(
        options.get("inventory"), options.get("vault_password_file"), insecure=bool(options.get("insecure"))
    )
    return node_ssh(nodes, name, options.get("accept_host_key") or "")


def wanted_login(name: str, options: Mapping[str, Any]) -> NodeSsh | None:
    """The login where one is asked for, by flag or by the inventory; else ``None``."""
    from localai_deploy.errors import InputError

    asked = options.get("use_ssh")
    if asked is False:
        return None
    try:
        found = login_of(name, options)
    except InputError as error:
        if asked or error.error_id != "node-without-ssh":
            raise
        return None
    return found if asked or found.may_look else None
