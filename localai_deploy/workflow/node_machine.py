"""Cards and memory of a Proxmox node, as a machine that models are fitted to; nothing is changed."""

from __future__ import annotations

from localai_deploy.domain.fit.found import cards_from_ids
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.errors import LocalaiError
from localai_deploy.workflow.card_look import NodeLook, look_at
from localai_deploy.workflow.telling import Say


def node_machine(connection: NodeConnection, say: Say) -> Machine:
    """Ask a node: its cards with their nominal memory, whoever has them now, and its RAM.

    :raises LocalaiError: ``pve-*``, ``tls-*``.
    """
    look = look_at(connection, say)
    cards = cards_from_ids(card.display.pci_id for card in look.cards)
    return Machine(tuple(cards), _memory_bytes(look))


def _memory_bytes(look: NodeLook) -> int:
    """RAM of the node; 0 when the token may not ask."""
    try:
        status = look.client.get(f"nodes/{look.node}/status")
    except LocalaiError as error:
        if error.error_id == "pve-forbidden":
            return 0
        raise
    return int(status["memory"]["total"])
