"""Moving a card from one VM to another, as a plan: what is done, in which order, and what it takes.

Both VMs keep the card in their config where they have it: Proxmox lets any number of VMs name a card, and
one at a time run with it. Starting with the node goes with the card, or the VM that gave it away would come
first after the node's next start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.pve.card_claims import CardUser, CardWorld, Claim, ClaimKind, claims_on
from localai_deploy.domain.pve.hostpci import free_slot, mapped_card
from localai_deploy.domain.pve.lease import Before, Holder, Was, read_leases
from localai_deploy.domain.pve.mapping import ResourceMapping
from localai_deploy.domain.pve.ownership import POOL, NotedCards
from localai_deploy.domain.pve.permissions import Need
from localai_deploy.errors import InputError, LocalaiError


@dataclass(frozen=True, slots=True)
class CardMove:
    """One move.

    :param before: how both VMs were before it was begun, by this run or by one that was cut off.
    :param source: the VM that has the card now, as it is now; ``None``: it is free.
    :param target: the VM that is to have it, as it is now.
    :param slot: of the target's config that the card is put in; empty: it is there already.
    :param card_slots: where the card sits on its node.
    :param names: all mappings that stand for it.
    :param ended: VMs whose claims to the card the move ends; those of others stand in its way.
    """

    mapping: str
    card_slots: frozenset[str]
    names: frozenset[str]
    before: Before
    source: CardUser | None
    target: CardUser
    slot: str
    ended: tuple[Holder, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether the target runs with the card already."""
        return self.target.running and not self.slot and self.source is None

    @property
    def unnoted(self) -> tuple[CardUser, ...]:
        """VMs of ours whose blocks do not say yet who has the card."""
        given = () if self.source is None or not self.source.noted.of(self.names).has else (self.source,)
        got = () if self.target.noted.of(self.names) == self.target_noted else (self.target,)
        return (*given, *got)

    @property
    def target_noted(self) -> NotedCards:
        """What the target's block is to say of the card; nothing where it is not ours."""
        if not self.target.ours:
            return NotedCards()
        has = (card.mapping for card in self.target.cards.values() if card.mapping in self.names)
        return NotedCards(has=(next(has, self.mapping),))

    def noted(self) -> Iterator[tuple[int, NotedCards]]:
        """VMs, and what their blocks are to say of the card once it is moved."""
        before = self.before.source
        if before is not None:
            yield before.holder.vmid, before.noted.given_away()
        yield self.target.vmid, self.target_noted

    def noted_before(self) -> Iterator[tuple[int, NotedCards]]:
        """The same as it was before the move."""
        for was in filter(None, (self.before.source, self.before.target)):
            yield was.holder.vmid, was.noted

    @property
    def takes_onboot(self) -> bool:
        """Whether starting with the node goes from one VM to the other."""
        return self.before.source is not None and self.before.source.onboot

    @property
    def foreign(self) -> tuple[CardUser, ...]:
        """VMs of the move that are not ours."""
        both = (self.source, self.target)
        return tuple(one for one in both if one is not None and not one.ours)

    def target_values(self) -> dict[str, Any]:
        """What of the target's config is to be set."""
        values: dict[str, Any] = {self.slot: str(mapped_card(self.mapping))} if self.slot else {}
        return values | ({"onboot": 1} if self.takes_onboot and not self.target.onboot else {})

    def undone_target(self) -> dict[str, Any]:
        """What of the target's config is to be set so that it is as before."""
        had = next((slot for slot, card in self.target.cards.items() if card.mapping == self.mapping), "")
        put_in = "" if self.before.target.slot else self.slot or had
        return undone(self.before.target) | ({"delete": put_in} if put_in else {})

    def steps(self) -> tuple[str, ...]:
        """What is done, a line each."""
        return tuple(self._steps())

    def _steps(self) -> Iterator[str]:
        source, target = self.source, self.target
        if self.slot:
            yield f"give {target.holder} the card in its config: {self.slot}={mapped_card(self.mapping)}"
        if source is not None and source.running:
            yield f"shut {source.holder} down"
        if target.running and self.slot:
            yield f"shut {target.holder} down, for it runs without the card"
        if self.takes_onboot:
            yield f"start {target.holder} with the node from now on, and no longer {self._giver}"
        if not self.is_done:
            yield f"start {target.holder}, and see that it has the card"
        if self.unnoted:
            ours = " and ".join(str(one.holder) for one in self.unnoted)
            yield f"note it in the description of {ours}: `up` goes by that"

    @property
    def _giver(self) -> str:
        return str(self.before.source.holder) if self.before.source else ""

    def needs(self) -> tuple[Need, ...]:
        """Rights that it takes on both VMs and the mapping."""
        found = [Need(f"/mapping/pci/{self.mapping}", "Mapping.Use")] if self.slot else []
        options = self.target in self.unnoted or "onboot" in self.target_values()
        found += _vm_needs(self.target, config=bool(self.slot), options=options)
        if self.source is not None:
            options = self.source in self.unnoted or self.takes_onboot
            found += _vm_needs(self.source, config=False, options=options)
        return tuple(found)


