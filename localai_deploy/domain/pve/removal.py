"""``down`` of a VM: it goes with its disks, and with what its first boot left."""

from __future__ import annotations

from collections.abc import Iterator

from localai_deploy.domain.plan import Action, Change, Step, StepKind
from localai_deploy.domain.pve.facts import BegunVm, VmFacts
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.units import format_bytes


def make_vm_removal(seen: VmPlan) -> tuple[Step, ...]:
    """Steps that take everything of ours away that goes by the plan's name; none when there is nothing."""
    return tuple(_steps(seen))


def removable_seeds(seen: VmPlan) -> tuple[str, ...]:
    """First boots' ISOs of the name; a VM that is not ours may still use one."""
    mine = {one.vmid for one in (seen.vm, seen.begun) if one is not None}
    if set(seen.node.names.get(seen.spec.name, ())) - mine:
        return ()
    return seen.node.removable_seeds(seen.spec.name)


def _steps(seen: VmPlan) -> Iterator[Step]:
    if seen.vm is not None:
        yield from _vm_steps(seen.vm)
    if seen.begun is not None:
        yield _begun_step(seen.begun)
    seeds = removable_seeds(seen)
    if seeds:
        changes = tuple(Change(one, "first boot's ISO", "") for one in seeds)
        yield Step(StepKind.IMAGE, Action.REMOVE, "delete what first boots left", changes)


def _vm_steps(vm: VmFacts) -> Iterator[Step]:
    if vm.status != "stopped":
        yield Step(StepKind.START, Action.REMOVE, f"shut VM {vm.vmid} down; it is {vm.status}")
    disks = tuple(Change(volume, format_bytes(size), "") for volume, size in sorted(vm.disks.items()))
    total = format_bytes(sum(vm.disks.values()))
    yield Step(
        StepKind.VM,
        Action.REMOVE,
        f"delete VM {vm.vmid} on {vm.node} with its disks ({total}), models and all",
        disks,
        reversible=False,
        destructive=True,
    )


def _begun_step(begun: BegunVm) -> Step:
    return Step(
        StepKind.VM,
        Action.REMOVE,
        f"delete VM {begun.vmid} on {begun.node}, which a run that was cut off began",
        destructive=True,
    )
