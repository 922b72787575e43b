from __future__ import annotations

from localai_deploy.provisioner.events import (
    RunEnded,
    TaskChanged,
    TaskFailed,
    TaskProgress,
    TaskStarted,
    parse_event,
)


def event(kind: str, **data: object) -> dict[str, object]:
    return {"event": kind, "event_data": {"host": "box", "role": "base", "task": "t", **data}}


def test_task_start() -> None:
    assert parse_event(event("playbook_on_task_start")) == TaskStarted("base", "t")


def test_retry_carries_progress() -> None:
    raw = event("runner_retry", res={"attempts": 3, "stdout": '{"bytes": 5, "total_bytes": 10}'})
    assert parse_event(raw) == TaskProgress("box", "t", 5, 10, 3)


def test_retry_without_numbers() -> None:
    assert parse_event(event("runner_retry", res={"attempts": 1, "stdout": "{oops"})) == TaskProgress(
        "box", "t", 0, 0, 1
    )


def test_changed_and_unchanged() -> None:
    assert parse_event(event("runner_on_ok", res={"changed": True})) == TaskChanged("box", "base", "t")
    assert parse_event(event("runner_on_ok", res={"changed": False})) is None


def test_failure() -> None:
    raw = event("runner_on_failed", res={"msg": "no", "stderr": "why"})
    assert parse_event(raw) == TaskFailed("box", "base", "t", "no\nwhy", {})


def test_of_a_loop_the_failed_items_are_told() -> None:
    items = [{"msg": "fine"}, {"failed": True, "msg": "checksum did not match"}]
    found = parse_event(event("runner_on_failed", res={"msg": "One or more items failed", "results": items}))
    assert found == TaskFailed("box", "base", "t", "checksum did not match", {})


def test_ignored_failure_is_none() -> None:
    assert parse_event(event("runner_on_failed", ignore_errors=True, res={})) is None


def test_unreachable() -> None:
    found = parse_event(event("runner_on_unreachable", res={"msg": "timeout"}))
    assert isinstance(found, TaskFailed)
    assert found.unreachable


def test_stats_name_failed_hosts() -> None:
    assert parse_event(event("playbook_on_stats", failures={"a": 1}, dark={"b": 1}, ok={"c": 2})) == RunEnded(
        frozenset({"a", "b"})
    )


def test_what_sudo_says_first_does_not_hide_a_program_s_own_error() -> None:
    printed = 'sudo: unable to resolve host box\n{"error_id": "no-space", "what": "full"}'
    event = parse_event(
        {"event": "runner_on_failed", "event_data": {"host": "box", "res": {"stdout": printed}}}
    )
    assert isinstance(event, TaskFailed)
    assert event.problem["error_id"] == "no-space"
