"""The flow of ``up``, ``verify`` and ``down`` over hosts that were looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.observations import State
from localai_deploy.domain.plan import ROLE_OF, HostPlan, StepKind
from localai_deploy.domain.planning import make_removal
from localai_deploy.domain.remains import observe_remains
from localai_deploy.domain.spec import Choices
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory import InventoryHost
from localai_deploy.provisioner.render import ProjectHost
from localai_deploy.provisioner.variables import removal_variables, role_variables
from localai_deploy.targets import open_target
from localai_deploy.targets.base import Target
from localai_deploy.verifier.events import CheckProgress
from localai_deploy.verifier.report import CheckResult, Report
from localai_deploy.workflow.apply import HostOutcome, Listener, Run, journal_of, open_run, run_steps
from localai_deploy.workflow.holding import hold
from localai_deploy.workflow.observe import PlannedHost, Say, plan_host, record_of
from localai_deploy.workflow.together import ask_each

DEPLOY_STEPS = tuple(kind for kind in StepKind if kind in ROLE_OF)


@dataclass(frozen=True, slots=True)
class Looked:
    """One host after the first look: planned, or the error that prevented it."""

    host: InventoryHost
    planned: PlannedHost | None = None
    error: LocalaiError | None = None


@dataclass(frozen=True, slots=True)
class DeployResult:
    """Outcome per host and the verification's report (``None`` when no host came that far)."""

    outcomes: Mapping[str, HostOutcome]
    report: Report | None


def open_targets(hosts: Sequence[InventoryHost], stack: ExitStack) -> dict[str, Target]:
    """A target per host; connections close with ``stack``."""
    targets = {}
    for host in hosts:
        target = open_target(host.name, host.connection, become_password=host.secrets.become_password)
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
        target = targets[host.name]
        if lock is not None:
            hold(target, lock, say)
        return plan_host(host, target, choices, say)

    for host in hosts:
        host.spec()
    return [Looked(one.host, one.value, one.error) for one in ask_each(hosts, plan)]


def deploy(
    planned: Sequence[PlannedHost],
    listener: Listener,
    on_check: Callable[[CheckResult], None],
    on_check_progress: Callable[[CheckProgress], None] | None = None,
) -> DeployResult:
    """Apply plans without blockers, then verify what came through."""
    with ExitStack() as stack:
        run = open_run(
            [project_host(one) for one in planned],
            {one.host.name: one.host.secrets for one in planned},
            {one.host.name: one.target for one in planned},
            stack,
        )
        run_steps(run, DEPLOY_STEPS, listener)
        report = _verify(run, run.good_hosts, on_check, on_check_progress) if run.good_hosts else None
    return DeployResult(run.outcomes, report)


def verify(
    planned: Sequence[PlannedHost],
    on_check: Callable[[CheckResult], None],
    on_check_progress: Callable[[CheckProgress], None] | None = None,
) -> Report:
    """Run the checks alone."""
    with ExitStack() as stack:
        hosts = [project_host(one) for one in planned]
        secrets = {one.host.name: one.host.secrets for one in planned}
        run = open_run(hosts, secrets, {one.host.name: one.target for one in planned}, stack)
        return _verify(run, [host.name for host in hosts], on_check, on_check_progress)


def _verify(
    run: Run,
    hosts: Sequence[str],
    on_check: Callable[[CheckResult], None],
    on_progress: Callable[[CheckProgress], None] | None,
) -> Report:
    from localai_deploy.verifier.run import run_checks

    return run_checks(
        inventories=[run.project.inventory, run.secrets],
        hosts=hosts,
        on_result=on_check,
        on_progress=on_progress,
    )


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
    )


@dataclass(frozen=True, slots=True)
class Removal:
    """What ``down`` would do to one host."""

    host: InventoryHost
    target: Target
    facts: HostFacts
    plan: HostPlan
    purge: bool


def plan_removal(host: InventoryHost, target: Target, *, purge: bool) -> Removal:
    """Look at a host and plan to take everything of ours away."""
    facts = target.observe()
    unfinished = journal_of(host.name).unfinished() is not None
    plan = make_removal(host.name, facts, purge=purge, unfinished=unfinished)
    return Removal(host, target, facts, plan, purge)


def remove(removals: Sequence[Removal], listener: Listener) -> Mapping[str, HostOutcome]:
    """Carry removals out and read back that nothing of ours is left."""
    with ExitStack() as stack:
        hosts = [
            ProjectHost(one.host.name, one.target.inventory_variables(), _removal_variables(one))
            for one in removals
        ]
        secrets = {one.host.name: one.host.secrets for one in removals}
        run = open_run(hosts, secrets, {one.host.name: one.target for one in removals}, stack)
        run_steps(run, DEPLOY_STEPS[::-1], listener, removing=True)
    for one in removals:
        outcome = run.outcomes[one.host.name]
        outcome.error = outcome.error or _left_over(one)
    return run.outcomes


def _removal_variables(removal: Removal) -> dict[str, Any]:
    return removal_variables(record_of(removal.facts) or {}, purge=removal.purge)


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
