"""VMs of ours, found on their node by the block in their description: no local file is needed."""

from __future__ import annotations

from localai_deploy.domain.pve.credentials import NodeConnection


def owned_names(connection: NodeConnection) -> list[str]:
    """Names of all VMs of ours that the node's cluster has.

    :raises LocalaiError: ``pve-*``, ``tls-*``.
    """
    from localai_deploy.proxmox.node import open_node

    return sorted({one.block.name for one in open_node(connection).vms.members() if not one.block.begun})
