"""Bring VMs into being: their steps at the node's API, each journalled before it changes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from localai_deploy.domain.plan import VM_STEPS, Action, StepKind
from localai_deploy.domain.spec import Choices
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory import InventoryHost
from localai_deploy.provisioner.events import TaskProgress, TaskStarted
from localai_deploy.targets.base import Tell
from localai_deploy.workflow.apply import HostOutcome, Listener, RunPlace, journal_of
from localai_deploy.workflow.observe import PlannedHost, look_at, resolved
from localai_deploy.workflow.telling import Say
from localai_deploy.workflow.together import ask_all


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
    for kind in VM_STEPS:
        wanting = [one for one in planned if outcomes[one.host.name].error is None and _wants(one, kind)]
        if wanting:
            _run_step(kind, wanting, place, outcomes, listener, rest.choices.forks)
    return [_seen_anew(one, outcomes[one.host.name], rest) for one in planned]


def _wants(planned: PlannedHost, kind: StepKind) -> bool:
    """An image that is there is checked once more before it is used."""
    if planned.vm is None or planned.vm.is_up:
        return False
    actions = [step.action for step in planned.vm.steps if step.kind is kind]
    is_to_be_made = kind is StepKind.IMAGE and planned.vm.vm is None
    return any(action is not Action.KEEP or is_to_be_made for action in actions)


def _run_step(
    kind: StepKind,
    planned: Sequence[PlannedHost],
    place: RunPlace,
    outcomes: Mapping[str, HostOutcome],
    listener: Listener,
    forks: int,
) -> None:
    by_name = {one.host.name: one for one in planned}
    for name in by_name:
        journal_of(name).begin(place.run_id, kind)
    listener.step_started(kind, list(by_name))

    def carry_out(host: InventoryHost) -> None:
        one = by_name[host.name]
        assert one.vm is not None, "only VMs have these steps"  # noqa: S101
        one.target.provision(kind, one.vm, _teller(host.name, listener))

    for answer in ask_all([one.host for one in planned], carry_out, forks):
        outcome = outcomes[answer.host.name]
        outcome.error = _partial(answer.error) if answer.error else None
        outcome.notes = tuple(by_name[answer.host.name].target.left_over)
        journal_of(answer.host.name).end(place.run_id, kind, "failed" if outcome.error else "done")
    failed = sorted(name for name in by_name if outcomes[name].error)
    listener.step_ended(kind, {name: 1 for name in by_name if name not in failed}, failed)


def _teller(host: str, listener: Listener) -> Tell:
    def tell(text: str, looks: int) -> None:
        if looks:
            listener.task_event(TaskProgress(host, text, attempts=looks))
        else:
            listener.task_event(TaskStarted("", f"{host}: {text}"))

    return tell


def _partial(error: LocalaiError) -> LocalaiError:
    """Something was begun: the same command goes on from there."""
    if error.exit_code is not ExitCode.HELD:
        error.exit_code = ExitCode.PARTIAL
    return error


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
        outcome.error = _partial(error)
        return planned
    return anew
