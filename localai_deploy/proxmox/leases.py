"""Leases of cards: compare-and-set in the description of the card's mapping (docs/adr/0009).

A lease is an agreement among runs. What really keeps a card to one VM is the node, which refuses to start
a second one with it; a token that may not write mappings has that alone.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from localai_deploy.domain.pve.card_claims import (
    CardWorld,
    Claim,
    ClaimKind,
    card_held,
    claims_on,
    is_alive,
)
from localai_deploy.domain.pve.lease import Before, Holder, Lease, read_leases, with_leases
from localai_deploy.domain.pve.mapping import ResourceMapping
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.card_users import card_world
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.mappings import Mappings

TRIES = 12
"""Any change of any mapping makes a write look again; so many in a row are no accident."""
_LONGEST_PAUSE_S = 0.3
_IN_USE_BY = re.compile(r"already in use by VMID '(\d+)'")


@dataclass(frozen=True, slots=True)
class Leases:
    """Leases of the cards of one node.

    :param run: names this run in what it writes.
    :param clock: seconds since 1970.
    """

    client: PveClient
    run: str
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def node(self) -> str:
        """The node whose cards they are of."""
        return self.client.node

    def world(self) -> CardWorld:
        """Look at mappings and VMs."""
        return card_world(self.client)

    def owner(self, mapping: str) -> Claim | None:
        """Who has the card of a mapping; ``None``: nobody, or only a dead holder's lease is left.

        :raises LocalaiError: ``pve-mapping-missing``.
        """
        world = self.world()
        slots = _required(world.mapping(mapping), mapping, self.node).slots_on(self.node)
        return next(iter(claims_on(world, self.node, slots, self.clock())), None)

    def take(self, mapping: str, holder: Holder) -> bool:
        """Have the card of a mapping for a VM that is there or is about to be made.

        A VM that has it already keeps it. The lease of a dead holder is taken over.

        :returns: whether the lease is written; ``False``: the token may not, and the start decides.
        :raises LocalaiError: ``card-held`` (exit 6); ``pve-mapping-missing``.
        """

        def refuse_rivals(world: CardWorld, found: ResourceMapping) -> Before | None:
            self._refuse_rivals(world, found, holder)
            return None

        return self._write(mapping, holder, refuse_rivals)

    def begin_move(self, mapping: str, before: Before, ended: Iterable[Holder]) -> bool:
        """Write that the card is on its way to a VM, and how everything was before.

        :param ended: VMs whose claims the move ends.
        :raises LocalaiError: ``card-held``: any other VM claims the card by now.
        """
        target = before.target.holder
        allowed = (target, *ended)

        def refuse_others(world: CardWorld, found: ResourceMapping) -> Before | None:
            self._refuse_rivals(world, found, *allowed)
            return before

        return self._write(mapping, target, refuse_others)

    def settle(self, mapping: str, holder: Holder) -> bool:
        """Write that a VM has the card for good: the end of a move, or its way back.

        :raises LocalaiError: ``card-taken-over``: another run went on with the move.
        """

        def mine(world: CardWorld, found: ResourceMapping) -> Before | None:
            del world
            self._require_mine(found)
            return None

        return self._write(mapping, holder, mine)

    def require_mine(self, mapping: str) -> None:
        """See that the lease is still this run's.

        :raises LocalaiError: ``card-taken-over``.
        """
        self._require_mine(_required(self._named(mapping), mapping, self.node))

    def give_back(self, mapping: str, holder: Holder) -> bool:
        """Take the lease of a VM away; fine when there is none. Returns whether it was there and is gone."""
        return self._remove(mapping, lambda lease: lease.holder.is_same(holder))

    def free(self, mapping: str) -> bool:
        """Take all leases of the node's card away. Returns whether there were any, and none is now."""
        return self._remove(mapping, lambda lease: True)  # noqa: ARG005

    def _remove(self, mapping: str, goes: Callable[[Lease], bool]) -> bool:
        for _ in range(TRIES):
            found = self._named(mapping)
            leases = [] if found is None else list(read_leases(found.description))
            kept = [one for one in leases if one.node != self.node or not goes(one)]
            if found is None or len(kept) == len(leases):
                return False
            done = self._describe(found, kept)
            if done is not None:
                return done
        raise _too_busy(mapping)

    def as_held(self, mapping: str, error: LocalaiError) -> LocalaiError:
        """``card-held`` for a start that the node refused because another VM has the card, else ``error``."""
        if error.error_id != "pve-card-in-use":
            return error
        named = _IN_USE_BY.search(str(error))
        vmid = int(named[1]) if named else 0
        world = self.world()
        found = world.mapping(mapping)
        slots = found.slots_on(self.node) if found else ()
        users = [one for one in world.users_of(self.node, slots) if one.running and vmid in {0, one.vmid}]
        if users:
            return card_held(mapping, self.node, Claim(users[0].holder, ClaimKind.RUNNING))
        other = next((one for one in world.users if one.vmid == vmid), None)
        if other is not None:
            shared = next((card.mapping for card in other.cards.values() if card.mapping), mapping)
            return card_held(shared, self.node, Claim(other.holder, ClaimKind.RUNNING))
        unseen = Holder("that the token may not see", vmid, foreign=True)
        return card_held(mapping, self.node, Claim(unseen, ClaimKind.RUNNING))

    def _write(
        self, name: str, holder: Holder, check: Callable[[CardWorld, ResourceMapping], Before | None]
    ) -> bool:
        for _ in range(TRIES):
            world = self.world()
            found = _required(world.mapping(name), name, self.node)
            before = check(world, found)
            leases = self._others(world, found, holder)
            mine = Lease(holder, self.node, self.run, int(self.clock()), before)
            done = self._describe(found, [*leases, mine])
            if done is not None:
                return done
        raise _too_busy(name)

    def _others(self, world: CardWorld, mapping: ResourceMapping, holder: Holder) -> list[Lease]:
        """Leases of the mapping that stay: of other nodes, and of live holders that are not replaced."""
        others = [one for one in read_leases(mapping.description) if not one.holder.is_same(holder)]
        single = len(mapping.slots_on(self.node)) == 1
        return [
            one
            for one in others
            if one.node != self.node or (not single and is_alive(one, mapping, world, self.clock()))
        ]

    def _refuse_rivals(self, world: CardWorld, mapping: ResourceMapping, *allowed: Holder) -> None:
        """A mapping of several cards is full when as many others claim one of them."""
        slots = mapping.slots_on(self.node)
        rivals = [
            one
            for one in claims_on(world, self.node, slots, self.clock())
            if not any(one.holder.is_same(holder) for holder in allowed)
        ]
        if rivals and len(rivals) >= len(slots):
            raise card_held(mapping.name, self.node, rivals[0])

    def _describe(self, mapping: ResourceMapping, leases: list[Lease]) -> bool | None:
        """``True``: written; ``False``: not allowed to; ``None``: somebody was faster, look again."""
        try:
            Mappings(self.client).describe(mapping, with_leases(mapping.description, leases))
        except LocalaiError as error:
            if error.error_id == "pve-forbidden":
                return False
            if error.error_id != "pve-config-changed":
                raise
            self.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311 - only to get out of step
            return None
        return True

    def _require_mine(self, found: ResourceMapping) -> None:
        leases = [one for one in read_leases(found.description) if one.node == self.node]
        if not any(one.run == self.run for one in leases):
            holder = f"for {leases[0].holder}" if leases else "and freed the card"
            raise LocalaiError(
                "card-taken-over",
                f"another run took over the lease of mapping {found.name} {holder}",
                hint="localai-deploy gpu list shows who has the card now",
                exit_code=ExitCode.HELD,
            )

    def _named(self, mapping: str) -> ResourceMapping | None:
        return next((one for one in Mappings(self.client).all() if one.name == mapping), None)


def _required(found: ResourceMapping | None, name: str, node: str) -> ResourceMapping:
    if found is None or not found.entries_on(node):
        raise LocalaiError(
            "pve-mapping-missing",
            f"there is no resource mapping {name!r} with a card of node {node} that this token may see",
            hint="localai-deploy gpu list tells which there are; Mapping.Use on it lets a token see one",
        )
    return found


def _too_busy(mapping: str) -> LocalaiError:
    return LocalaiError(
        "pve-config-changed",
        f"mapping {mapping} changed each time that its lease was to be written",
        hint="something else writes the cluster's mappings all the time: look who, then run again",
    )
