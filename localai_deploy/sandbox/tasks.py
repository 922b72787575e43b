"""Tasks: work in a thread of its own, with a UPID, a log and an exit status."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.sandbox.answers import ApiError
from localai_deploy.sandbox.auth import Identity
from localai_deploy.sandbox.body import BodyError


class TaskFailed(Exception):  # noqa: N818
    """The end of a task with an error text."""


@dataclass
class Task:
    """One task; `exitstatus` is None while it runs."""

    upid: str
    node: str
    type: str
    id: str
    user: str
    pid: int
    pstart: int
    starttime: int
    log: list[str] = field(default_factory=list)
    exitstatus: str | None = None
    endtime: int | None = None
    warnings: int = 0
    stop_asked: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def say(self, text: str) -> None:
        """Add lines to the log; a line end at the end adds no empty line."""
        self.log += text.removesuffix("\n").split("\n")

    def warn(self, text: str) -> None:
        """Log a warning; the task then ends with `WARNINGS: N` in place of OK."""
        self.warnings += 1
        self.say(f"WARN: {text}")

    def wait(self, seconds: float) -> None:
        """Let time pass; ends the task when somebody stopped it."""
        if self.stop_asked.wait(seconds):
            raise TaskFailed("interrupted by signal")

    def as_listed(self) -> dict[str, Any]:
        """As in lists of tasks."""
        user, _, token = self.user.partition("!")
        entry: dict[str, Any] = {
            "upid": self.upid,
            "node": self.node,
            "type": self.type,
            "id": self.id,
            "user": user,
            "pid": self.pid,
            "pstart": self.pstart,
            "starttime": self.starttime,
        }
        if token:
            entry["tokenid"] = token
        if self.exitstatus is not None:
            entry |= {"endtime": self.endtime, "status": self.exitstatus}
        return entry


Work = Callable[[Task], None]


@dataclass
class Tasks:
    """All tasks of a cluster, by UPID."""

    all: dict[str, Task] = field(default_factory=dict)
    _pids: itertools.count[int] = field(default_factory=lambda: itertools.count(0x2A00))
    _started: float = field(default_factory=time.monotonic)

    def start(self, node: str, kind: str, about: str, who: Identity, work: Work) -> str:
        """Run work as a task and answer its UPID at once."""
        pid, now = next(self._pids), int(time.time())
        pstart = 0xB0000 + int((time.monotonic() - self._started) * 100)
        upid = f"UPID:{node}:{pid:08X}:{pstart:08X}:{now:08X}:{kind}:{about}:{who.name}:"
        task = Task(upid, node, kind, about, who.name, pid, pstart, now)
        self.all[upid] = task
        threading.Thread(target=self._run, args=(task, work), daemon=True, name=f"task-{kind}").start()
        return upid

    def _run(self, task: Task, work: Work) -> None:
        try:
            work(task)
        except (TaskFailed, ApiError, BodyError) as error:
            text = str(error).removesuffix("\n").replace("\n", " ")
            self._end(task, text, f"TASK ERROR: {text}")
        except Exception as error:  # noqa: BLE001
            self._end(task, f"internal error: {error!r}", f"TASK ERROR: internal error: {error!r}")
        else:
            status = f"WARNINGS: {task.warnings}" if task.warnings else "OK"
            self._end(task, status, f"TASK {status}")

    def _end(self, task: Task, status: str, last: str) -> None:
        task.log.append(last)
        task.endtime = int(time.time())
        task.exitstatus = status
        task.ended.set()

    def get(self, upid: str) -> Task | None:
        """The task, or None when the node has lost or never had it."""
        return self.all.get(upid)
