"""The flow of ``down``: on a host what we installed goes, a VM of ours goes as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.observations import State
from localai_deploy.domain.plan import HostPlan, StepKind
from localai_deploy.domain.planning import make_removal
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.pve.removal import make_vm_removal
from localai_deploy.domain.remains import observe_remains
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.provisioner.render import ProjectHost
from localai_deploy.provisioner.variables import removal_variables
from localai_deploy.targets.base import Target
from localai_deploy.workflow.apply import (
    DEPLOY_STEPS,
    HostOutcome,
    Listener,
    RunPlace,
    journal_of,
    new_place,
    open_run,
    run_steps,
)
from localai_deploy.workflow.holding import hold
from localai_deploy.workflow.node_steps import NodeSteps, partial
from localai_deploy.workflow.observe import look_at, record_of, survey
from localai_deploy.workflow.telling import Say
from localai_deploy.workflow.together import ask_all, tell_place


@dataclass(frozen=True, slots=True)
class Removal:
    """What ``down`` would do to one host.

    :param facts: of a host that was there before us.
    :param seen: what its node says of a VM.
    :param kept: what stays although it came with us, one sentence each.
    """

    host: InventoryHost
    target: Target
    plan: HostPlan
    purge: bool
    facts: HostFacts | None = None
    seen: VmPlan | None = None
    kept: tuple[str, ...] = field(default=())


def plan_removal(host: InventoryHost, target: Target, say: Say, lock: ExitStack, *, purge: bool) -> Removal:
    """Look at a host, held against other runs, and plan to take everything of ours away."""
    vm_plan = survey(host, target, say)
    if vm_plan is not None:
        return _plan_vm_removal(host, target, vm_plan, say, lock)
    facts = look_at(target, say, lock)
    unfinished = journal_of(host.name).unfinished() is not None
    plan = make_removal(host.name, facts, purge=purge, unfinished=unfinished)
    return Removal(host, target, plan, purge, facts)


def _plan_vm_removal(host: InventoryHost, target: Target, seen: VmPlan, say: Say, lock: ExitStack) -> Removal:
    if seen.vm is not None and seen.is_up:
        _hold_if_reachable(target, say, lock)
    plan = HostPlan(host.name, make_vm_removal(seen))
    return Removal(host, target, plan, purge=True, seen=seen, kept=tuple(_kept(seen)) if plan.steps else ())


def _kept(seen: VmPlan) -> Iterator[str]:
    node, attached = seen.node, seen.vm.seed if seen.vm else ""
    for volume in node.images:
        if volume.endswith(f"/{seen.image.file_name}"):
            yield f"image {volume} stays on node {node.node} for other VMs"
    for name in seen.held_cards:
        yield f"resource mapping {name} stays; its card is free then"
    removable = {attached, *node.removable_seeds(seen.spec.name)}
    for volume in sorted(set(node.seeds_of(seen.spec.name)) - removable):
        yield f"ISO {volume} stays on node {node.node}: the token may not delete it (pvesm free {volume})"


def _hold_if_reachable(target: Target, say: Say, lock: ExitStack) -> None:
    """A guest that another run works on is left alone; one that is broken goes all the same."""
    try:
        hold(target, lock, say)
    except LocalaiError as error:
        if error.exit_code is ExitCode.HELD:
            raise
        say(f"{target.name}: the guest cannot be reached ({error.what}); its VM is deleted all the same")


def remove(removals: Sequence[Removal], listener: Listener, forks: int) -> Mapping[str, HostOutcome]:
    """Carry removals out and read back that nothing of ours is left."""
    place = new_place()
    vms = [one for one in removals if one.seen is not None]
    hosts = [one for one in removals if one.seen is None]
    outcomes = _remove_vms(vms, place, listener, forks) if vms else {}
    outcomes |= _remove_from_hosts(hosts, place, listener, forks) if hosts else {}
    for one in removals:
        if error := outcomes[one.host.name].error:
            tell_place(one.host, error)
    return outcomes


def _remove_vms(
    removals: Sequence[Removal], place: RunPlace, listener: Listener, forks: int
) -> dict[str, HostOutcome]:
    """Delete VMs; a removal that was cut off is begun again."""
    targets = {one.host.name: one.target for one in removals}
    outcomes = {name: HostOutcome() for name in targets}
    steps = NodeSteps(place, outcomes, listener, forks, removing=True)
    vms = [(one.host, one.target) for one in removals]
    steps.run(StepKind.VM, vms, lambda host: targets[host.name].destroy())
    return outcomes


def _remove_from_hosts(
    removals: Sequence[Removal], place: RunPlace, listener: Listener, forks: int
) -> dict[str, HostOutcome]:
    with ExitStack() as stack:
        hosts = [
            ProjectHost(
                one.host.name,
                one.target.inventory_variables(),
                _removal_variables(one),
                is_gateway=one.facts is not None and one.facts.gateway is not None,
            )
            for one in removals
        ]
        secrets = {one.host.name: one.host.secrets for one in removals}
        targets = {one.host.name: one.target for one in removals}
        run = open_run(place, hosts, secrets, targets, stack, forks)
        has_driver = any(one.facts and one.facts.driver is not None for one in removals)
        kinds = [kind for kind in DEPLOY_STEPS[::-1] if kind is not StepKind.DRIVER or has_driver]
        run_steps(run, kinds, listener, removing=True)
    by_name = {one.host.name: one for one in removals}
    good = [by_name[name].host for name in run.good_hosts]
    for answer in ask_all(good, lambda host: _left_over(by_name[host.name]), forks):
        error = answer.value or answer.error
        run.outcomes[answer.host.name].error = partial(error) if error else None
    return run.outcomes


def _removal_variables(removal: Removal) -> dict[str, Any]:
    record = record_of(removal.facts) if removal.facts else None
    return removal_variables(record or {}, purge=removal.purge)


def _left_over(removal: Removal) -> LocalaiError | None:
    facts = removal.target.observe()
    seen = {kind: observe_remains(kind, facts) for kind in DEPLOY_STEPS}
    kept = set() if removal.purge else {StepKind.MODELS}
    left = [
        f"{kind.value}: {one.evidence}"
        for kind, one in seen.items()
        if one.state is not State.ABSENT and kind not in kept
    ]
    if not left:
        return None
    return LocalaiError(
        "left-over",
        f"{removal.host.name}: not everything is gone",
        why="\n".join(left),
        hint="run down again",
        exit_code=ExitCode.PARTIAL,
    )
