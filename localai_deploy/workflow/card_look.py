"""Look at the cards of nodes: which there are, who has them, what a name or address stands for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localai_deploy.domain.pve.card_claims import CardUser, CardWorld
from localai_deploy.domain.pve.card_listing import NodeListing, list_cards
from localai_deploy.domain.pve.card_move import CardMove, plan_move
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.gpu_selection import CardChoice, NodeCards, parse_selection, select_cards
from localai_deploy.domain.pve.hardware import CardOnNode, cards_of, parse_devices
from localai_deploy.domain.pve.mapping import ResourceMapping, create_command, entry_for
from localai_deploy.domain.pve.permissions import missing_needs
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.workflow.telling import Say

if TYPE_CHECKING:
    from localai_deploy.proxmox.client import PveClient


@dataclass(frozen=True, slots=True)
class NodeLook:
    """One look at a node's cards, its mappings and its VMs."""

    client: PveClient
    cards: tuple[CardOnNode, ...]
    world: CardWorld

    @property
    def node(self) -> str:
        """Its name."""
        return self.client.node

    def listing(self) -> NodeListing:
        """Its cards and who has them now."""
        return list_cards(self.node, self.cards, self.world, time.time())

    def card(self, text: str) -> CardChoice:
        """The card that an address, a mapping's name or a card's name stands for.

        :raises LocalaiError: ``gpu-unknown``, ``gpu-ambiguous``, ``pci-renumber``.
        :raises InputError: ``setting-invalid``.
        """
        users = {row.card.slot: tuple(str(one.holder) for one in row.users) for row in self.listing().rows}
        there = NodeCards(self.node, self.cards, self.world.mappings, users)
        found = select_cards(parse_selection("CARD", text), there)
        if found.findings:
            raise found.findings[0].as_error()
        if len(found.choices) != 1:
            raise LocalaiError(
                "gpu-unknown", f"{text!r} is not one card", hint="name one card", exit_code=ExitCode.MALFORMED
            )
        return found.choices[0]


def look_at(connection: NodeConnection, say: Say) -> NodeLook:
    """Ask a node.

    :raises LocalaiError: ``pve-*``, ``tls-*``.
    """
    from localai_deploy.proxmox.card_users import card_world
    from localai_deploy.proxmox.client import PveClient

    client = PveClient(connection, on_retry=say)
    client.version()
    devices = parse_devices(client.get(f"nodes/{client.node}/hardware/pci"))
    return NodeLook(client, cards_of(client.node, devices), card_world(client))


def nodes_of_cluster(connection: NodeConnection, say: Say) -> list[NodeConnection]:
    """A connection for each node of the cluster that is up; all through the same host."""
    from localai_deploy.proxmox.client import PveClient

    answer = PveClient(connection, on_retry=say).get("nodes")
    names = sorted(str(one["node"]) for one in answer if one.get("status") == "online")
    return [replace(connection, node=name) for name in names]


def mapping_of(choice: CardChoice) -> ResourceMapping:
    """The mapping of a card, as it is or as it would be made."""
    if choice.mapping is not None:
        return choice.mapping
    return ResourceMapping(choice.name, (entry_for(choice.card),))


def make_mapping(look: NodeLook, choice: CardChoice) -> None:
    """Have the mapping of a card.

    :raises LocalaiError: ``pve-forbidden``: the token may not make it.
    """
    from localai_deploy.proxmox.mappings import Mappings

    if choice.mapping is None:
        try:
            Mappings(look.client).create(choice.name, [entry_for(choice.card)])
        except LocalaiError as error:
            if error.error_id == "pve-forbidden":
                command = create_command(choice.name, choice.card)
                error.hint = f"an administrator makes it on the node: {command}"
            raise


def planned_move(look: NodeLook, choice: CardChoice, target: CardUser) -> CardMove:
    """Plan to give a card to a VM, and see that the token may.

    :raises LocalaiError: ``pve-rights-missing``; ``vm-config-full``.
    """
    mapping = mapping_of(choice)
    world = look.world
    if choice.mapping is None:
        world = replace(world, mappings=(*world.mappings, mapping))
    move = plan_move(world, mapping, look.node, target, time.time())
    _require_rights(look, move)
    return move


def _require_rights(look: NodeLook, move: CardMove) -> None:
    permissions: Mapping[str, Mapping[str, int]] = look.client.get("access/permissions") or {}
    missing = missing_needs(move.needs(), permissions)
    if not missing:
        return
    by_path: dict[str, list[str]] = {}
    for need in missing:
        by_path.setdefault(need.path, []).append(need.privilege)
    token = look.client.connection.token
    raise LocalaiError(
        "pve-rights-missing",
        f"the API token lacks rights to move the card of mapping {move.mapping}",
        why="\n".join(f"missing: {need}" for need in missing),
        hint="an administrator grants them on the node:\n"
        + "\n".join(_grant(path, names, token.user, token.name) for path, names in by_path.items()),
    )


def _grant(path: str, privileges: list[str], user: str, token: str) -> str:
    role = "LocalaiCard" + "".join(word.capitalize() for word in path.strip("/").replace("-", "/").split("/"))
    return (
        f'pveum role add {role} --privs "{" ".join(sorted(set(privileges)))}" && '
        f"pveum acl modify {path} --roles {role} --users {user} --tokens '{user}!{token}'"
    )
