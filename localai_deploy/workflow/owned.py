"""VMs of ours, found on their node by the block in their description: no local file is needed."""

from __future__ import annotations

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.workflow.telling import Say


def owned_names(connection: NodeConnection, say: Say = lambda _: None) -> list[str]:
    """Names of all VMs of ours that the node's cluster has.

    :param say: hears which look is repeated.
    :raises LocalaiError: ``pve-*``, ``tls-*``.
    """
    from localai_deploy.proxmox.node import open_node

    members = open_node(connection, on_retry=say).vms.members()
    return sorted({one.block.name for one in members if not one.block.begun})