def _vm_needs(vm: CardUser, *, config: bool, options: bool) -> Iterator[Need]:
    yield _need(vm, "VM.Audit")
    yield _need(vm, "VM.PowerMgmt")
    if config:
        yield _need(vm, "VM.Config.HWType")
    if options:
        yield _need(vm, "VM.Config.Options")


def _need(vm: CardUser, privilege: str) -> Need:
    """On the VM itself, or on the pool that it is in: ours are in one of our own."""
    of_vm = f"/vms/{vm.vmid}"
    if vm.ours:
        return Need(f"/pool/{POOL}", privilege, (Need(of_vm, privilege),))
    return Need(of_vm, privilege, (Need(f"/pool/{vm.pool}", privilege),) if vm.pool else ())


def find_vm(world: CardWorld, node: str, text: str) -> CardUser:
    """The VM of a name or id; of several with one name, ours.

    :raises InputError: ``vm-name-ambiguous``.
    :raises LocalaiError: ``vm-unknown``.
    """
    found = [one for one in world.vms if text in {one.name, str(one.vmid)}]
    found = [one for one in found if one.ours] or found
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(str(one.vmid) for one in found)
        raise InputError(
            "vm-name-ambiguous", f"several VMs are named {text}: {listed}", hint="name one of them by its id"
        )
    listed = ", ".join(f"{one.vmid} ({one.name})" for one in world.vms)
    raise LocalaiError(
        "vm-unknown",
        f"node {node} has no VM {text!r} that this token may see",
        why=f"it sees {listed or 'none'}",
        hint="a VM that is not ours is seen with VM.Audit on /vms/VMID",
    )


def plan_move(
    world: CardWorld, mapping: ResourceMapping, node: str, target: CardUser, now: float
) -> CardMove:
    """Plan a move; one to the same VM that was cut off is gone on with, from how it was before that.

    :param mapping: stands for one card of the node.
    :param now: seconds since 1970.
    :raises LocalaiError: ``vm-config-full``: the VM has 16 devices already.
    """
    slots = frozenset(mapping.slots_on(node))
    names = frozenset(one.name for one in world.mappings if slots & set(one.slots_on(node)))
    claims = claims_on(world, node, slots, now)
    owner = next((one.holder for one in claims if not one.holder.is_same(target.holder)), None)
    source = next((one for one in world.vms if owner is not None and one.holder.is_same(owner)), None)
    has_card = target.slots(world.mappings) & slots
    slot = "" if has_card else _slot_for(target)
    cut_off = [one.before for one in read_leases(mapping.description) if one.holder.is_same(target.holder)]
    before = cut_off[0] if cut_off and cut_off[0] else None
    if before is None or not _fits(before, source):
        was = (_was(one, mapping.name, names) for one in (target, source) if one is not None)
        before = Before(*was)
    ended = tuple(one.holder for one in claims if _may_end(one, target))
    return CardMove(mapping.name, slots, names, before, source, target, slot, ended)


def _may_end(claim: Claim, target: CardUser) -> bool:
    """A VM that is being made keeps its claim, and a move on its way is only gone on with or taken back."""
    if claim.kind is not ClaimKind.MOVING:
        return bool(claim.holder.vmid)
    before = claim.lease.before if claim.lease else None
    came_from = before.source.holder if before and before.source else claim.holder
    return any(one.is_same(target.holder) for one in (claim.holder, came_from))


def _fits(before: Before, source: CardUser | None) -> bool:
    """Whether nobody else has got the card since."""
    was = before.source
    return source is None or (was is not None and was.holder.is_same(source.holder))


def _slot_for(vm: CardUser) -> str:
    slot = free_slot(vm.cards)
    if slot is None:
        raise LocalaiError(
            "vm-config-full", f"{vm.holder} has 16 passthrough devices, and no more will go in"
        )
    return slot


def _was(vm: CardUser, mapping: str, names: frozenset[str]) -> Was:
    slot = next((slot for slot, card in vm.cards.items() if card.mapping == mapping), "")
    return Was(vm.holder, slot, running=vm.running, onboot=vm.onboot, noted=vm.noted.of(names))


def undone(was: Was) -> dict[str, Any]:
    """What of a VM's config is to be set so that it is started with its node as before."""
    return {"onboot": int(was.onboot)}
