"""Results of a run as a table: a row for each host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from localai_deploy.verifier.report import CheckResult, Outcome

if TYPE_CHECKING:
    from localai_deploy.workflow.deploy import DeployResult, Looked

_GOOD = frozenset({"proven", "done"})


@dataclass(slots=True)
class Row:
    """How far one host is.

    :param state: the step at work, or how the run ended there.
    """

    state: str = "waits"
    changed: int = 0
    passed: int = 0
    failed: int = 0

    @property
    def numbers(self) -> str:
        """``changed=9``, and how many checks passed and failed."""
        checks = f" {self.passed} ✓ {self.failed} ✗" if self.passed or self.failed else ""
        return f"changed={self.changed:<3}{checks}"


class HostTable:
    """The rows of a run over several hosts."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.rows = {host: Row() for host in hosts}

    def begin(self, state: str, hosts: Sequence[str]) -> None:
        """A step begins on some hosts."""
        for host in hosts:
            self.rows[host].state = state

    def end(self, changed: Mapping[str, int], failed: Sequence[str]) -> None:
        """A step is over."""
        for host, count in changed.items():
            self.rows[host].changed += count
        for host in failed:
            self.rows[host].state = f"failed in {self.rows[host].state}"

    def check(self, result: CheckResult) -> None:
        """A check has ended."""
        row = self.rows[result.host]
        row.passed += result.outcome is Outcome.PASS
        row.failed += result.outcome is Outcome.FAIL

    def lines(self, notes: Mapping[str, str] | None = None) -> list[str]:
        """One line for each host; ``notes`` say what it waits for."""
        host_width = max(map(len, self.rows))
        state_width = max(len(row.state) for row in self.rows.values())
        told = notes or {}
        lines = (
            f"  {host:<{host_width}}  {row.state:<{state_width}}  {row.numbers}  {told.get(host, '')}"
            for host, row in self.rows.items()
        )
        return [line.rstrip() for line in lines]


def table_of(looked: Sequence[Looked]) -> HostTable | None:
    """The table of a run, with those hosts that are not begun; none for a host that is alone."""
    if len(looked) < 2:
        return None
    table = HostTable(one.host.name for one in looked)
    for one in looked:
        if one.error:
            table.begin(f"not begun: {one.error.error_id}", [one.host.name])
        elif one.planned and one.planned.plan.blockers:
            table.begin(f"blocked: {one.planned.plan.blockers[0].finding_id}", [one.host.name])
    return table


def ended_lines(table: HostTable, result: DeployResult) -> list[str]:
    """The table as it stays: how the run ended on each host."""
    for host, outcome in result.outcomes.items():
        table.rows[host].state = _ended(host, result) if outcome.error is None else outcome.error.error_id
    marks = [("✓", "green") if row.state in _GOOD else ("✗", "red") for row in table.rows.values()]
    return [
        f"{click.style(mark, fg=color)}{line.removeprefix(' ')}"
        for (mark, color), line in zip(marks, table.lines(), strict=True)
    ]


def _ended(host: str, result: DeployResult) -> str:
    if result.report is None:
        return "done"
    return "proven" if result.report.host_passed(host) else "NOT proven"
