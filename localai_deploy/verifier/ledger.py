"""Results of one checks' process as they come, held against what it planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localai_deploy.verifier.events import PLANNED, PROGRESS, RESULT, CheckProgress
from localai_deploy.verifier.report import CheckResult, Outcome


class Ledger:
    """What one process tells of its hosts."""

    def __init__(
        self,
        hosts: tuple[str, ...],
        on_result: Callable[[CheckResult], None],
        on_progress: Callable[[CheckProgress], None],
    ) -> None:
        self.hosts = hosts
        self.results: list[CheckResult] = []
        self.planned: list[CheckProgress] = []
        self._on_result = on_result
        self._on_progress = on_progress

    def take(self, event: Mapping[str, Any]) -> None:
        """Note an event of the checks' process."""
        data = {name: value for name, value in event.items() if name != "event"}
        if event["event"] == RESULT:
            self._add(CheckResult.from_data(data))
        elif event["event"] == PLANNED:
            self.planned = [CheckProgress(**check) for check in data["checks"]]
        elif event["event"] == PROGRESS:
            self._on_progress(CheckProgress(**data))

    def close(self, reason: str) -> None:
        """Make a failure of everything that has no result.

        :param reason: why the run ended early; empty when it did not.
        """
        have = {(result.host, result.check_id) for result in self.results}
        for check in self.planned:
            if (check.host, check.check_id) not in have:
                detail = reason or "the check reported no result"
                self._add(CheckResult(check.host, check.check_id, check.title, Outcome.FAIL, detail))
        judged = {check.host for check in self.planned}
        for host in self.hosts:
            if reason or host not in judged:
                self._add(_did_not_run(host, reason or "no check was found"))

    def _add(self, result: CheckResult) -> None:
        self.results.append(result)
        self._on_result(result)


def _did_not_run(host: str, reason: str) -> CheckResult:
    return CheckResult(host, "verifier", "the checks ran to their end", Outcome.FAIL, reason)
