"""Look at a node's cards: hardware, mappings and who has which card, in as few turns as it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from localai_deploy.domain.pve.facts import NodeFacts
from localai_deploy.domain.pve.hardware import parse_devices
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.card_users import card_world
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.survey import ask_all


def survey_cards(client: PveClient, facts: NodeFacts) -> NodeFacts:
    """The same facts with devices, mappings and VMs that have cards.

    :raises LocalaiError: ``pve-*``, ``tls-*``; what the token may not list is left out instead.
    """
    devices, world = ask_all(lambda: _devices(client), lambda: card_world(client))
    return replace(facts, devices=None if devices is None else parse_devices(devices), world=world)


def _devices(client: PveClient) -> list[dict[str, Any]] | None:
    try:
        found = client.get(f"nodes/{client.node}/hardware/pci")
    except LocalaiError as error:
        if error.error_id == "pve-forbidden":
            return None
        raise
    return list(found)
