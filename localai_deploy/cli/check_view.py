"""Results of checks as lines."""

from __future__ import annotations

from collections.abc import Sequence

import click

from localai_deploy.cli.terminal import hanging
from localai_deploy.verifier.report import CheckResult, Outcome, Report, count_outcomes

_OUTCOME = {Outcome.PASS: ("✓", "green"), Outcome.FAIL: ("✗", "red"), Outcome.SKIP: ("-", "yellow")}
_REASON = {Outcome.FAIL: "seen", Outcome.SKIP: "skipped"}
_ID_WIDTH = 19


class CheckLines:
    """Lines of checks; with several hosts each line says which host it belongs to.

    :param hosts: all hosts of the run.
    :param width: columns to wrap at; 0: do not wrap.
    """

    def __init__(self, hosts: Sequence[str], width: int = 0) -> None:
        self._host_width = max(map(len, hosts)) if len(hosts) > 1 else 0
        self._width = width

    def of(self, result: CheckResult) -> str:
        """One check; why it did not pass stands below it."""
        mark, color = _OUTCOME[result.outcome]
        host = f"{result.host:<{self._host_width}}  " if self._host_width else ""
        lines = [f"{click.style(mark, fg=color)} {host}{result.check_id:<{_ID_WIDTH}} {result.title}"]
        if result.detail:
            label = _REASON.get(result.outcome, "note")
            rest = " " * (len(label) + 6)
            lines += hanging(result.detail, first=f"    {label}: ", rest=rest, width=self._width)
        return "\n".join(lines)


def verdict(report: Report, host: str, note: str = "") -> str:
    """``proven (14 passed, 0 failed, 0 skipped)`` for one host."""
    count = count_outcomes(report.of_host(host))
    tally = f"{count[Outcome.PASS]} passed, {count[Outcome.FAIL]} failed, {count[Outcome.SKIP]} skipped"
    word, color = ("proven", "green") if report.host_passed(host) else ("NOT proven", "red")
    return f"{click.style(host, bold=True)}: {click.style(word, fg=color)} ({tally}{note})"
