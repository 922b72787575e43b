"""Carry plans out: one role at a time over all hosts, each step journalled before it changes anything."""

from __future__ import annotations

import secrets as random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from localai_deploy.domain.plan import ROLE_OF, StepKind
from localai_deploy.domain.spec import FORKS
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory.specs import Secrets
from localai_deploy.provisioner.events import Event, TaskFailed
from localai_deploy.provisioner.render import Project, ProjectHost, render_project
from localai_deploy.provisioner.run import run_playbook
from localai_deploy.provisioner.secret_files import secret_inventory
from localai_deploy.targets.base import Target
from localai_deploy.workflow.journal import Journal
from localai_deploy.workflow.state_dir import state_dir

KEPT_RUNS = 20
DEPLOY_STEPS = tuple(kind for kind in StepKind if kind in ROLE_OF)


class Listener(Protocol):
    """Who follows a run; the command line shows it as progress."""

    def step_started(self, kind: StepKind, hosts: Sequence[str]) -> None:
        """A step begins."""

    def task_event(self, event: Event) -> None:
        """Something happened inside a step."""

    def step_ended(self, kind: StepKind, changed: Mapping[str, int], failed: Sequence[str]) -> None:
        """A step is over: changed tasks per host, and the hosts on which it failed."""


@dataclass(slots=True)
class HostOutcome:
    """How a run ended on one host; ``changed`` counts Ansible tasks, ``notes`` need a person."""

    changed: int = 0
    error: LocalaiError | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunPlace:
    """One run's name and its folder on the disk."""

    run_id: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Part:
    """What is run of a project."""

    playbook: str
    tag: str
    removing: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One run with its rendered project.

    :param gateways: the host of group ``gateway``, if it is one of the run's.
    """

    place: RunPlace
    project: Project
    secrets: Path
    targets: Mapping[str, Target]
    gateways: frozenset[str] = frozenset()
    outcomes: dict[str, HostOutcome] = field(default_factory=dict)
    forks: int = FORKS

    @property
    def good_hosts(self) -> list[str]:
        """Hosts on which nothing has failed so far."""
        return [name for name, outcome in self.outcomes.items() if outcome.error is None]


def new_place() -> RunPlace:
    """A folder for a run; those of long ago are forgotten."""
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{random.token_hex(3)}"
    directory = state_dir() / "runs" / run_id
    directory.mkdir(parents=True, mode=0o700)
    _forget_old_runs(directory.parent)
    return RunPlace(run_id, directory)


def open_run(
    place: RunPlace,
    hosts: Sequence[ProjectHost],
    secrets: Mapping[str, Secrets],
    targets: Mapping[str, Target],
    stack: ExitStack,
    forks: int = FORKS,
) -> Run:
    """Render the project of a run; its secrets live until ``stack`` closes."""
    project = render_project(place.directory / "project", hosts)
    variables = {host.name: _secret_variables(secrets[host.name]) for host in hosts}
    secret_file = stack.enter_context(secret_inventory(variables))
    outcomes = {host.name: HostOutcome() for host in hosts}
    gateways = frozenset(host.name for host in hosts if host.is_gateway)
    return Run(place, project, secret_file, targets, gateways, outcomes, forks)


def journal_of(host: str) -> Journal:
    """The journal of a host."""
    return Journal(state_dir() / "journal" / f"{host}.jsonl")


def run_steps(run: Run, kinds: Sequence[StepKind], listener: Listener, *, removing: bool = False) -> None:
    """Run the roles of ``kinds`` in that order; a host that fails drops out, the others go on."""
    for kind in kinds:
        _drop_lost_hosts(run)
        hosts = run.good_hosts
        if kind is StepKind.GATEWAY:
            hosts = [host for host in hosts if host in run.gateways]
        if kind in ROLE_OF and hosts:
            part = Part("reset.yml" if removing else "site.yml", ROLE_OF[kind], removing=removing)
            _run_step(run, kind, hosts, listener, part)


def run_action(run: Run, kind: StepKind, part: Part, listener: Listener) -> None:
    """Run a part of a playbook that no plan has: a named action on what step ``kind`` installed."""
    _drop_lost_hosts(run)
    if hosts := run.good_hosts:
        _run_step(run, kind, hosts, listener, part)


def _drop_lost_hosts(run: Run) -> None:
    for name in run.good_hosts:
        try:
            run.targets[name].require_held()
        except LocalaiError as error:
            run.outcomes[name].error = error


def _run_step(run: Run, kind: StepKind, hosts: list[str], listener: Listener, part: Part) -> None:
    for host in hosts:
        journal_of(host).begin(run.place.run_id, kind, removing=part.removing)
    listener.step_started(kind, hosts)
    result = run_playbook(
        run.project,
        part.playbook,
        tags=[part.tag],
        hosts=hosts,
        secrets=run.secrets,
        artifacts=run.place.directory / "ansible" / kind.value,
        on_event=listener.task_event,
        forks=run.forks,
    )
    for host in hosts:
        outcome = run.outcomes[host]
        outcome.changed += result.changed.get(host, 0)
        if host in result.failed:
            outcome.error = _step_failed(kind, result.failed[host], result.log)
        journal_of(host).end(run.place.run_id, kind, "failed" if outcome.error else "done")
    listener.step_ended(kind, result.changed, sorted(result.failed))


def _step_failed(kind: StepKind, failure: TaskFailed, log: Path) -> LocalaiError:
    log_hint = f"log: {log}/stdout\nnothing is lost: the same command goes on from here"
    if failure.problem:
        hint = failure.problem.get("hint", "")
        return LocalaiError(
            failure.problem["error_id"],
            f"{failure.host}: {failure.problem.get('what', '')}",
            why=failure.problem.get("why", ""),
            hint=f"{hint}\n{log_hint}".strip(),
            exit_code=ExitCode.PARTIAL,
        )
    error_id = "host-lost" if failure.unreachable else "step-failed"
    what = "the host went away" if failure.unreachable else f"task {failure.task!r} failed"
    return LocalaiError(
        error_id,
        f"{failure.host}: {what} in step {kind.value}",
        why=failure.message,
        hint=log_hint,
        exit_code=ExitCode.PARTIAL,
    )


def _secret_variables(secrets: Secrets) -> dict[str, str]:
    wanted = {
        "ansible_become_password": secrets.become_password,
        "model_store_token": secrets.hub_token,
    }
    return {name: value for name, value in wanted.items() if value}


def _forget_old_runs(directory: Path) -> None:
    import shutil

    for old in sorted(directory.iterdir())[:-KEPT_RUNS]:
        shutil.rmtree(old, ignore_errors=True)
