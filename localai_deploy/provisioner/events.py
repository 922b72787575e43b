"""ansible-runner's events as typed values: what progress shows and what a failure says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MESSAGE_LINES = 8


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A task begins on some hosts."""

    role: str
    task: str


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """A waiting task looked again; ``bytes_done``/``bytes_total`` are 0 when they are not known."""

    host: str
    task: str
    bytes_done: int = 0
    bytes_total: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A task failed on a host, or the host could not be reached.

    :param problem: the JSON error that our own programs print (error_id, what, why, hint), if any.
    """

    host: str
    role: str
    task: str
    message: str
    problem: Mapping[str, str]
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """A task changed a host."""

    host: str
    role: str
    task: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The playbook is over; a host with a rescued failure is not among the failed ones."""

    failed_hosts: frozenset[str]


Event = RunEnded | TaskStarted | TaskProgress | TaskFailed | TaskChanged


def parse_event(raw: Mapping[str, Any]) -> Event | None:
    """The typed event, or ``None`` for those of no interest."""
    data = raw.get("event_data", {})
    host, role, task = (str(data.get(key, "")) for key in ("host", "role", "task"))
    result = data.get("res") or {}
    match raw.get("event"):
        case "playbook_on_task_start":
            return TaskStarted(role, task)
        case "runner_retry":
            return _progress(host, task, result)
        case "runner_on_ok" if result.get("changed"):
            return TaskChanged(host, role, task)
        case "runner_on_failed" if not data.get("ignore_errors"):
            return TaskFailed(host, role, task, _message(result), _problem(result))
        case "playbook_on_stats":
            return RunEnded(frozenset({*(data.get("failures") or {}), *(data.get("dark") or {})}))
        case "runner_on_unreachable":
            return TaskFailed(host, role, task, _message(result), {}, unreachable=True)
    return None


def _progress(host: str, task: str, result: Mapping[str, Any]) -> TaskProgress:
    report = _json(result.get("stdout"))
    attempts = int(result.get("attempts", 0))
    return TaskProgress(
        host, task, int(report.get("bytes") or 0), int(report.get("total_bytes") or 0), attempts
    )


def _problem(result: Mapping[str, Any]) -> Mapping[str, str]:
    report = _json(result.get("stdout"))
    if "error_id" not in report:
        return {}
    return {key: str(report.get(key) or "") for key in ("error_id", "what", "why", "hint")}


def _message(result: Mapping[str, Any]) -> str:
    """What Ansible and the command said, of a loop its failed items; ssh's farewell is no news."""
    if failed := [one for one in result.get("results", ()) if one.get("failed")]:
        return "\n".join(map(_message, failed))
    parts = [str(result.get(key, "")).strip() for key in ("msg", "stderr", "module_stderr", "stdout")]
    lines = [line for part in parts for line in part.splitlines()[-_MESSAGE_LINES:]]
    told = dict.fromkeys(line.rstrip() for line in lines if not line.startswith("Shared connection to "))
    return "\n".join(line for line in told if line)


def _json(text: object) -> dict[str, Any]:
    """The JSON object that a program printed, alone or after what sudo had to say."""
    if not isinstance(text, str):
        return {}
    for candidate in (text, text.strip().rpartition("\n")[2]):
        try:
            report = json.loads(candidate)
        except ValueError:
            continue
        return report if isinstance(report, dict) else {}
    return {}
