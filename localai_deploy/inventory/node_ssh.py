"""How a node itself is logged in to, from the same settings as its API."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import InputError
from localai_deploy.inventory.nodes import Nodes
from localai_deploy.sandbox_record import NODE as SANDBOX


@dataclass(frozen=True, slots=True)
class NodeSsh:
    """A node's login.

    :param may_look: the inventory allows looks over SSH.
    :param may_prepare: it allows changes when nobody can be asked.
    """

    connection: Connection
    may_look: bool
    may_prepare: bool


def node_ssh(
    nodes: Nodes, name: str, host_key: str = "", environment: Mapping[str, str] = os.environ
) -> NodeSsh:
    """The login of the node called ``name``.

    :param host_key: a fingerprint that the caller vouches for, before the inventory's.
    :raises InputError: ``node-without-ssh``, ``pve-host-missing``, ``setting-invalid``.
    """
    if name == SANDBOX and name not in nodes.variables:
        raise InputError(
            "node-without-ssh",
            "the embedded node has no SSH server",
            why="it is an API with guests behind it, and no machine of its own",
            hint="leave --ssh away: what only the node itself could tell then reads unknown",
        )
    value = {key: one.value for key, one in nodes.settings(name, environment).items()}
    host = value["localai_proxmox_ssh_host"] or _host_of(name, value["localai_proxmox_host"])
    key = value["localai_proxmox_ssh_key"]
    connection = Connection(
        kind="ssh",
        destination=host,
        user=value["localai_proxmox_ssh_user"],
        port=value["localai_proxmox_ssh_port"],
        private_key_file=str(Path(key).expanduser()) if key else "",
        ssh_args=value["localai_proxmox_ssh_args"],
        host_key=host_key or value["localai_proxmox_ssh_host_key"],
    )
    return NodeSsh(connection, value["localai_proxmox_ssh"], value["localai_proxmox_ssh_prepare"])


def look_login(nodes: Nodes, name: str, environment: Mapping[str, str] = os.environ) -> Connection | None:
    """The login for looks that a plan takes; ``None`` unless the inventory allows them.

    :raises InputError: as :func:`node_ssh`.
    """
    if name not in nodes.variables or not nodes.settings(name, environment)["localai_proxmox_ssh"].value:
        return None
    return node_ssh(nodes, name, environment=environment).connection


def _host_of(name: str, api: str) -> str:
    """The API's host without its port."""
    host = urlsplit(f"//{api.removeprefix('https://')}").hostname if api else ""
    if not host:
        raise InputError(
            "pve-host-missing",
            f"nobody says where node {name} is",
            hint=f"set localai_proxmox_ssh_host for {name} in the inventory, or PROXMOX_HOST",
        )
    return host
