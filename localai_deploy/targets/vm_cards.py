"""The cards of a VM: mappings made, leases taken and given back, and the reset test of a first start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from localai_deploy.domain.pve.card_planning import CardsPlan, holder_of
from localai_deploy.domain.pve.facts import VmFacts
from localai_deploy.domain.pve.lease import Holder
from localai_deploy.domain.pve.mapping import entry_for
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.pve.vm_changes import card_values, new_description
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.node import PveNode
from localai_deploy.proxmox.vms import UNKNOWN_END
from localai_deploy.targets.base import Tell
from localai_deploy.targets.executor import Executor
from localai_deploy.targets.seed_volumes import SeedVolumes

_LIST = 'for one in /sys/bus/pci/devices/*; do cat "$one/vendor" "$one/device"; done'
LOOK_TIMEOUT_S = 60
_END_UNKNOWN = frozenset({*UNKNOWN_END, "pve-task-timeout"})


def ensure_cards(node: PveNode, plan: VmPlan, tell: Tell) -> None:
    """Have a mapping and the lease of every card that the plan gives the VM.

    :raises LocalaiError: ``card-held`` (exit 6): another VM has got one since; ``pve-mapping-taken``, ….
    """
    for choice in plan.cards.choices:
        if choice.mapping is None:
            tell(f"mapping {choice.card} as {choice.name}", 0)
            node.mappings.create(choice.name, [entry_for(choice.card)])
        node.leases.take(choice.name, holder_of(plan.spec, plan.vm))


def name_holder(node: PveNode, cards: CardsPlan, vm: VmFacts) -> None:
    """Let the leases name the very VM, once it is made."""
    for choice in cards.choices:
        node.leases.take(choice.name, Holder(vm.block.name, vm.vmid, vm.block.uuid))


def give_back(node: PveNode, names: Iterable[str], holder: Holder) -> None:
    """Let go of the leases of these mappings."""
    for name in names:
        node.leases.give_back(name, holder)


def start_with_cards(node: PveNode, vmid: int, cards: CardsPlan) -> None:
    """Start the VM; a card that another one has by then is told as such.

    :raises LocalaiError: ``card-held`` (exit 6); what else the start ended with.
    """
    try:
        node.vms.start(vmid)
    except LocalaiError as error:
        for choice in cards.choices:
            held = node.leases.as_held(choice.name, error)
            if held is not error:
                raise held from error
        raise


def let_go_of_cards(node: PveNode, plan: VmPlan) -> None:
    """A VM that was not made holds no card; one that may be there keeps its lease."""
    if plan.vm is None and node.vms.find(plan.spec.name) == (None, None):
        give_back(node, plan.spec.gpus, holder_of(plan.spec, None))


def undo_start(
    node: PveNode, seeds: SeedVolumes, plan: VmPlan, vm: VmFacts, error: LocalaiError, tell: Tell
) -> None:
    """After a start that failed: a VM that was there before its cards is as it was, without them.

    One that was made for a card which another VM got first goes again; any other stays to be looked at, and
    the same command goes on with it. Nothing is done where nobody knows how the start ended.
    """
    lost = error.error_id == "card-held"
    if not (lost or (plan.vm is not None and _new_cards(plan) and _is_off(node, vm, error))):
        return
    tell("another VM has the card: undoing" if lost else "it does not start with the card: undoing", 0)
    if plan.vm is None and vm.seed:
        node.vms.delete(vm.vmid)
        seeds.remove(vm.seed)
    take_cards_back(node, plan, vm)
    if not lost:
        error.hint = f"VM {vm.vmid} is as it was, without the card\n{error.hint}"


def _is_off(node: PveNode, vm: VmFacts, error: LocalaiError) -> bool:
    return error.error_id not in _END_UNKNOWN and node.vms.status(vm.vmid) == "stopped"


def _new_cards(plan: VmPlan) -> list[str]:
    return [one for one in plan.spec.gpus if one not in plan.held_cards]


def take_cards_back(node: PveNode, plan: VmPlan, vm: VmFacts) -> None:
    """Undo what a plan did to a VM for its cards: leases, config and power.

    So that no two VMs are left that want one card whenever their node boots.
    """
    give_back(node, _new_cards(plan), holder_of(plan.spec, vm))
    if plan.vm is None:
        return
    vmid, before, now = vm.vmid, plan.vm.config, node.vms.config(vm.vmid)
    keys = {*card_values(plan.spec, plan.vm), "description"}
    values = {key: before[key] for key in keys if key in before and before[key] != now.get(key)}
    gone = ",".join(sorted(key for key in keys if key not in before and key in now))
    if values or gone:
        node.vms.change(vmid, values | ({"delete": gone} if gone else {}), str(now["digest"]))
    if plan.vm.running:
        node.vms.start(vmid)


def without_onboot(plan: VmPlan) -> list[str]:
    """What to say of a VM whose card was moved away: starting with its node went with the card."""
    vm = plan.vm
    if vm is None or not vm.block.gave or str(vm.config.get("onboot", 0)) != "0":
        return []
    return [
        f"VM {vm.vmid} does not start with its node: that goes with a card that is moved; "
        f"on the node: qm set {vm.vmid} --onboot 1"
    ]


def untested(cards: CardsPlan, vm: VmFacts) -> tuple[str, ...]:
    """Cards with which the VM was not stopped and started yet, as its block notes them."""
    return tuple(one.proof for one in cards.choices if one.proof not in vm.block.tested)


def note_tested(node: PveNode, vmid: int, name: str, proofs: Iterable[str]) -> None:
    """Write into the VM's block that the reset test is done."""
    vm = node.vms.named(name)
    if vm is None or vm.vmid != vmid:
        raise LocalaiError("vm-not-ours", f"VM {vmid} is not ours any more", hint="it is left alone")
    block = replace(vm.block, tested=tuple(dict.fromkeys([*vm.block.tested, *proofs])))
    node.vms.change(vmid, {"description": new_description(vm, block)}, str(vm.config["digest"]))


@contextmanager
def second_start(vm: VmFacts) -> Iterator[None]:
    """A start that the node refuses, shortly after one that went well.

    :raises LocalaiError: ``reset``.
    """
    try:
        yield
    except LocalaiError as error:
        if error.error_id != "pve-start-failed":
            raise
        what = f"VM {vm.vmid} does not start a second time with its cards"
        raise _not_reset(what, str(error), error.hint) from error


def guest_devices(guest: Executor) -> Counter[str]:
    """Vendor and device of everything on the guest's PCI bus, with how often each is there."""
    done = guest.run(["sh", "-c", _LIST], timeout_s=LOOK_TIMEOUT_S)
    words = [word.removeprefix("0x") for word in done.stdout.decode("ascii", "replace").split()]
    return Counter(f"{vendor}:{device}" for vendor, device in zip(words[::2], words[1::2], strict=False))


def require_not_lost(cards: CardsPlan, before: Counter[str], after: Counter[str]) -> None:
    """Compare what a guest saw of its cards before and after it was stopped and started.

    :raises LocalaiError: ``reset``: a device that was there is not any more.
    """
    wanted = Counter(cards.guest_ids)
    lost = (wanted & before) - after
    if lost:
        what = f"after a stop and a start the guest does not see {', '.join(sorted(lost))} any more"
        raise _not_reset(what, "the card was not reset between the two starts: it may need the node's reboot")


def _not_reset(what: str, why: str, more: str = "") -> LocalaiError:
    hint = f"{more}\nreboot the node, then run again; localai-deploy explain reset".strip()
    return LocalaiError("reset", what, why=why, hint=hint, exit_code=ExitCode.PARTIAL)
