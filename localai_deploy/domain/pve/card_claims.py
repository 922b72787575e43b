"""Who has a card: a VM that runs with it, else the VM that its lease names; read from the cluster alone.

A lease is of a dead holder, and may be taken over, when its VM is gone, is another one by now (its UUID
differs), or has no such card in its config any more. While a VM is being made or gets the card, its config
does not have it yet: for :data:`MAKING_S` the lease of a VM that is not gone holds by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from localai_deploy.domain.pve.hostpci import HostPci
from localai_deploy.domain.pve.lease import Holder, Lease, read_leases
from localai_deploy.domain.pve.mapping import ResourceMapping
from localai_deploy.domain.pve.ownership import NotedCards
from localai_deploy.errors import ExitCode, LocalaiError

MAKING_S = 900
"""Seconds from a lease to a VM with the card in its config; two machines' clocks may differ by as much."""


@dataclass(frozen=True, slots=True)
class CardUser:
    """A VM of a node, with its passthrough devices.

    :param running: it has them; else it gets them when it is started, if they are free.
    :param cards: slot of its config (``hostpci0``) → device.
    :param onboot: it is started with its node.
    :param pool: the pool that it is in; empty: none.
    :param ours: pool, tag and block say so.
    :param noted: what its block says of its cards.
    """

    vmid: int
    name: str
    node: str
    uuid: str
    running: bool
    cards: Mapping[str, HostPci] = field(default_factory=dict)
    onboot: bool = False
    pool: str = ""
    ours: bool = False
    noted: NotedCards = field(default_factory=NotedCards)

    @property
    def holder(self) -> Holder:
        """The VM as a lease names it."""
        return Holder(self.name, self.vmid, self.uuid, foreign=not self.ours)

    def slots(self, mappings: Iterable[ResourceMapping]) -> frozenset[str]:
        """Slots of its node that one of its devices may be in."""
        by_name = {one.name: one for one in mappings}
        mapped = [by_name[one.mapping] for one in self.cards.values() if one.mapping in by_name]
        raw = [address.slot for one in self.cards.values() for address in one.addresses]
        return frozenset([*raw, *(slot for one in mapped for slot in one.slots_on(self.node))])


@dataclass(frozen=True, slots=True)
class CardWorld:
    """One look at mappings and VMs.

    :param vms: those of the node that was asked about.
    :param seen: ids of all VMs of the cluster that the token may see, with cards or without. One of ours
        that is not among them is gone, for our pool is seen as a whole.
    """

    mappings: tuple[ResourceMapping, ...]
    vms: tuple[CardUser, ...]
    seen: frozenset[int] = frozenset()

    @property
    def users(self) -> tuple[CardUser, ...]:
        """VMs with any card."""
        return tuple(one for one in self.vms if one.cards)

    def mapping(self, name: str) -> ResourceMapping | None:
        """Look up a mapping by its name."""
        return next((one for one in self.mappings if one.name == name), None)

    def users_of(self, node: str, slots: Iterable[str]) -> tuple[CardUser, ...]:
        """VMs of a node that could have the card in one of these slots."""
        wanted = set(slots)
        return tuple(one for one in self.users if one.node == node and wanted & one.slots(self.mappings))


class ClaimKind(StrEnum):
    """How a VM has a card."""

    RUNNING = "running"
    LEASED = "leased"
    MOVING = "moving"


@dataclass(frozen=True, slots=True)
class Claim:
    """One VM's claim to a card, which another VM has to respect.

    :param lease: ``None``: the VM runs with the card, and nobody wrote that down.
    """

    holder: Holder
    kind: ClaimKind
    lease: Lease | None = None

    def __str__(self) -> str:
        since = f" by run {self.lease.run}" if self.lease else ""
        said = {
            ClaimKind.RUNNING: f"{self.holder} runs with it",
            ClaimKind.LEASED: f"{self.holder} has its lease and does not run",
            ClaimKind.MOVING: f"it is being moved to {self.holder}{since}",
        }
        return said[self.kind]


def claims_on(world: CardWorld, node: str, slots: Iterable[str], now: float) -> tuple[Claim, ...]:
    """All live claims to the cards in these slots of a node: those of running VMs first.

    :param now: seconds since 1970.
    """
    wanted = frozenset(slots)
    running = [one for one in world.users_of(node, wanted) if one.running]
    leases = live_leases(world, node, wanted, now)
    found = [_of_running(one, leases) for one in running]
    found += [
        _of_lease(one) for one in leases if not any(claim.holder.is_same(one.holder) for claim in found)
    ]
    return tuple(found)


def live_leases(world: CardWorld, node: str, slots: Iterable[str], now: float) -> tuple[Lease, ...]:
    """Leases of mappings of these slots whose holders are alive."""
    wanted = set(slots)
    return tuple(
        lease
        for mapping in world.mappings
        if wanted & set(mapping.slots_on(node))
        for lease in read_leases(mapping.description)
        if lease.node == node and is_alive(lease, mapping, world, now)
    )


def is_alive(lease: Lease, mapping: ResourceMapping, world: CardWorld, now: float) -> bool:
    """Whether a lease's holder is there with the card, or may yet come to it."""
    holder = lease.holder
    if any(one.holder.is_same(holder) for one in world.users_of(lease.node, mapping.slots_on(lease.node))):
        return True
    if holder.vmid and holder.vmid not in world.seen:
        return holder.foreign
    return abs(now - lease.since) < MAKING_S


def _of_running(user: CardUser, leases: Iterable[Lease]) -> Claim:
    lease = next((one for one in leases if one.holder.is_same(user.holder)), None)
    return Claim(user.holder, ClaimKind.RUNNING, lease)


def _of_lease(lease: Lease) -> Claim:
    kind = ClaimKind.LEASED if lease.before is None else ClaimKind.MOVING
    return Claim(lease.holder, kind, lease)


def card_held(mapping: str, node: str, claim: Claim) -> LocalaiError:
    """``card-held``: the card stays with the VM that has it."""
    to = f"{claim.holder.vmid} goes on with a move that was cut off"
    if claim.kind is not ClaimKind.MOVING:
        to = "VM gives it to another VM"
    return LocalaiError(
        "card-held",
        f"the card of mapping {mapping} on node {node} is held by {claim.holder}",
        why=str(claim),
        hint=f"localai-deploy gpu move {mapping} --to {to}, localai-deploy gpu release {mapping} frees it",
        exit_code=ExitCode.HELD,
    )
