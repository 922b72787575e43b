"""Bring VMs into being: their steps at the node's API, each journalled before it changes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from localai_deploy.domain.plan import VM_STEPS, Action, StepKind
from localai_deploy.domain.spec import Choices
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.provisioner.events import TaskProgress, TaskStarted
from localai_deploy.targets.base import Tell
from localai_deploy.workflow.apply import HostOutcome, Listener, RunPlace
from localai_deploy.workflow.node_steps import NodeSteps, partial
from localai_deploy.workflow.observe import PlannedHost, look_at, resolved
from localai_deploy.workflow.telling import Say


@dataclass(frozen=True, slots=True)
class Rest:
    """What looking at a host once more takes, after it came into being.

    :param lock: holds it until the run ends.
    """

    choices: Choices
    say: Say
    lock: ExitStack


def provision(
    planned: Sequence[PlannedHost],
    place: RunPlace,
    outcomes: Mapping[str, HostOutcome],
    listener: Listener,
    rest: Rest,
) -> list[PlannedHost]:
    """Run the steps of all VMs, one kind after the other; a VM that fails drops out, the others go on.

    :param outcomes: where errors are put, by host.
    :returns: all hosts, those that came into being as they look now.
    """
    steps = NodeSteps(place, outcomes, listener, rest.choices.forks)
    for kind in VM_STEPS:
        wanting = [one for one in planned if outcomes[one.host.name].error is None and _wants(one, kind)]
        if wanting:
            _run_step(kind, wanting, steps)
    return [_seen_anew(one, outcomes[one.host.name], rest) for one in planned]


def _wants(planned: PlannedHost, kind: StepKind) -> bool:
    """An image that is there is checked once more before it is used."""
    if planned.vm is None or planned.vm.is_up:
        return False
    actions = [step.action for step in planned.vm.steps if step.kind is kind]
    is_to_be_made = kind is StepKind.IMAGE and planned.vm.vm is None
    return any(action is not Action.KEEP or is_to_be_made for action in actions)


def _run_step(kind: StepKind, planned: Sequence[PlannedHost], steps: NodeSteps) -> None:
    by_name = {one.host.name: one for one in planned}

    def carry_out(host: InventoryHost) -> None:
        one = by_name[host.name]
        assert one.vm is not None, "only VMs have these steps"  # noqa: S101
        one.target.provision(kind, one.vm, _teller(host.name, steps.listener))

    steps.run(kind, [(one.host, one.target) for one in planned], carry_out)


def _teller(host: str, listener: Listener) -> Tell:
    def tell(text: str, looks: int) -> None:
        if looks:
            listener.task_event(TaskProgress(host, text, attempts=looks))
        else:
            listener.task_event(TaskStarted("", f"{host}: {text}"))

    return tell


def _seen_anew(planned: PlannedHost, outcome: HostOutcome, rest: Rest) -> PlannedHost:
    """A VM that came into being is now looked at itself, and held."""
    if planned.is_up or outcome.error is not None:
        return planned
    try:
        facts = look_at(planned.target, rest.say, rest.lock)
        anew = resolved(replace(planned, facts=facts, vm=None), rest.choices, rest.say)
        if anew.plan.blockers:
            raise anew.plan.blockers[0].as_error()
    except LocalaiError as error:
        outcome.error = partial(error)
        return planned
    return anew
