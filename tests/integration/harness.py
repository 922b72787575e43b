"""Kill the real command at a chosen moment of a chosen step.

A moment is found by what a run writes anyway: its journal (the intent before each step) and Ansible's
events. Tasks are not named here: the middle of a step is the middle of the task that took longest in a
run that was left alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from localai_deploy.domain.plan import HOST_STEPS, ROLE_OF, StepKind
from tests.integration.controller import DEADLINE_S, MODEL_PATH, Controller, freeze, wait_for


class Moment(StrEnum):
    """When a run is killed."""

    INTENT = "intent written"
    MIDDLE = "middle of longest task"
    DOWNLOAD = "middle of download"
    HEALTH = "waiting for health"
    CHECKS = "middle of the checks"


@dataclass(frozen=True, slots=True)
class KillPoint:
    """One kill; ``then`` is the command that is run afterwards: ``up`` or ``down``."""

    step: StepKind
    moment: Moment
    removing: bool = False
    then: str = "up"

    @property
    def command(self) -> str:
        """The command that is killed."""
        return "down" if self.removing else "up"

    def __str__(self) -> str:
        return f"{self.command}: {self.step.value}, {self.moment.value}, then {self.then}"


LAB_STEPS = tuple(kind for kind in HOST_STEPS if kind not in {StepKind.DRIVER, StepKind.GATEWAY})
"""The lab's hosts have no card, so none gets a driver; a gateway is about several hosts."""

SPECIAL = {
    StepKind.MODELS: Moment.DOWNLOAD,
    StepKind.SERVICE: Moment.HEALTH,
    StepKind.VERIFY: Moment.CHECKS,
}
"""Steps of ``up`` that wait for something: the wait is their middle."""


def kill_points() -> Iterator[KillPoint]:
    """Every step of the plan in both directions, before and in the middle: new kinds come by themselves."""
    for kind in LAB_STEPS:
        if kind in ROLE_OF:
            yield KillPoint(kind, Moment.INTENT)
        yield KillPoint(kind, SPECIAL.get(kind, Moment.MIDDLE))
    for kind in reversed([kind for kind in LAB_STEPS if kind in ROLE_OF]):
        yield KillPoint(kind, Moment.INTENT, removing=True, then="down")
        yield KillPoint(kind, Moment.MIDDLE, removing=True, then="down")


@dataclass(frozen=True, slots=True)
class LongestTask:
    """A task of a step and how long it took when nothing disturbed it."""

    name: str
    seconds: float


Timeline = Mapping[StepKind, LongestTask]


def timeline_of(controller: Controller) -> Timeline:
    """The longest task of each step of the newest run."""
    folders = [path.name for path in (controller.newest_run() / "ansible").iterdir()]
    steps = [kind for kind in StepKind if kind.value in folders]
    return {kind: longest_task(controller.events(kind)) for kind in steps}


def longest_task(events: list[dict[str, Any]]) -> LongestTask:
    """Of the tasks that changed something, or of all when none did, the one that took longest."""
    began = {
        one["event_data"]["task_uuid"]: one for one in events if one["event"] == "playbook_on_task_start"
    }
    ended = [one for one in events if one["event"] in {"runner_on_ok", "runner_on_failed"}]
    changed = [one for one in ended if (one["event_data"].get("res") or {}).get("changed")]
    tasks = [
        LongestTask(one["event_data"]["task"], _time_of(one) - _time_of(began[uuid]))
        for one in changed or ended
        if (uuid := one["event_data"]["task_uuid"]) in began
    ]
    return max(tasks, key=lambda task: task.seconds)


def _time_of(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["created"]).timestamp()


def kill_at(controller: Controller, point: KillPoint, timeline: Timeline) -> None:
    """Run the point's command and kill its whole process group at the point's moment.

    :raises AssertionError: the moment was missed, or the step was not the unfinished one.
    """
    already = len(controller.entries())
    process = controller.user.start(*controller.words(point.command))
    try:
        wait_for(lambda: _has_come(controller, point, already, process), f"{point}: step begun")
        _MOMENTS[point.moment](controller, point, timeline, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == -signal.SIGKILL, f"{point}: the command was over before it was killed"


def _has_come(controller: Controller, point: KillPoint, already: int, process: subprocess.Popen[str]) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"{point}: the command ended early: {process.communicate()}")
    last = StepKind.SERVICE if point.step is StepKind.VERIFY else point.step
    event = "end" if point.step is StepKind.VERIFY else "begin"
    new = controller.entries()[already:]
    return any((one["event"], one["step"]) == (event, last.value) for one in new)


def _at_intent(*_: object) -> None:
    """The intent is in the journal: now."""


def _in_middle(
    controller: Controller, point: KillPoint, timeline: Timeline, _: subprocess.Popen[str]
) -> None:
    task = timeline[point.step]

    def has_begun(event: Mapping[str, Any]) -> bool:
        return (event["event"], event["event_data"].get("task")) == ("playbook_on_task_start", task.name)

    controller.await_event(point.step, has_begun, f"{point}: task {task.name!r}")
    time.sleep(task.seconds / 2)


def _in_download(controller: Controller, point: KillPoint, _: Timeline, __: subprocess.Popen[str]) -> None:
    part = controller.host.rootfs / f"{MODEL_PATH}.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 20_000_000, f"{point}: 20 MB")


def _in_health_wait(controller: Controller, point: KillPoint, _: Timeline, __: subprocess.Popen[str]) -> None:
    wait_for(lambda: bool(freeze(controller.host)), f"{point}: server started")
    controller.await_event(point.step, lambda event: event["event"] == "runner_retry", f"{point}: a retry")


def _in_checks(_: Controller, __: KillPoint, ___: Timeline, process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if "key-file" in line:
            return


_MOMENTS: Mapping[Moment, Callable[..., None]] = {
    Moment.INTENT: _at_intent,
    Moment.MIDDLE: _in_middle,
    Moment.DOWNLOAD: _in_download,
    Moment.HEALTH: _in_health_wait,
    Moment.CHECKS: _in_checks,
}
