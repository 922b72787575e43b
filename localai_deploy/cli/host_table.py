"""Results of a run as a table: a row for each host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import click

from localai_deploy.cli.terminal import note
from localai_deploy.errors import LocalaiError
from localai_deploy.verifier.report import CheckResult, Outcome, Report

WAITS = "waits"
ABSENT = "nothing of ours was there"
GONE = "gone"
_PROVEN = "proven"
_DONE = "done"
_GOOD = frozenset({_PROVEN, _DONE, GONE, ABSENT})


@dataclass(slots=True)
class Row:
    """How far one host is.

    :param state: the step at work, or how the run ended there.
    :param changed: Ansible's tasks that changed something; ``None`` in a run that changes nothing.
    """

    state: str = WAITS
    changed: int | None = 0
    passed: int = 0
    failed: int = 0

    @property
    def numbers(self) -> str:
        """``changed=9``, and how many checks passed and failed; each where it is counted."""
        changes = f"changed={self.changed:<3}" if self.changed is not None else ""
        checks = f"{self.passed} ✓ {self.failed} ✗" if self.passed or self.failed else ""
        return " ".join(filter(None, (changes, checks)))


class HostTable:
    """The rows of a run over several hosts.

    :param read_only: nothing is changed on them, so no changes are counted.
    """

    def __init__(self, hosts: Iterable[str], *, read_only: bool = False) -> None:
        self.rows = {host: Row(changed=None if read_only else 0) for host in hosts}

    def begin(self, state: str, hosts: Sequence[str]) -> None:
        """A step begins on some hosts."""
        for host in hosts:
            self.rows[host].state = state

    def end(self, changed: Mapping[str, int], failed: Sequence[str]) -> None:
        """A step is over."""
        for host, count in changed.items():
            self.rows[host].changed = (self.rows[host].changed or 0) + count
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


def table_of(states: Mapping[str, str], *, read_only: bool = False) -> HostTable | None:
    """The table of a run, with how each host stands before it; none for a host that is alone."""
    if len(states) < 2:
        return None
    table = HostTable(states, read_only=read_only)
    for host, state in states.items():
        table.begin(state, [host])
    return table


def not_begun(error: LocalaiError) -> str:
    """The state of a host that could not be looked at."""
    return f"not begun: {error.error_id}"


def checked(report: Report | None, host: str) -> str:
    """The state of a host that came through; without a report it was not verified."""
    if report is None:
        return _DONE
    return _PROVEN if report.host_passed(host) else "NOT proven"


def tell_end(table: HostTable | None, ended: Mapping[str, str]) -> None:
    """Write the table as it stays, on stderr."""
    for line in ended_lines(table, ended) if table else ():
        note(line)


def ended_lines(table: HostTable, ended: Mapping[str, str]) -> list[str]:
    """The table as it stays: how the run ended on each host that it began on."""
    for host, state in ended.items():
        table.begin(state, [host])
    marks = [("✓", "green") if row.state in _GOOD else ("✗", "red") for row in table.rows.values()]
    return [
        f"{click.style(mark, fg=color)}{line.removeprefix(' ')}"
        for (mark, color), line in zip(marks, table.lines(), strict=True)
    ]
