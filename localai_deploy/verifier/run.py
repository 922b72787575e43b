"""Run the checks over an inventory in processes of their own, and collect what they report."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.verifier.events import CheckProgress
from localai_deploy.verifier.ledger import Ledger
from localai_deploy.verifier.private_directory import child_environment, private_directory
from localai_deploy.verifier.report import CheckResult, Outcome, Report
from localai_deploy.verifier.scope import COMMON, Scope

CHECKS = Path(__file__).with_name("checks")
TIMEOUT_PER_HOST_S = 3600.0
PYTEST_JUDGED = {0, 1}
LAST_WORD_S = 1.0
"""A process that has told everything ends within that time, or the deadline, whichever is later."""
_LOG_TAIL_LINES = 12


def run_checks(
    *,
    inventories: Sequence[Path],
    queues: Sequence[Sequence[str]],
    scope: Scope = COMMON,
    environment: Mapping[str, str] | None = None,
    on_result: Callable[[CheckResult], None],
    on_progress: Callable[[CheckProgress], None] | None = None,
    timeout_s: float | None = None,
) -> Report:
    """Verify hosts of the inventory that all ``inventories`` make together, later ones winning.

    The hosts' variable ``localai_expected`` says what is expected. A check that ends without a result,
    by a crash or because the time is over, is a failure; so is a host without any check.

    :param queues: hosts by name; those of one queue wait for one another, the queues do not.
    :param scope: hosts that more than the common checks are made on.
    :param environment: variables for the checks' processes besides those on the allow-list.
    :param on_result: called for every result as it comes.
    :param on_progress: called when a check begins, and while it reads a large file.
    :param timeout_s: for all hosts together; None: an hour for each.
    """
    hosts = tuple(host for queue in queues for host in queue)
    limit_s = TIMEOUT_PER_HOST_S * len(hosts) if timeout_s is None else timeout_s
    ledgers = [Ledger(tuple(queue), on_result, on_progress or (lambda _: None)) for queue in queues if queue]
    if hosts:
        with private_directory() as directory:
            variables = child_environment(directory, inventories, environment or {})
            _run(ledgers, scope, directory, variables, time.monotonic() + limit_s)
    return Report(tuple(result for ledger in ledgers for result in ledger.results), hosts)


@dataclass(frozen=True, slots=True)
class _Checking:
    """A process that checks one queue; ``events`` is the descriptor that it tells on."""

    ledger: Ledger
    process: subprocess.Popen[bytes]
    events: int
    log: Path

    def why_early(self, deadline: float) -> str:
        """Why it ended early, or an empty text."""
        try:
            status = self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return "the time for verification was over before this check ended"
        failed = any(result.outcome is Outcome.FAIL for result in self.ledger.results)
        if status not in PYTEST_JUDGED or (status == 1 and not failed):
            return f"the checks' process ended with {status}: {_tail(self.log)}"
        return ""

    def end(self) -> None:
        """End the process and the connections that it started, if it has not ended by itself."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.events)


def _run(
    ledgers: Sequence[Ledger],
    scope: Scope,
    directory: Path,
    environment: Mapping[str, str],
    deadline: float,
) -> None:
    """Run the checks of all queues at once."""
    with ExitStack() as stack:
        by_events: dict[int, _Checking] = {}
        for number, ledger in enumerate(ledgers):
            checking = _begin(ledger, scope, directory / f"checks-{number}.log", environment)
            stack.callback(checking.end)
            by_events[checking.events] = checking
        with suppress(TimeoutError):
            for events, line in read_lines(by_events, deadline):
                by_events[events].ledger.take(json.loads(line))
        last_word = max(deadline, time.monotonic() + LAST_WORD_S)
        for checking in by_events.values():
            checking.ledger.close(checking.why_early(last_word))


def _begin(ledger: Ledger, scope: Scope, log: Path, environment: Mapping[str, str]) -> _Checking:
    receiving, sending = os.pipe()
    try:
        process = _start(_command(ledger.hosts, scope, sending), log, environment, sending)
    except BaseException:
        os.close(receiving)
        raise
    finally:
        os.close(sending)
    return _Checking(ledger, process, receiving, log)


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


def _command(hosts: Sequence[str], scope: Scope, events: int) -> list[str]:
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
        *(f"--localai-host={host}" for host in hosts),
        *scope.arguments(),
        str(CHECKS),
    ]


def read_lines(descriptors: Collection[int], deadline: float) -> Iterator[tuple[int, bytes]]:
    """Lines with their descriptor until all writers close; TimeoutError at ``deadline`` (monotonic)."""
    pending = dict.fromkeys(descriptors, b"")
    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for descriptor in (key.fd for key, _ in ready):
                chunk = os.read(descriptor, 65536)
                if not chunk:
                    selector.unregister(descriptor)
                *lines, pending[descriptor] = (pending[descriptor] + chunk).split(b"\n")
                yield from ((descriptor, line) for line in lines)


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:]) or "it printed nothing"
