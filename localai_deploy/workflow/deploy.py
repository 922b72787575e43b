"""The flow of ``up`` and ``verify`` over hosts that were looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.spec import FORKS, Choices
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.provisioner.render import ProjectHost
from localai_deploy.provisioner.variables import role_variables
from localai_deploy.targets import open_target, open_vm
from localai_deploy.targets.base import Target
from localai_deploy.verifier.events import CheckProgress
from localai_deploy.verifier.report import CheckResult, Report
from localai_deploy.workflow.apply import (
    DEPLOY_STEPS,
    HostOutcome,
    Listener,
    Run,
    RunPlace,
    new_place,
    open_run,
    run_steps,
)
from localai_deploy.workflow.fit_writing import record_fit
from localai_deploy.workflow.observe import PlannedHost, plan_host
from localai_deploy.workflow.provision import Rest, provision
from localai_deploy.workflow.telling import Say
from localai_deploy.workflow.together import ask_each, findings_with_place, tell_place


@dataclass(frozen=True, slots=True)
class Looked:
    """One host after the first look: planned, or the error that prevented it."""

    host: InventoryHost
    planned: PlannedHost | None = None
    error: LocalaiError | None = None


@dataclass(frozen=True, slots=True)
class DeployResult:
    """Outcome per host and the verification's report (``None`` when no host came that far).

    :param planned: the hosts as they were seen last, by name.
    :param written: host → the inventory that it is an entry of now.
    """

    outcomes: Mapping[str, HostOutcome]
    report: Report | None
    planned: Mapping[str, PlannedHost] = field(default_factory=dict)
    written: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Following:
    """Who hears of steps and checks."""

    listener: Listener
    on_check: Callable[[CheckResult], None]
    on_check_progress: Callable[[CheckProgress], None] | None


def open_targets(hosts: Sequence[InventoryHost], stack: ExitStack, say: Say) -> dict[str, Target]:
    """A target per host; connections close with ``stack``, and looks that are repeated are told."""
    targets = {}
    for host in hosts:
        password = host.secrets.become_password
        if host.vm is None:
            target = open_target(host.name, host.connection, become_password=password)
        else:
            target = open_vm(host.name, host.vm, become_password=password, on_retry=say)
        stack.callback(target.close)
        targets[host.name] = target
    return targets


def look(
    hosts: Sequence[InventoryHost],
    targets: Mapping[str, Target],
    choices: Choices,
    say: Say,
    *,
    lock: ExitStack | None = None,
) -> list[Looked]:
    """Look at all hosts at once; with ``lock`` each one is held against other runs until it closes."""

    def plan(host: InventoryHost) -> PlannedHost:
        planned = plan_host(host, targets[host.name], choices, say, lock=lock)
        findings = findings_with_place(host, planned.plan.findings)
        return replace(planned, plan=replace(planned.plan, findings=findings))

    for host in hosts:
        host.spec()
    return [Looked(one.host, one.value, one.error) for one in ask_each(hosts, plan, choices.forks)]


def deploy(
    planned: Sequence[PlannedHost],
    listener: Listener,
    rest: Rest,
    on_check: Callable[[CheckResult], None],
    on_check_progress: Callable[[CheckProgress], None] | None = None,
) -> DeployResult:
    """Apply plans without blockers, then verify what came through."""
    place = new_place()
    outcomes = {one.host.name: HostOutcome() for one in planned}
    seen = {one.host.name: one for one in provision(planned, place, outcomes, listener, rest)}
    ready = [one for name, one in seen.items() if outcomes[name].error is None]
    follow = Following(listener, on_check, on_check_progress)
    report = _configure(ready, place, outcomes, rest.choices, follow) if ready else None
    for one in planned:
        if error := outcomes[one.host.name].error:
            tell_place(one.host, error)
    return DeployResult(outcomes, report, seen)


def _configure(
    ready: Sequence[PlannedHost],
    place: RunPlace,
    outcomes: dict[str, HostOutcome],
    choices: Choices,
    follow: Following,
) -> Report | None:
    """Run the roles and the checks; ``outcomes`` of these hosts are filled in."""
    with ExitStack() as stack:
        run = _open(ready, place, stack, outcomes, choices.forks)
        planned = {step.kind for one in ready for step in one.plan.steps}
        wanted = [kind for kind in DEPLOY_STEPS if kind in planned and choices.wants(kind.value)]
        run_steps(run, wanted, follow.listener)
        good = [one for one in ready if one.host.name in run.good_hosts]
        if not good or not choices.wants(StepKind.VERIFY.value):
            return None
        report = _verify(run, good, follow.on_check, follow.on_check_progress)
        _record_fits(good, report, outcomes)
        return report


def _record_fits(good: Sequence[PlannedHost], report: Report, outcomes: Mapping[str, HostOutcome]) -> None:
    for one in good:
        if trouble := record_fit(one, report):
            outcomes[one.host.name].notes += (trouble,)


def _open(
    planned: Sequence[PlannedHost],
    place: RunPlace,
    stack: ExitStack,
    outcomes: Mapping[str, HostOutcome] | None = None,
    forks: int = FORKS,
) -> Run:
    hosts = [project_host(one) for one in planned]
    secrets = {one.host.name: one.host.secrets for one in planned}
    run = open_run(place, hosts, secrets, {one.host.name: one.target for one in planned}, stack, forks)
    run.outcomes.update({name: one for name, one in (outcomes or {}).items() if name in run.outcomes})
    return run


def verify(
    planned: Sequence[PlannedHost],
    on_check: Callable[[CheckResult], None],
    on_check_progress: Callable[[CheckProgress], None] | None = None,
    *,
    measure: bool = False,
    forks: int = FORKS,
) -> Report:
    """Run the checks alone; ``measure`` adds speed, memory and energy, which takes minutes."""
    with ExitStack() as stack:
        run = _open(planned, new_place(), stack, forks=forks)
        return _verify(run, planned, on_check, on_check_progress, measure=measure)


def _verify(
    run: Run,
    planned: Sequence[PlannedHost],
    on_check: Callable[[CheckResult], None],
    on_progress: Callable[[CheckProgress], None] | None,
    *,
    measure: bool = False,
) -> Report:
    from localai_deploy.verifier.queues import queues_of
    from localai_deploy.verifier.run import run_checks
    from localai_deploy.verifier.scope import Scope

    specs = [one.deployment.spec for one in planned if one.deployment]
    return run_checks(
        inventories=[run.project.inventory, run.secrets],
        queues=queues_of({one.host.name: _machine(one.host) for one in planned}, run.forks),
        scope=Scope(
            devices=tuple(spec.name for spec in specs if spec.devices),
            planned_card=tuple(spec.name for spec in specs if spec.plans_card),
            gateway=tuple(sorted(run.gateways)),
            bench=tuple(spec.name for spec in specs) if measure else (),
        ),
        on_result=on_check,
        on_progress=on_progress,
    )


def _machine(host: InventoryHost) -> str:
    """What a host's speed depends on: the node of a VM."""
    return f"node {host.vm.node.node}" if host.vm else host.name


def project_host(planned: PlannedHost, *, shared: bool = True) -> ProjectHost:
    """One host of the Ansible project; ``shared`` lets it use the connection that is open now.

    :raises LocalaiError: ``nothing-planned`` when the deployment could not be resolved.
    """
    if planned.deployment is None:
        raise LocalaiError("nothing-planned", f"{planned.host.name} has no deployment to render")
    return ProjectHost(
        planned.host.name,
        planned.target.inventory_variables(shared=shared),
        role_variables(planned.deployment),
        is_gateway=planned.deployment.spec.gateway is not None,
    )
