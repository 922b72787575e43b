"""Plans on the terminal and as JSON, and what blocks them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from localai_deploy.cli.failure import error_data, error_lines
from localai_deploy.cli.plan_text import plan_lines
from localai_deploy.domain.observations import observe_step
from localai_deploy.errors import LocalaiError
from localai_deploy.workflow.apply import journal_of
from localai_deploy.workflow.deploy import Looked
from localai_deploy.workflow.observe import PlannedHost


def print_plans(looked: Sequence[Looked], *, err: bool = False) -> None:
    """All plans as text."""
    for one in looked:
        if one.planned:
            for line in plan_lines(one.planned.plan, one.planned.facts):
                click.echo(line, err=err)
        elif one.error:
            click.echo(f"Plan for {one.host.name}", err=err)
            for line in error_lines(one.error):
                click.echo(f"  {line}", err=err)


def plans_data(looked: Sequence[Looked]) -> list[dict[str, object]]:
    """The hosts of the ``plan`` JSON schema."""
    data: list[dict[str, object]] = []
    for one in looked:
        if one.planned:
            data.append(one.planned.plan.to_data())
        elif one.error:
            data.append({"host": one.host.name, "error": error_data(one.error)})
    return data


def blocked_error(looked: Sequence[Looked]) -> LocalaiError:
    """The error of a run in which no host can go on; the first blocker gives id and exit code."""
    errors = [one.error for one in looked if one.error]
    blockers = [f for one in looked if one.planned for f in one.planned.plan.blockers]
    if not blockers:
        return errors[0]
    first = blockers[0]
    others = [f"{f.what} [{f.finding_id}]" for f in blockers[1:]]
    why = "\n".join(part for part in (first.why, *(f"also: {other}" for other in others)) if part)
    return LocalaiError(first.finding_id, first.what, why=why, hint=first.hint, exit_code=first.exit_code)


def notice_unfinished(planned: Sequence[PlannedHost]) -> None:
    """Say what became of a step that an earlier run left unfinished, as the host shows it."""
    for one in planned:
        step = journal_of(one.host.name).unfinished()
        if step is None or one.deployment is None:
            continue
        seen = observe_step(step.kind, one.deployment, one.facts)
        doing = "removing" if step.removing else "doing"
        click.secho(
            f"! an earlier run of {step.started} was cut off while {doing} {step.kind.value}; "
            f"on the host now: {seen.evidence} ({seen.state.value})",
            err=True,
            fg="yellow",
        )
