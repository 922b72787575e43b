"""Progress on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.units import format_bytes
from localai_deploy.provisioner.events import Event, TaskChanged, TaskFailed, TaskProgress, TaskStarted
from localai_deploy.verifier.report import CheckResult, Outcome

_PLAIN_INTERVAL_S = 10.0


def say(line: str) -> None:
    """One line on stderr."""
    click.echo(click.style(f"· {line}", dim=True), err=True)


class StepProgress:
    """Follows the steps of a run (:class:`localai_deploy.workflow.apply.Listener`)."""

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._started = time.monotonic()
        self._last_plain = 0.0
        self._status: Any = None

    def step_started(self, kind: StepKind, hosts: Sequence[str]) -> None:
        """Show which step begins."""
        self._started = self._last_plain = time.monotonic()
        self._show(f"{kind.value}: {', '.join(hosts)}")

    def task_event(self, event: Event) -> None:
        """Show the task at work and how far a download is."""
        match event:
            case TaskStarted():
                self._show(f"{event.role}: {event.task}")
                if self._verbose:
                    click.echo(f"    {event.role}: {event.task}", err=True)
            case TaskProgress():
                self._show_waiting(event)
            case TaskChanged() if self._verbose:
                click.echo(f"    changed: {event.role}: {event.task} ({event.host})", err=True)
            case TaskFailed() if self._verbose:
                click.echo(f"    failed: {event.role}: {event.task} ({event.host})", err=True)

    def step_ended(self, kind: StepKind, changed: Mapping[str, int], failed: Sequence[str]) -> None:
        """One line that stays."""
        self._stop()
        took = time.monotonic() - self._started
        mark, color = ("✗", "red") if failed else ("✓", "green")
        tail = f"failed on {', '.join(failed)}" if failed else f"changed={sum(changed.values())}"
        click.echo(f"{click.style(mark, fg=color)} {kind.value:<12} {tail}  ({took:.1f} s)", err=True)

    def _show_waiting(self, event: TaskProgress) -> None:
        text = f"{event.host}: {event.task}"
        if event.bytes_total:
            share = 100 * event.bytes_done // event.bytes_total
            text += f" {format_bytes(event.bytes_done)} of {format_bytes(event.bytes_total)} ({share} %)"
        self._show(text)
        now = time.monotonic()
        if self._status is None and now - self._last_plain >= _PLAIN_INTERVAL_S:
            self._last_plain = now
            click.echo(f"  {text}", err=True)

    def _show(self, text: str) -> None:
        if not sys.stderr.isatty():
            return
        if self._status is None:
            from rich.console import Console

            self._status = Console(stderr=True).status(text)
            self._status.start()
        else:
            self._status.update(text)

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __enter__(self) -> StepProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()


_OUTCOME = {Outcome.PASS: ("✓", "green"), Outcome.FAIL: ("✗", "red"), Outcome.SKIP: ("-", "yellow")}


def check_line(result: CheckResult) -> str:
    """One check as a line."""
    mark, color = _OUTCOME[result.outcome]
    detail = f"  {result.detail}" if result.detail else ""
    return f"{click.style(mark, fg=color)} {result.check_id:<18} {result.title}{detail}"


def show_check(result: CheckResult) -> None:
    """A check's line on stderr, as it comes in."""
    click.echo(check_line(result), err=True)
