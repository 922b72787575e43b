"""A VM on a Proxmox node: made by us, then a host like any other."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.pve.card_planning import holder_of
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.facts import VmFacts
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.pve.removal import removable_seeds
from localai_deploy.domain.pve.sizing import VmSize
from localai_deploy.domain.pve.vm import SEED_DRIVE, SYSTEM_DISK
from localai_deploy.domain.pve.vm_changes import waits_for_restart
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.node import PveNode
from localai_deploy.targets.base import Tell
from localai_deploy.targets.executor import Executor
from localai_deploy.targets.guest import (
    LOOK_TIMEOUT_S,
    Patience,
    await_address,
    await_first_boot,
    await_login,
    grow_root,
    guest_connection,
    learn_host_key,
)
from localai_deploy.targets.seed_volumes import SeedVolumes
from localai_deploy.targets.ssh_host import SshHost
from localai_deploy.targets.vm_cards import (
    ensure_cards,
    give_back,
    guest_devices,
    let_go_of_cards,
    name_holder,
    note_tested,
    require_not_lost,
    second_start,
    start_with_cards,
    undo_start,
    untested,
    without_onboot,
)
from localai_deploy.targets.vm_making import ensure_image, ensure_vm
from localai_deploy.targets.vm_survey import survey_vm

OpenNode = Callable[[NodeConnection, Callable[[str], None]], PveNode]
"""Opens a node's API; lines of the logs of its tasks go to the second argument."""

_SHARE = re.compile(r"(\d{1,3})(?:\.\d+)? ?%")


def _silent(text: str, looks: int) -> None:
    """Nobody listens."""


def vm_missing(node: str, name: str) -> LocalaiError:
    """The error for a VM that is asked for and is not there."""
    return LocalaiError(
        "vm-missing",
        f"no VM of ours on {node} is named {name}",
        hint=f"localai-deploy status --node {node} lists what is ours there",
    )


