"""The cards of a node and who has them, for people: what ``gpu list`` shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from localai_deploy.domain.pve.card_claims import CardUser, CardWorld, Claim, ClaimKind, claims_on
from localai_deploy.domain.pve.hardware import CardOnNode
from localai_deploy.domain.pve.lease import Lease, read_leases
from localai_deploy.domain.pve.mapping import ResourceMapping, mapping_problem


class CardState(StrEnum):
    """How a card is."""

    FREE = "free"
    RUNNING = "running"
    LEASED = "leased"
    MOVING = "moving"


_STATE_OF = {
    ClaimKind.RUNNING: CardState.RUNNING,
    ClaimKind.LEASED: CardState.LEASED,
    ClaimKind.MOVING: CardState.MOVING,
}


@dataclass(frozen=True, slots=True)
class CardRow:
    """A card with who has it.

    :param mappings: those that stand for it, alone or among others.
    :param owner: ``None``: it is free.
    :param users: VMs that have it in their config, running or not.
    :param dead: leases whose holders are gone.
    :param problems: mappings that do not fit the hardware, in words.
    """

    card: CardOnNode
    mappings: tuple[ResourceMapping, ...]
    owner: Claim | None
    users: tuple[CardUser, ...]
    dead: tuple[Lease, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def state(self) -> CardState:
        """Free, or how its owner has it."""
        return CardState.FREE if self.owner is None else _STATE_OF[self.owner.kind]

    @property
    def names(self) -> frozenset[str]:
        """Of all these mappings."""
        return frozenset(one.name for one in self.mappings)

    @property
    def mapping(self) -> ResourceMapping | None:
        """The mapping by which a VM gets this card and no other."""
        return next((one for one in self.mappings if one.is_of(self.card)), None)


@dataclass(frozen=True, slots=True)
class NodeListing:
    """All cards of a node, by slot.

    :param lost: mappings of this node for which there is no card, in words.
    """

    node: str
    rows: tuple[CardRow, ...]
    lost: tuple[str, ...] = ()


def list_cards(node: str, cards: Iterable[CardOnNode], world: CardWorld, now: float) -> NodeListing:
    """Each card of the node with its mappings, its owner and the VMs that could use it.

    :param now: seconds since 1970.
    """
    rows = tuple(_row(card, world, now) for card in cards)
    slots = {row.card.slot for row in rows}
    return NodeListing(node, rows, tuple(_lost(node, slots, world)))


def _row(card: CardOnNode, world: CardWorld, now: float) -> CardRow:
    slots = (card.slot,)
    mappings = tuple(one for one in world.mappings if card.slot in one.slots_on(card.node))
    claims = claims_on(world, card.node, slots, now)
    leases = [lease for one in mappings for lease in read_leases(one.description) if lease.node == card.node]
    alive = {claim.lease for claim in claims}
    return CardRow(
        card=card,
        mappings=mappings,
        owner=claims[0] if claims else None,
        users=world.users_of(card.node, slots),
        dead=tuple(one for one in leases if one not in alive),
        problems=tuple(_problems(mappings, card)),
    )


def _problems(mappings: Iterable[ResourceMapping], card: CardOnNode) -> Iterable[str]:
    for mapping in mappings:
        entries = [one for one in mapping.entries_on(card.node) if card.slot in one.slots]
        found = [problem for one in entries if (problem := mapping_problem(one, card))]
        yield from (f"mapping {mapping.name} is out of date: {problem}" for problem in found)


def _lost(node: str, slots: set[str], world: CardWorld) -> Iterable[str]:
    for mapping in world.mappings:
        for entry in mapping.entries_on(node):
            if not slots & set(entry.slots):
                yield f"mapping {mapping.name} is out of date: {mapping_problem(entry, None)}"
