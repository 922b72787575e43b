"""One node's API with everything that is asked of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.facts import NodeFacts
from localai_deploy.proxmox.card_survey import survey_cards
from localai_deploy.proxmox.claims import Claims
from localai_deploy.proxmox.client import TIMEOUT_S, PveClient
from localai_deploy.proxmox.images import ImageStore
from localai_deploy.proxmox.leases import Leases
from localai_deploy.proxmox.mappings import Mappings
from localai_deploy.proxmox.survey import survey_node
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.proxmox.vms import VmStore


@dataclass(frozen=True, slots=True)
class PveNode:
    """Images, VMs, cards and creates of one node; ``facts`` looks at the node anew.

    :param with_cards: completes facts by the node's PCI devices, mappings, and who has which card.
    """

    name: str
    facts: Callable[[], NodeFacts]
    with_cards: Callable[[NodeFacts], NodeFacts]
    images: ImageStore
    vms: VmStore
    claims: Claims
    mappings: Mappings
    leases: Leases


def open_node(
    connection: NodeConnection,
    on_line: Callable[[str], None] = lambda _: None,
    *,
    on_retry: Callable[[str], None] = lambda _: None,
    timeout_s: float = TIMEOUT_S,
    sleep: Callable[[float], None] = time.sleep,
) -> PveNode:
    """The node; nothing is asked yet.

    :param on_line: hears each line of the logs of tasks that are waited for.
    :param on_retry: hears which look is about to be asked again, and why.
    :param timeout_s: for one call.
    """
    client = PveClient(connection, timeout_s, on_retry=on_retry, sleep=sleep)
    waiter = TaskWaiter(client, sleep=sleep, on_line=on_line)
    vms = VmStore(client, waiter)
    return PveNode(
        name=client.node,
        facts=lambda: survey_node(client),
        with_cards=lambda facts: survey_cards(client, facts),
        images=ImageStore(client, waiter),
        vms=vms,
        claims=Claims(client, waiter, vms),
        mappings=Mappings(client),
        leases=Leases(client, secrets.token_hex(8), sleep=sleep),
    )
