"""Plans on the terminal and as JSON, and what blocks them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import click

from localai_deploy.cli.failure import error_lines
from localai_deploy.cli.output import error_data, print_json
from localai_deploy.cli.plan_text import plan_lines
from localai_deploy.cli.progress import say
from localai_deploy.cli.terminal import note, show, width_of
from localai_deploy.domain.observations import Observation
from localai_deploy.domain.plan import TAGS, VM_STEPS, StepKind
from localai_deploy.domain.remains import observe_remains
from localai_deploy.domain.spec import FORKS, Choices
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow.apply import journal_of
from localai_deploy.workflow.deploy import Looked
from localai_deploy.workflow.journal import UnfinishedStep
from localai_deploy.workflow.observe import PlannedHost
from localai_deploy.workflow.removal import Removal


def choices_of(options: Mapping[str, Any]) -> Choices:
    """What is asked of the run itself."""
    names = {name for tag in options.get("tags") or () for name in TAGS[tag]}
    return Choices(options["update"], options["strict"], frozenset(names), options.get("forks", FORKS))


def run_plan(hosts: Sequence[InventoryHost], options: Mapping[str, Any]) -> int:
    """Look, print the plans, change nothing; returns the exit code.

    :param options: ``update``, ``strict``, ``output`` and, of ``plan`` alone, ``detailed_exitcode``.
    """
    with ExitStack() as stack:
        targets = workflow.open_targets(hosts, stack, say)
        looked = workflow.look(hosts, targets, choices_of(options), say)
    if options["output"] == "json":
        print_json("plan", hosts=[plan_data(one) for one in looked])
    else:
        print_plans(looked)
    planned = [one.planned for one in looked if one.planned]
    notice_unfinished(planned)
    if stopped := obstacle(looked):
        return int(stopped.exit_code)
    if options.get("detailed_exitcode") and any(one.plan.changes_host for one in planned):
        return int(ExitCode.CHANGES)
    return int(ExitCode.DONE)


def print_plans(looked: Sequence[Looked], *, err: bool = False) -> None:
    """All plans as text."""
    width = width_of(sys.stderr if err else sys.stdout)
    for one in looked:
        if one.planned:
            for line in plan_lines(one.planned.plan, one.planned.facts, width):
                show(line, err=err)
        elif one.error:
            show(click.style(f"Plan for {one.host.name}", bold=True), err=err)
            for line in error_lines(one.error, width - 2 if width else 0):
                show(f"  {line}", err=err)


def plan_data(looked: Looked) -> dict[str, object]:
    """One host of the ``plan`` JSON schema."""
    if looked.planned:
        return looked.planned.plan.to_data()
    return {"host": looked.host.name, "error": error_data(looked.error) if looked.error else None}


def obstacle(looked: Sequence[Looked]) -> LocalaiError | None:
    """What keeps hosts from being deployed as one error: the first one's, with the others in its why."""
    errors = [error for one in looked for error in _errors_of(one)]
    if not errors:
        return None
    first, *others = errors
    also = (f"also: {other.what} [{other.error_id}]" for other in others)
    why = "\n".join(part for part in (first.why, *also) if part)
    return LocalaiError(first.error_id, first.what, why=why, hint=first.hint, exit_code=first.exit_code)


def _errors_of(looked: Looked) -> list[LocalaiError]:
    if looked.error:
        return [looked.error]
    blockers = looked.planned.plan.blockers if looked.planned else ()
    return [
        LocalaiError(one.finding_id, one.what, why=one.why, hint=one.hint, exit_code=one.exit_code)
        for one in blockers
    ]


def notice_unfinished(planned: Sequence[PlannedHost]) -> None:
    """Say what became of a step that an earlier run left unfinished, as the host shows it."""
    for one in planned:
        step = journal_of(one.host.name).unfinished()
        seen = one.observed(step.kind) if step else None
        if step and seen:
            _notice(one.host.name, step, seen)


def notice_unfinished_removal(removals: Sequence[Removal]) -> None:
    """The same before ``down``."""
    for one in removals:
        step = journal_of(one.host.name).unfinished()
        seen = _seen_before_removal(one, step.kind) if step else None
        if step and seen:
            _notice(one.host.name, step, seen)


def _seen_before_removal(removal: Removal, kind: StepKind) -> Observation | None:
    if removal.seen is not None:
        return removal.seen.observations.get(kind)
    if removal.facts is None or kind in VM_STEPS:
        return None
    return observe_remains(kind, removal.facts)


def _notice(host: str, step: UnfinishedStep, seen: Observation) -> None:
    doing = "removing" if step.removing else "doing"
    place = "node" if step.kind in VM_STEPS else "host"
    text = (
        f"! {host}: an earlier run ({step.started}) was cut off while {doing} {step.kind.value}; "
        f"on the {place} now: {seen.evidence} ({seen.state.value})"
    )
    note(click.style(text, fg="yellow"))
