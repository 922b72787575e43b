"""Which nodes the ``gpu`` commands are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from localai_deploy.cli.node_trust import warn_of_insecure
from localai_deploy.cli.options import node_from
from localai_deploy.cli.progress import say
from localai_deploy.cli.terminal import note
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.sandbox_record import NODE as SANDBOX
from localai_deploy.workflow.card_look import nodes_of_cluster

if TYPE_CHECKING:
    from localai_deploy.inventory.specs import InventoryHost

NODE = click.option(
    "--node",
    metavar="N",
    help="An entry of the inventory's proxmox_nodes, `sandbox`, or the node N at PROXMOX_HOST.",
)


def node_connections(options: Mapping[str, Any]) -> list[NodeConnection]:
    """The node that is named; else all of the inventory, else all of the cluster that there is.

    :raises InputError: ``pve-host-missing``: nobody says where any node is.
    """
    if options["node"]:
        return [node_from(options["node"], options)]
    from localai_deploy.inventory.specs import load_nodes

    insecure = bool(options.get("insecure"))
    nodes = load_nodes(options.get("inventory"), options.get("vault_password_file"), insecure=insecure)
    if nodes.variables:
        found = [nodes.connection(name) for name in nodes.variables]
    else:
        any_node = SANDBOX if nodes.lack(SANDBOX) is None else "any"
        found = nodes_of_cluster(nodes.connection(any_node), say)
    warn_of_insecure(found)
    return found


def inventory_hosts(options: Mapping[str, Any]) -> tuple[InventoryHost, ...]:
    """All hosts of the inventory, to name its lines; none where there is none, or it cannot be read whole."""
    from localai_deploy.inventory.specs import Overrides, load_hosts

    if not options.get("inventory"):
        return ()
    place = options["inventory"], Overrides(), options.get("vault_password_file")
    try:
        return tuple(load_hosts((), *place, only_shown=True))
    except LocalaiError as error:
        if error.error_id != "host-missing":
            note(click.style(f"! the inventory is not looked at: {error}", fg="yellow"))
        return ()


def one_connection(options: Mapping[str, Any]) -> NodeConnection:
    """The node of a command that works on one.

    :raises InputError: ``usage``: there are several, and none is named.
    """
    found = node_connections(options)
    if len(found) != 1:
        names = ", ".join(one.node for one in found) or "none"
        raise InputError("usage", f"there are several nodes: {names}", hint="name one with --node")
    return found[0]
