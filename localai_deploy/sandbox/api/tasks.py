"""Tasks: status, log, lists, stop."""

from __future__ import annotations

from typing import Any

from localai_deploy.sandbox.answers import bad_parameters
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.tasks import Task

_PARTS = 9


def _owner(call: Call) -> str:
    parts = call.values["upid"].split(":")
    if len(parts) != _PARTS or parts[0] != "UPID" or parts[-1]:
        raise bad_parameters({"upid": "unable to parse worker upid"})
    return str(parts[7])


def _check_owner(call: Call, owner: str, privilege: str = "Sys.Audit") -> None:
    if owner not in {call.who.name, call.who.user}:
        call.permissions.need(call.who, f"/nodes/{call.values['node']}", privilege)


def _task(call: Call, privilege: str = "Sys.Audit") -> Task:
    owner, task = _owner(call), call.site.tasks.get(call.values["upid"])
    if task is None:
        raise bad_parameters({"upid": "no such task"})
    _check_owner(call, owner, privilege)
    return task


def task_status(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/tasks/{upid}/status."""
    task = _task(call)
    shown = task.as_listed()
    shown.pop("endtime", None)
    shown["status"] = "running" if task.exitstatus is None else "stopped"
    return shown | ({} if task.exitstatus is None else {"exitstatus": task.exitstatus})


def task_log(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/tasks/{upid}/log."""
    _check_owner(call, _owner(call))
    task = call.site.tasks.get(call.values["upid"])
    if task is None:
        return [{"n": 1, "t": "unable to open file - No such file or directory"}]
    start, limit = call.values.get("start", 0), call.values.get("limit", 50)
    lines = list(enumerate(task.log, 1))[start:]
    chosen = lines[:limit] if limit else lines
    if not task.log:
        return [{"n": 1, "t": "no content"}]
    return [{"n": number, "t": text} for number, text in chosen]


def stop_task(call: Call) -> None:
    """Answer DELETE /nodes/{node}/tasks/{upid}."""
    _task(call, "Sys.Modify").stop_asked.set()


def _visible(call: Call, node: str) -> list[Task]:
    sees_all = call.permissions.has_any(call.who, f"/nodes/{node}", ("Sys.Audit",))
    tasks = [task for task in call.site.tasks.all.values() if task.node == node]
    return [task for task in reversed(tasks) if sees_all or task.user == call.who.name]


def list_tasks(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/tasks."""
    source = call.values.get("source", "archive")
    found = [task for task in _visible(call, call.values["node"]) if _fits(task, call.values, source)]
    start = call.values.get("start", 0)
    return [task.as_listed() for task in found][start : start + call.values.get("limit", 50)]


def _fits(task: Task, wanted: dict[str, Any], source: str) -> bool:
    running = task.exitstatus is None
    return (
        (source == "all" or (source == "active") == running)
        and wanted.get("typefilter", task.type) == task.type
        and str(wanted.get("vmid", task.id)) == task.id
        and (not wanted.get("errors") or task.exitstatus not in {None, "OK"})
        and wanted.get("userfilter", "") in task.user
        and wanted.get("since", 0) <= task.starttime
    )


def cluster_tasks(call: Call) -> list[dict[str, Any]]:
    """Answer GET /cluster/tasks."""
    found = [task.as_listed() for node in call.cluster.nodes for task in _visible(call, node)]
    return [{**entry, "saved": "1"} if "endtime" in entry else entry for entry in found]


HANDLERS: dict[str, Handler] = {
    "GET /nodes/{node}/tasks": list_tasks,
    "GET /nodes/{node}/tasks/{upid}/status": task_status,
    "GET /nodes/{node}/tasks/{upid}/log": task_log,
    "DELETE /nodes/{node}/tasks/{upid}": stop_task,
    "GET /cluster/tasks": cluster_tasks,
}
