"""Results of checks as lines."""

from __future__ import annotations

from collections.abc import Sequence

import click

from localai_deploy.cli.terminal import WHOLE, hanging
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
        head = f"{host}{result.check_id:<{_ID_WIDTH}} "
        lines = hanging(
            result.title, first=head, rest=" " * (len(head) + 2), width=max(self._width - 2, WHOLE)
        )
        lines[0] = f"{click.style(mark, fg=color)} {lines[0]}"
        if result.detail:
            label = _REASON.get(result.outcome, "note")
            rest = " " * (len(label) + 6)
            lines += hanging(result.detail, first=f"    {label}: ", rest=rest, width=self._width)
        return "\n".join(lines)


def verdict(report: Report, host: str, note: str = "") -> list[str]:
    """``nas: proven (14 passed, 0 failed, 0 skipped)``, or that it is not, and what to do then."""
    count = count_outcomes(report.of_host(host))
    tally = f"{count[Outcome.PASS]} passed, {count[Outcome.FAIL]} failed, {count[Outcome.SKIP]} skipped{note}"
    name = click.style(host, bold=True)
    if report.host_passed(host):
        return [f"{name}: {click.style('proven', fg='green')} ({tally})"]
    fix = "  fix: localai-deploy up repairs what was changed by hand; what else each ✗ saw stands above"
    return [f"{name}: {click.style('NOT proven', fg='red')} ({tally})", fix]
