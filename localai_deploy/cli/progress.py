"""Progress on stderr: live lines on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click

from localai_deploy.cli.host_table import HostTable
from localai_deploy.cli.live import LiveLines, all_paused
from localai_deploy.cli.terminal import note
from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.units import format_bytes
from localai_deploy.provisioner.events import Event, TaskChanged, TaskFailed, TaskProgress, TaskStarted
from localai_deploy.verifier.events import CheckProgress
from localai_deploy.verifier.report import CheckResult

PLAIN_INTERVAL_S = 10.0
"""Where lines cannot change, a waiting task is heard of that often."""
SETTLING_S = 2.0
"""A speed is told only after it was measured for so long."""

_ROUTINE = "Validating arguments against arg spec"
"""How Ansible calls a task of its own that says nothing about what is at work."""

Clock = Callable[[], float]


def say(line: str) -> None:
    """One line on stderr that stays, above those that change."""
    with all_paused():
        note(click.style(f"· {line}", dim=True))


@dataclass(slots=True)
class Transfer:
    """How far one host's transfer is, and how fast it went since we look at it."""

    task: str
    first_bytes: int
    first_at: float
    done_bytes: int = 0
    total_bytes: int = 0
    at: float = 0.0

    def text(self) -> str:
        """``41.2 MiB of 93.8 MiB (43 %), 3.1 MiB/s, 17 s left``."""
        share = 100 * self.done_bytes // self.total_bytes
        text = f"{format_bytes(self.done_bytes)} of {format_bytes(self.total_bytes)} ({share} %)"
        elapsed, came = self.at - self.first_at, self.done_bytes - self.first_bytes
        if elapsed < SETTLING_S or came <= 0:
            return text
        left = (self.total_bytes - self.done_bytes) * elapsed / came
        return f"{text}, {format_bytes(int(came / elapsed))}/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """``17 s``, ``2 min 05 s``, ``1 h 12 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class RunProgress:
    """Follows a run: its steps (:class:`localai_deploy.workflow.apply.Listener`) and its checks."""

    def __init__(
        self, table: HostTable | None = None, *, verbose: bool = False, clock: Clock = time.monotonic
    ) -> None:
        self._table = table
        self._verbose = verbose
        self._clock = clock
        self._began = clock()
        self._last_plain: dict[str, float] = {}
        self._activity = ""
        self._step = ""
        self._hosts: tuple[str, ...] = ()
        self._waiting: dict[str, str] = {}
        self._transfers: dict[str, Transfer] = {}
        self._live = LiveLines(self.lines)

    def lines(self) -> list[str]:
        """What is at work now: the task and, below it, all hosts, or those that wait or transfer."""
        elapsed = self._clock() - self._began
        first = f"{self._activity}  {duration(elapsed)}" if elapsed >= 1 else self._activity
        waiting = {**self._waiting, **{host: one.text() for host, one in list(self._transfers.items())}}
        if self._table:
            return [first, *self._table.lines(waiting)]
        width = max((len(host) for host in waiting), default=0)
        return [first, *(f"  {host:<{width}}  {text}" for host, text in waiting.items())]

    def keep(self, line: str, write: Callable[[str], None] = note) -> None:
        """Write a line that stays, above those that change."""
        with self._live.paused():
            write(line)

    def step_started(self, kind: StepKind, hosts: Sequence[str]) -> None:
        """Show which step begins."""
        self._hosts, self._step = tuple(hosts), kind.value
        self._begin(f"{kind.value}: {', '.join(hosts)}")
        if self._table:
            self._table.begin(kind.value, hosts)
        self._live.start()

    def task_event(self, event: Event) -> None:
        """Show the task at work and how far a download is."""
        match event:
            case TaskStarted():
                self._show_task(event)
            case TaskProgress():
                self._show_waiting(event)
            case TaskChanged():
                self._tell_verbosely(f"changed: {event.role}: {event.task} ({event.host})")
            case TaskFailed():
                self._tell_verbosely(f"failed: {event.role}: {event.task} ({event.host})")

    def step_ended(self, kind: StepKind, changed: Mapping[str, int], failed: Sequence[str]) -> None:
        """One line that stays."""
        self._live.stop()
        if self._table:
            self._table.end(changed, failed)
        mark, color = ("✗", "red") if failed else ("✓", "green")
        outcome = [f"failed on {', '.join(failed)}"] if failed else []
        good = {host: changed.get(host, 0) for host in self._hosts if host not in failed}
        outcome += [_changes(good, alone=len(self._hosts) == 1)] if good else []
        took = click.style(f"({self._clock() - self._began:.1f} s)", dim=True)
        note(f"{click.style(mark, fg=color)} {kind.value:<12} {'; '.join(outcome)}  {took}")

    def check_progress(self, progress: CheckProgress) -> None:
        """Show which check is at work, and how far it read a large file."""
        activity = f"verify: {progress.host}: {progress.title}"
        if self._table:
            self._table.begin(StepKind.VERIFY.value, [progress.host])
        if activity != self._activity:
            self._begin(activity)
        if progress.total_bytes:
            self._transfer(progress.host, progress.check_id, progress.done_bytes, progress.total_bytes)
        self._live.start()

    def check_ended(self, result: CheckResult, line: str) -> None:
        """Count a check, and write its line."""
        if self._table:
            self._table.check(result)
        self.keep(line)

    def _begin(self, activity: str) -> None:
        self._activity, self._began = activity, self._clock()
        self._waiting.clear()
        self._transfers.clear()
        self._last_plain.clear()

    def _show_task(self, event: TaskStarted) -> None:
        self._waiting.clear()
        self._transfers.clear()
        if not event.task.startswith(_ROUTINE):
            self._activity = f"{self._step}: {event.task}"
        self._tell_verbosely(f"{event.role}: {event.task}" if event.role else event.task)

    def _tell_verbosely(self, line: str) -> None:
        if self._verbose:
            self.keep(f"    {line}")

    def _show_waiting(self, event: TaskProgress) -> None:
        if event.bytes_total:
            text = self._transfer(event.host, event.task, event.bytes_done, event.bytes_total)
        else:
            text = self._waiting[event.host] = f"not yet (look {event.attempts})"
        last = self._last_plain.setdefault(event.host, self._began)
        if not self._live.shown and self._clock() - last >= PLAIN_INTERVAL_S:
            self._last_plain[event.host] = self._clock()
            note(f"  {event.host}: {event.task}: {text}")

    def _transfer(self, host: str, task: str, done: int, total: int) -> str:
        now = self._clock()
        one = self._transfers.get(host)
        if one is None or one.task != task or done < one.done_bytes:
            one = self._transfers[host] = Transfer(task, done, now)
        one.done_bytes, one.total_bytes, one.at = done, total, now
        return one.text()

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def _changes(changed: Mapping[str, int], *, alone: bool) -> str:
    """``changed=9`` for a host that is alone, ``changed: nas=9, box=0`` for several."""
    if alone:
        return f"changed={sum(changed.values())}"
    return f"changed: {', '.join(f'{host}={count}' for host, count in changed.items())}"
