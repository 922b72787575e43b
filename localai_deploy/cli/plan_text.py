"""A plan as text: what happens, why, and the difference it makes."""

from __future__ import annotations

from collections.abc import Iterator

import click

from localai_deploy.cli.terminal import advice, hanging
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.fit.findings import offload_text
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.plan import Action, Change, Finding, HostPlan, Severity, Step
from localai_deploy.domain.units import format_bytes

_MARK = {
    Action.CREATE: ("+", "green"),
    Action.CHANGE: ("~", "yellow"),
    Action.KEEP: ("=", None),
    Action.REMOVE: ("-", "red"),
    Action.CHECK: ("?", "cyan"),
}
_FINDING_MARK = {
    Severity.BLOCKER: ("x", "red"),
    Severity.WARNING: ("!", "yellow"),
    Severity.UNKNOWN: ("?", "cyan"),
}
_SHOWN_CHANGES = 24


def plan_lines(plan: HostPlan, facts: HostFacts | None = None, width: int = 0) -> Iterator[str]:
    """Lines of one host's plan, wrapped at ``width`` columns (0: not wrapped)."""
    yield click.style(f"Plan for {plan.host}", bold=True) + (f"  ({_host_line(facts)})" if facts else "")
    for step in plan.steps:
        yield from _step_lines(step, width)
    for one in plan.chosen:
        text = f"{one.model}: {one.why}"
        yield from hanging(text, first="  chosen        ", rest=" " * 16, width=width)
        for other in one.not_chosen:
            yield from hanging(other, first="    not         ", rest=" " * 16, width=width)
    if plan.fit:
        yield from hanging(_fit_text(plan.fit), first="  fit           ", rest=" " * 16, width=width)
    for finding in plan.warnings:
        yield from finding_lines(finding, width)
    for finding in plan.unknowns:
        yield from finding_lines(finding, width)
    for finding in plan.blockers:
        yield from finding_lines(finding, width)
    yield _summary(plan)


def _host_line(facts: HostFacts) -> str:
    memory = format_bytes(facts.memory_bytes)
    return f"{facts.os_pretty_name}, {facts.architecture}, {facts.cpu_count} CPUs, {memory} memory"


def _fit_text(fit: PlannedFit) -> str:
    needs = (f"{format_bytes(one.total_bytes)} of {one.name}" for one in fit.devices if one.total_bytes)
    return f"{offload_text(fit)} ({fit.basis}); the model takes {', '.join(needs)}"


def _step_lines(step: Step, width: int) -> Iterator[str]:
    mark, color = _MARK[step.action]
    notes = [name for name, on in (("destructive", step.destructive), ("reboot", step.reboot)) if on]
    suffix = f"  [{', '.join(notes)}]" if notes else ""
    head = f"  {mark} {step.kind.value:<12}"
    first, *more = hanging(f"{step.reason}{suffix}", first=head, rest=" " * len(head), width=width)
    yield click.style(head, fg=color) + first.removeprefix(head)
    yield from more
    for change in step.changes[:_SHOWN_CHANGES]:
        yield f"      {change_text(change)}"
    hidden = len(step.changes) - _SHOWN_CHANGES
    if hidden > 0:
        yield f"      … and {hidden} more (-o json shows all)"


def change_text(change: Change) -> str:
    """One difference on one line."""
    if not change.before:
        return click.style(f"+ {change.name}: {change.after}", fg="green")
    if not change.after:
        return click.style(f"- {change.name}: {change.before}", fg="red")
    return click.style(f"~ {change.name}: {change.before} -> {change.after}", fg="yellow")


def finding_lines(finding: Finding, width: int = 0) -> Iterator[str]:
    """What speaks against a plan, why, and what helps."""
    mark, color = _FINDING_MARK[finding.severity]
    what = f"{finding.what} [{finding.finding_id}]"
    for line in hanging(what, first=f"  {mark} ", rest="    ", width=width):
        yield click.style(line, fg=color)
    if finding.why:
        yield from hanging(finding.why, first="      why: ", rest=" " * 11, width=width)
    if finding.hint:
        yield from advice(finding.hint, first="      fix: ", rest=" " * 11, width=width)


def _summary(plan: HostPlan) -> str:
    if plan.blockers:
        return f"  {len(plan.blockers)} blocker(s): nothing will be changed."
    count = {action: sum(step.action is action for step in plan.steps) for action in Action}
    if not plan.steps:
        return "  Nothing of ours is on this host."
    parts = [
        f"{count[action]} to {action.value}"
        for action in (Action.CREATE, Action.CHANGE, Action.REMOVE)
        if count[action]
    ]
    return (
        f"  {', '.join(parts)}." if parts else "  Nothing to change; the roles look once more and checks run."
    )
