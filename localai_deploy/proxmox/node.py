"""One node's API with everything that is asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.facts import NodeFacts
from localai_deploy.proxmox.claims import Claims
from localai_deploy.proxmox.client import TIMEOUT_S, PveClient
from localai_deploy.proxmox.images import ImageStore
from localai_deploy.proxmox.survey import survey_node
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.proxmox.vms import VmStore


@dataclass(frozen=True, slots=True)
class PveNode:
    """Images, VMs and creates of one node; ``facts`` looks at the node anew."""

    name: str
    facts: Callable[[], NodeFacts]
    images: ImageStore
    vms: VmStore
    claims: Claims


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
        images=ImageStore(client, waiter),
        vms=vms,
        claims=Claims(client, waiter, vms),
    )
