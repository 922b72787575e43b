"""VMs of a node and their passthrough devices, as far as the token sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localai_deploy.domain.pve.card_claims import CardUser, CardWorld
from localai_deploy.domain.pve.hostpci import cards_in
from localai_deploy.domain.pve.ownership import NotedCards, begun_block, owned_block, smbios_uuid
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.mappings import Mappings
from localai_deploy.proxmox.survey import ask_all

_GONE = frozenset({"pve-vm-missing", "pve-forbidden"})


def card_world(client: PveClient) -> CardWorld:
    """Look at the client's node.

    Mappings come first, then the VMs: who writes a lease in between changes the mappings' digest.
    """
    mappings = Mappings(client).all()
    machines = [one for one in client.get("cluster/resources", type="vm") if one["type"] == "qemu"]
    here = [one for one in machines if one["node"] == client.node]
    found = ask_all(*(lambda one=one: _user(client, one) for one in here))
    vms = tuple(sorted((one for one in found if one), key=lambda one: one.vmid))
    return CardWorld(mappings, vms, frozenset(int(one["vmid"]) for one in machines))


def _user(client: PveClient, machine: Mapping[str, Any]) -> CardUser | None:
    """A running VM has the devices that it was started with, whatever waits for its next start."""
    vmid, node, running = int(machine["vmid"]), str(machine["node"]), machine["status"] == "running"
    try:
        config = client.get(f"nodes/{node}/qemu/{vmid}/config", current=running)
    except LocalaiError as error:
        if error.error_id in _GONE:
            return None
        raise
    pool = str(machine.get("pool") or "")
    block = owned_block(vmid, config, pool) or begun_block(vmid, config, pool)
    return CardUser(
        vmid=vmid,
        name=block.name if block else str(config.get("name", vmid)),
        node=node,
        uuid=smbios_uuid(config),
        running=running,
        cards=cards_in(config),
        onboot=bool(int(config.get("onboot", 0))),
        pool=pool,
        ours=block is not None,
        noted=block.noted if block else NotedCards(),
    )
