"""Give a card to another VM, or free it. What is on the way is written in the lease before it is done.

A run that is cut off leaves a lease that says so; the same command goes on from there. If the second VM
does not come up with the card, the first one gets it back and both are as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.pve.card_claims import CardUser
from localai_deploy.domain.pve.card_move import CardMove, undone
from localai_deploy.domain.pve.lease import Holder
from localai_deploy.domain.pve.ownership import NotedCards
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.card_vms import CardVms
from localai_deploy.proxmox.leases import Leases
from localai_deploy.workflow.telling import Say

AGENT_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class CardMover:
    """Moves cards of one node.

    :param ids: vendor and device of each function of the card that a guest sees.
    :param shutdown_s: how long a guest may take to power off.
    """

    leases: Leases
    vms: CardVms
    ids: tuple[str, ...]
    say: Say
    shutdown_s: int
    agent_patience_s: float = AGENT_PATIENCE_S

    def move(self, move: CardMove) -> tuple[str, ...]:
        """Carry a move out; returns what could not be seen, in words.

        :raises LocalaiError: ``card-held``, ``card-taken-over`` (exit 6): another VM has the card, or another
            run the move; ``card-move-undone``: all is as it was; ``card-move-stuck`` (exit 5): it is not.
        """
        written = self.leases.begin_move(move.mapping, move.before, move.ended)
        attempt = _Attempt(self, move, written)
        try:
            notes = attempt.forwards()
        except LocalaiError as error:
            if error.error_id == "card-taken-over":
                raise
            raise attempt.backwards(error) from error
        attempt.note(move.noted())
        if written:
            self.leases.settle(move.mapping, move.target.holder)
        return notes

    def release(self, vm: CardUser, names: frozenset[str]) -> None:
        """Shut a VM down, so that its card is free, and note in its block that it gave the card away.

        :param names: all mappings that stand for the card.
        :raises LocalaiError: ``pve-shutdown-timeout``: it still has the card.
        """
        self.switch_off(vm)
        self.vms.note(vm.vmid, names, vm.noted.of(names).given_away())

    def switch_off(self, vm: CardUser) -> None:
        """Shut a VM down.

        :raises LocalaiError: ``pve-shutdown-timeout``.
        """
        if vm.running:
            self.say(f"shutting {vm.holder} down")
            self.vms.shut_down(vm.vmid, self.shutdown_s)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One try at a move; ``written``: its lease is, and has to be this run's at every step."""

    mover: CardMover
    move: CardMove
    written: bool

    @property
    def _vms(self) -> CardVms:
        return self.mover.vms

    def forwards(self) -> tuple[str, ...]:
        move, target = self.move, self.move.target
        self._set(target.vmid, move.target_values())
        if move.source is not None:
            self._shut_down(move.source)
        if move.before.source is not None and move.takes_onboot:
            self._set(move.before.source.holder.vmid, {"onboot": 0})
        if target.running and move.slot:
            self._shut_down(target)
        self._start(target.holder)
        self._require_card(target.holder)
        if self._vms.require_seen(target.vmid, self.mover.ids, self.mover.agent_patience_s):
            return ()
        return (f"the agent of {target.holder} does not tell what its guest sees",)

    def note(self, noted: Iterable[tuple[int, NotedCards]]) -> None:
        """Let the blocks of our VMs say who has the card, for `up` goes by them."""
        for vmid, cards in noted:
            self._require_mine()
            self._vms.note(vmid, self.move.names, cards)

    def backwards(self, cause: LocalaiError) -> LocalaiError:
        """Have everything as it was before; returns what to tell."""
        self.mover.say(f"{cause.what}: going back")
        try:
            self._restore()
        except LocalaiError as error:
            if error.error_id == "card-taken-over":
                return error
            if error.error_id == "card-held":
                self.mover.leases.give_back(self.move.mapping, self.move.target.holder)
                return error
            return _stuck(self.move, cause, error)
        return cause if cause.error_id == "card-held" else _undone(self.move, cause)

    def _restore(self) -> None:
        before, target = self.move.before, self.move.target.holder
        source = before.source
        self._require_mine()
        if self._has_card(target):
            self._vms.stop(target.vmid)
        self._set(target.vmid, self.move.undone_target())
        if source is not None:
            self._set(source.holder.vmid, undone(source))
            if source.running:
                self._start(source.holder)
                self._require_card(source.holder)
        if before.target.running:
            self._start(target)
        self.note(self.move.noted_before())
        if self.written and source is not None:
            self.mover.leases.settle(self.move.mapping, source.holder)
        elif self.written:
            self.mover.leases.give_back(self.move.mapping, target)

    def _require_card(self, vm: Holder) -> None:
        if not self._has_card(vm):
            raise LocalaiError("card-not-there", f"{vm} does not run with the card of {self.move.mapping}")

    def _has_card(self, vm: Holder) -> bool:
        """Whether the VM runs, and was started with the card."""
        world = self.mover.leases.world()
        users = world.users_of(self.mover.leases.node, self.move.card_slots)
        return any(one.running and one.holder.is_same(vm) for one in users)

    def _set(self, vmid: int, values: Mapping[str, Any]) -> None:
        if values:
            self._require_mine()
            self._vms.set(vmid, values)

    def _shut_down(self, vm: CardUser) -> None:
        if vm.running:
            self._require_mine()
            self.mover.switch_off(vm)

    def _start(self, vm: Holder) -> None:
        self._require_mine()
        self.mover.say(f"starting {vm}")
        try:
            self._vms.start(vm.vmid)
        except LocalaiError as error:
            raise self.mover.leases.as_held(self.move.mapping, error) from error

    def _require_mine(self) -> None:
        if self.written:
            self.mover.leases.require_mine(self.move.mapping)


def _undone(move: CardMove, cause: LocalaiError) -> LocalaiError:
    source = move.before.source
    kept = f"{source.holder} has it as before" if source else "everything is as before"
    return LocalaiError(
        "card-move-undone",
        f"{move.target.holder} did not get the card of mapping {move.mapping}: {kept}",
        why=str(cause),
        hint=cause.hint,
        exit_code=ExitCode.FAILED,
    )


def _stuck(move: CardMove, cause: LocalaiError, error: LocalaiError) -> LocalaiError:
    source = move.before.source
    back = f"; back: localai-deploy gpu move {move.mapping} --to {source.holder.vmid}" if source else ""
    return LocalaiError(
        "card-move-stuck",
        f"{move.target.holder} did not get the card of mapping {move.mapping}, and the way back failed, too",
        why=f"{cause}\nthen: {error}",
        hint=f"{error.hint}\nthe same command goes on with the move{back}".strip(),
        exit_code=ExitCode.PARTIAL,
    )