class ProxmoxVm:
    """See :class:`localai_deploy.targets.base.Target`; before the guest is up only its node can be asked."""

    def __init__(
        self,
        name: str,
        wish: VmWish,
        open_node: OpenNode,
        become_password: str = "",
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.wish = wish
        self.left_over: list[str] = []
        self._tell: Tell = _silent
        self._node = open_node(wish.node, self._hear)
        self._seeds = SeedVolumes(self._node, self.left_over)
        self._password = become_password
        self._sleep = sleep
        self._clock = clock
        self._host: SshHost | None = None
        self._connection = Connection(kind="vm", destination=name, user=wish.spec.user)

    @property
    def connection(self) -> Connection:
        """The guest's, once it was found; before that only its name and user are known."""
        return self._connection

    def survey(self, least: VmSize | None = None) -> VmPlan:
        """Look at node and VM through the API, and plan; nothing is changed.

        A create that an earlier run of ours left at work is waited for.

        :raises LocalaiError: ``pve-*``, ``tls-*``, ``vm-name-twice``.
        """
        if least is not None:
            self.wish = self.wish.at_least(least)
        self.wish, plan = survey_vm(self._node, self.wish, self._clock())
        return plan

    def provision(self, kind: StepKind, plan: VmPlan, tell: Tell) -> None:
        """See :class:`localai_deploy.targets.base.Target`."""
        self._tell = tell
        match kind:
            case StepKind.IMAGE:
                ensure_image(self._node, plan, tell)
            case StepKind.CARD:
                ensure_cards(self._node, plan, tell)
            case StepKind.VM:
                self._ensure_vm(plan, tell)
            case StepKind.START:
                self._ensure_up(plan, tell)

    def _hear(self, line: str) -> None:
        """Pass on how far a download or a copy on the node has come."""
        if share := _SHARE.findall(line):
            self._tell(f"{self._node.name} is at work: {share[-1]} %", 0)

    def _ensure_vm(self, plan: VmPlan, tell: Tell) -> None:
        try:
            vmid, was_there = ensure_vm(self._node, self._seeds, self.wish, plan, tell)
        except LocalaiError:
            let_go_of_cards(self._node, plan)
            raise
        grown = self._node.vms.grow_disk(vmid, SYSTEM_DISK, plan.spec.disk_gib)
        if plan.cards.choices and not was_there:
            name_holder(self._node, plan.cards, self._mine())
        vm = self._mine() if grown and was_there else None
        if vm is not None and vm.running and not vm.seed:
            tell("letting the guest use its larger disk", 0)
            grow_root(self._log_in(vm, tell), vmid)

    def _ensure_up(self, plan: VmPlan, tell: Tell) -> None:
        """Start the guest and see its first boot through; a restart that the plan shows comes after that."""
        vm = self._mine()
        restarts = plan.restarts and vm.running and waits_for_restart(plan.spec, vm)
        if restarts and not vm.seed:
            self._shut_down(vm, tell)
        guest = self._start(vm, plan, tell)
        if vm.seed:
            tell("waiting for the end of the first boot", 0)
            await_first_boot(guest, vm.vmid, self._patience)
            self._take_seed_away(vm)
            if restarts:
                self._shut_down(vm, tell)
                guest = self._start(vm, plan, tell)
        elif plan.vm is not None:
            grow_root(guest, vm.vmid)
        self._test_reset(vm, plan, guest, tell)
        give_back(self._node, plan.cards.gone, holder_of(plan.spec, vm))
        for volume in plan.node.removable_seeds(plan.spec.name):
            if volume != vm.seed:
                self._seeds.remove(volume)
        self.left_over += without_onboot(plan)
        self._tell_what_waits(vm.vmid)

    def _start(self, vm: VmFacts, plan: VmPlan, tell: Tell) -> Executor:
        tell("starting", 0)
        try:
            start_with_cards(self._node, vm.vmid, plan.cards)
        except LocalaiError as error:
            undo_start(self._node, self._seeds, plan, vm, error, tell)
            raise
        return self._log_in(vm, tell)

    def _test_reset(self, vm: VmFacts, plan: VmPlan, guest: Executor, tell: Tell) -> None:
        """Stop and start a VM once with cards that are new to it; what it saw of them is there again."""
        proofs = untested(plan.cards, vm)
        if not proofs:
            return
        before = guest_devices(guest)
        self._shut_down(vm, tell)
        with second_start(vm):
            guest = self._start(vm, plan, tell)
        require_not_lost(plan.cards, before, guest_devices(guest))
        note_tested(self._node, vm.vmid, plan.spec.name, proofs)

    def _shut_down(self, vm: VmFacts, tell: Tell) -> None:
        tell("shutting down, to start it anew", 0)
        self.close()
        self._node.vms.stop(vm.vmid)

    def _tell_what_waits(self, vmid: int) -> None:
        waiting = ", ".join(sorted(set(self._node.vms.pending(vmid)) - {SEED_DRIVE}))
        if waiting:
            self.left_over.append(f"new values of VM {vmid} hold only after a restart: {waiting}")

    def _log_in(self, vm: VmFacts, tell: Tell, *, booting: bool = True) -> Executor:
        patience = self._patience if booting else Patience(LOOK_TIMEOUT_S, sleep=self._sleep)
        address = await_address(self._node.vms, vm, patience, tell)
        learn_host_key(self._node.vms, vm, patience, tell)
        self.close()
        host = SshHost(self.name, guest_connection(self.wish, vm, address), self._password)
        guest = await_login(host.connect, patience, tell, booting=booting)
        self._host, self._connection = host, host.connection
        return guest

    def _take_seed_away(self, vm: VmFacts) -> None:
        """A guest that keeps the drive lets go of it when it is next switched off."""
        gone = self._node.vms.detach(vm.vmid, SEED_DRIVE)
        if not gone:
            self.left_over.append(f"VM {vm.vmid} keeps {SEED_DRIVE} until it is next shut down")
        self._seeds.remove(vm.seed)

    @property
    def _patience(self) -> Patience:
        return Patience(self.wish.first_boot_timeout_s, sleep=self._sleep)

    def _mine(self) -> VmFacts:
        vm = self._node.vms.named(self.wish.spec.name)
        if vm is None:
            raise vm_missing(self._node.name, self.wish.spec.name)
        return vm

    def connect(self) -> Executor:
        """Find the guest's address and key through its node, then log in."""
        if self._host is None:
            vm = self._mine()
            if not vm.running:
                raise LocalaiError(
                    "vm-stopped",
                    f"VM {vm.vmid} ({self.name}) is {vm.status}",
                    hint=f"up starts it; on the node: qm start {vm.vmid}",
                )
            if not vm.address:
                raise LocalaiError(
                    "guest-agent-missing",
                    f"the guest agent of VM {vm.vmid} ({self.name}) does not answer",
                    hint="the guest may still be booting: try again in a minute",
                )
            return self._log_in(vm, _silent, booting=False)
        return self._host.connect()

    def observe(self) -> HostFacts:
        """One round trip to the guest."""
        return self._guest().observe()

    def hold(self) -> AbstractContextManager[None]:
        """Lock the guest itself, so that runs from two machines see each other."""
        return self._hold()

    @contextmanager
    def _hold(self) -> Iterator[None]:
        with self._guest().hold():
            yield

    def require_held(self) -> None:
        """Ask the process in the guest that holds the lock."""
        if self._host is not None:
            self._host.require_held()

    def inventory_variables(self, *, shared: bool = True) -> dict[str, Any]:
        """As for any host over SSH."""
        return self._guest().inventory_variables(shared=shared)

    def _guest(self) -> SshHost:
        if self._host is None:
            self.connect()
        assert self._host is not None, "connect() logs in"  # noqa: S101
        return self._host

    def destroy(self) -> None:
        """Delete the VM with its disks, and seeds of its name that were left over.

        Its leases go first: a run that is cut off leaves none of a VM that is gone.
        """
        seen = self.survey()
        self.close()
        vms = [one.vmid for one in (seen.vm, seen.begun) if one is not None]
        seeds = {*removable_seeds(seen), *([seen.vm.seed] if seen.vm and seen.vm.seed else [])}
        if not vms and not seeds:
            raise vm_missing(self._node.name, self.wish.spec.name)
        give_back(self._node, seen.held_cards, holder_of(seen.spec, seen.vm))
        for vmid in vms:
            self._node.vms.delete(vmid)
        for volume in sorted(seeds):
            self._seeds.remove(volume)

    def close(self) -> None:
        """End the connection to the guest."""
        if self._host is not None:
            self._host.close()
            self._host = None
