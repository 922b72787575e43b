"""Run the checks over an inventory in a process of their own, and collect what they report."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from localai_deploy.verifier.events import PLANNED, PROGRESS, RESULT, CheckProgress
from localai_deploy.verifier.private_directory import child_environment, private_directory
from localai_deploy.verifier.report import CheckResult, Outcome, Report
from localai_deploy.verifier.scope import COMMON, Scope

CHECKS = Path(__file__).with_name("checks")
TIMEOUT_PER_HOST_S = 3600.0
PYTEST_JUDGED = {0, 1}
_LOG_TAIL_LINES = 12


def run_checks(
    *,
    inventories: Sequence[Path],
    hosts: Sequence[str],
    scope: Scope = COMMON,
    environment: Mapping[str, str] | None = None,
    on_result: Callable[[CheckResult], None],
    on_progress: Callable[[CheckProgress], None] | None = None,
    timeout_s: float | None = None,
) -> Report:
    """Verify ``hosts`` of the inventory that all ``inventories`` make together, later ones winning.

    The hosts' variable ``localai_expected`` says what is expected. A check that ends without a result,
    by a crash or because the time is over, is a failure; so is a host without any check.

    :param scope: hosts that more than the common checks are made on.
    :param environment: variables for the checks' process besides those on the allow-list.
    :param on_result: called for every result as it comes.
    :param on_progress: called when a check begins, and while it reads a large file.
    :param timeout_s: for all hosts together; None: an hour for each.
    """
    limit_s = TIMEOUT_PER_HOST_S * len(hosts) if timeout_s is None else timeout_s
    ledger = Ledger(tuple(hosts), on_result, on_progress or (lambda _: None), scope)
    if hosts:
        with private_directory() as directory:
            variables = child_environment(directory, inventories, environment or {})
            reason = _run(ledger, directory, variables, time.monotonic() + limit_s)
        ledger.close(reason)
    return Report(tuple(ledger.results), tuple(hosts))


class Ledger:
    """Results as they come, held against what was planned."""

    def __init__(
        self,
        hosts: tuple[str, ...],
        on_result: Callable[[CheckResult], None],
        on_progress: Callable[[CheckProgress], None],
        scope: Scope = COMMON,
    ) -> None:
        self.hosts = hosts
        self.scope = scope
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


def _run(ledger: Ledger, directory: Path, environment: Mapping[str, str], deadline: float) -> str:
    """Run the checks; why they ended early, or an empty text."""
    log = directory / "checks.log"
    receiving, sending = os.pipe()
    try:
        process = _start(_command(ledger, sending), log, environment, sending)
    finally:
        os.close(sending)
    try:
        for line in read_lines(receiving, deadline):
            ledger.take(json.loads(line))
        status = process.wait(max(1.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        return "the time for verification was over before this check ended"
    finally:
        _end(process)
        os.close(receiving)
    failed = any(result.outcome is Outcome.FAIL for result in ledger.results)
    if status not in PYTEST_JUDGED or (status == 1 and not failed):
        return f"the checks' process ended with {status}: {_tail(log)}"
    return ""


def _start(
    command: Sequence[str], log: Path, environment: Mapping[str, str], events: int
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[events],
            start_new_session=True,
        )


def _command(ledger: Ledger, events: int) -> list[str]:
    """Pytest with this package's checks and nothing of the user's: no settings, no conftest, no plugin."""
    return [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        *("-c", os.devnull, "--rootdir", str(CHECKS), "--noconftest", "--import-mode=importlib"),
        *("-p", "no:cacheprovider", "-p", "no:logging", "-p", "localai_deploy.verifier.plugin"),
        *("-q", "--tb=short", "--assert=plain", "--color=no"),
        f"--localai-events-fd={events}",
        *(f"--localai-host={host}" for host in ledger.hosts),
        *ledger.scope.arguments(),
        str(CHECKS),
    ]


def read_lines(descriptor: int, deadline: float) -> Iterator[bytes]:
    """Lines until the writer closes; TimeoutError when ``deadline`` (monotonic) passes before."""
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            chunk = os.read(descriptor, 65536)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            yield from lines


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and the connections that it started, if it has not ended by itself."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:]) or "it printed nothing"
