"""Wait for tasks. A time-out raises, and the exit status is always judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from localai_deploy.domain.pve.upid import parse_upid
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.answers import error_from_text
from localai_deploy.proxmox.client import PveClient

LOG_LINES = 10
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 3.0
TRANSIENT = ("pve-timeout", "pve-unreachable", "pve-node-offline")


@dataclass(frozen=True, slots=True)
class FinishedTask:
    """A task that succeeded; ``warnings`` are those of ``WARNINGS: N``."""

    upid: str
    warnings: tuple[str, ...] = ()


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

        :raises LocalaiError: ``pve-task-timeout``; what the task failed with; ``pve-task-lost``.
        """
        task = parse_upid(upid)
        path = f"nodes/{task.node}/tasks/{upid}"
        deadline = self.clock() + timeout_s
        pause, shown = FIRST_PAUSE_S, 0
        while True:
            status = self._status(path)
            if status is not None:
                shown = self._show_log(path, shown)
                if status.get("status") == "stopped":
                    return self._judge(path, upid, str(status.get("exitstatus", "unexpected status")))
            if self.clock() >= deadline:
                raise LocalaiError(
                    "pve-task-timeout",
                    f"task {task.type} of {task.id or task.node} did not end within {timeout_s:.0f} s",
                    why="it goes on running on the node",
                    hint=f"look at it there: pvenode task log {upid}\nthen run again: what is done is seen",
                    exit_code=ExitCode.PARTIAL,
                )
            self.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)

    def _status(self, path: str) -> dict[str, object] | None:
        try:
            return dict(self.client.get(f"{path}/status"))
        except LocalaiError as error:
            if error.error_id in TRANSIENT:
                return None
            if "no such task" in str(error).lower():
                raise LocalaiError(
                    "pve-task-lost",
                    "the server does not know the task any more",
                    why=path,
                    hint="run again: what is done is seen",
                    exit_code=ExitCode.PARTIAL,
                ) from error
            raise

    def _show_log(self, path: str, shown: int) -> int:
        try:
            lines = self.client.get(f"{path}/log", start=shown, limit=500)
        except LocalaiError:
            return shown
        texts = [str(line["t"]) for line in lines if line.get("t") not in {None, "no content"}]
        for text in texts:
            self.on_line(text)
        return shown + len(texts)

    def _judge(self, path: str, upid: str, exitstatus: str) -> FinishedTask:
        if exitstatus == "OK":
            return FinishedTask(upid)
        lines = [str(line.get("t", "")) for line in self.client.get(f"{path}/log", limit=0)]
        if exitstatus.startswith("WARNINGS:"):
            return FinishedTask(upid, tuple(line for line in lines if line.upper().startswith("WARN")))
        task = parse_upid(upid)
        error = error_from_text(f"task {task.type} of {task.id or task.node}", exitstatus)
        tail = [line for line in lines[-LOG_LINES:] if line.strip() and not line.startswith("TASK ERROR")]
        error.why = "\n".join([*([error.why] if error.why else []), *tail])
        raise error
