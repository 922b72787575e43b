"""Wait for tasks. A time-out raises, and the exit status is always judged."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from localai_deploy.domain.pve.upid import Upid, parse_upid
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.answers import error_of_task
from localai_deploy.proxmox.client import TRANSIENT, PveClient

LOG_LINES = 10
LOG_PAGE = 500
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 3.0


@dataclass(frozen=True, slots=True)
class FinishedTask:
    """A task that succeeded; ``warnings`` are those of ``WARNINGS: N``."""

    upid: str
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Log:
    """What was read of a task's log: how many lines, the last ones, the warnings."""

    read: int = 0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    warnings: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.read += 1
        self.tail.append(text)
        if text.upper().startswith("WARN"):
            self.warnings.append(text)


@dataclass(frozen=True, slots=True)
class TaskWaiter:
    """Waits for tasks of one server; clock and sleep are given, so that tests wait 0 s."""

    client: PveClient
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    on_line: Callable[[str], None] = lambda _: None

    def wait(self, upid: str, timeout_s: float) -> FinishedTask:
        """Wait until the task has stopped, and judge how.

        An API that is out of reach for a moment is asked again until the time is over.

        :raises LocalaiError: ``pve-task-timeout``, ``pve-task-lost``, ``pve-task-hidden``,
            ``pve-task-cut-off``; what the task failed with.
        """
        task, log = parse_upid(upid), _Log()
        path = f"nodes/{task.node}/tasks/{upid}"
        deadline = self.clock() + timeout_s
        for pause in _pauses():
            status = self._status(path, task)
            if status is not None:
                self._follow(path, log)
                if status.get("status") == "stopped":
                    return _judge(upid, task, str(status.get("exitstatus") or ""), log)
            if self.clock() >= deadline:
                raise _timed_out(upid, task, timeout_s)
            self.sleep(pause)
        raise AssertionError("pauses never end")

    def _status(self, path: str, task: Upid) -> dict[str, object] | None:
        """``None`` while the API is out of reach."""
        try:
            return dict(self.client.get(f"{path}/status"))
        except LocalaiError as error:
            if error.error_id in TRANSIENT:
                return None
            if error.error_id == "pve-task-lost":
                raise _lost(task) from error
            if error.error_id == "pve-forbidden":
                raise _hidden(task, error) from error
            raise

    def _follow(self, path: str, log: _Log) -> None:
        """Read on in the log, page by page; one that cannot be read decides nothing."""
        while True:
            try:
                page = self.client.get(f"{path}/log", start=log.read, limit=LOG_PAGE)
            except LocalaiError:
                return
            texts = [str(line.get("t", "")) for line in page]
            if not texts or (log.read == 0 and texts == ["no content"]):
                return
            for text in texts:
                log.add(text)
                self.on_line(text)
            if len(texts) < LOG_PAGE:
                return


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_PAUSE_S)


def _judge(upid: str, task: Upid, exitstatus: str, log: _Log) -> FinishedTask:
    if exitstatus == "OK":
        return FinishedTask(upid)
    if exitstatus.startswith("WARNINGS:"):
        return FinishedTask(upid, tuple(log.warnings) or (f"{_name(task)}: {exitstatus}",))
    raise error_of_task(_name(task), exitstatus, tuple(log.tail))


def _name(task: Upid) -> str:
    return f"task {task.type} of {task.id or task.node}"


def _timed_out(upid: str, task: Upid, timeout_s: float) -> LocalaiError:
    return LocalaiError(
        "pve-task-timeout",
        f"{_name(task)} did not end within {timeout_s:.0f} s",
        why="it goes on running on the node",
        hint=f"look at it there: pvenode task log {upid}\nthen run again: what is done is seen",
        exit_code=ExitCode.PARTIAL,
    )


def _lost(task: Upid) -> LocalaiError:
    return LocalaiError(
        "pve-task-lost",
        f"the server does not know {_name(task)} any more",
        hint="run again: what is done is seen",
        exit_code=ExitCode.PARTIAL,
    )


def _hidden(task: Upid, error: LocalaiError) -> LocalaiError:
    return LocalaiError(
        "pve-task-hidden",
        f"the token may not see {_name(task)}",
        why=f"{error.what}; it is {task.user}'s",
        hint=f"grant Sys.Audit on /nodes/{task.node}, then run again: what is done is seen",
        exit_code=ExitCode.PARTIAL,
    )
