"""The comparer sees what it should see: altered recordings do not pass."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.sandbox.comparing import Comparison

VOLATILE: dict[str, Any] = {
    "keys_any_depth": ["uptime", "maxmem@node"],
    "value_regexes": [
        {
            "name": "upid",
            "re": "UPID:([^:]+):[0-9A-F]{8}:[0-9A-F]{8,9}:[0-9A-F]{8}:([^:]*):([^:]*):([^:]+):",
            "keep": "n",
        },
        {"name": "mac", "re": r"(?i)\b[0-9A-F]{2}(:[0-9A-F]{2}){5}\b"},
    ],
}
STEP = {"method": "GET", "path": "/x", "status": 200, "reason": "OK", "as": "none"}
UPID = "UPID:pve1:00000001:00000002:00000003:{}:100:root@pam!lab:"


def compared(recorded: Any, got: Any, status: int = 200, reason: str = "OK") -> Comparison:
    found = Comparison(VOLATILE)
    found.step({**STEP, "body": {"data": recorded}}, status, reason, {"data": got})
    return found


@pytest.mark.parametrize(
    ("recorded", "got"),
    [
        ({"a": 1}, {"a": 1}),
        ({"uptime": 1}, {"uptime": 99}),
        ([{"id": "a"}, {"id": "b"}], [{"id": "b"}, {"id": "a"}]),
        (UPID.format("qmstart"), UPID.format("qmstart").replace("3:", "4:")),
        ("virtio=BC:24:11:00:00:01", "virtio=BC:24:11:00:00:02"),
        ({"type": "node", "maxmem": 1}, {"type": "node", "maxmem": 2}),
    ],
)
def test_equal(recorded: Any, got: Any) -> None:
    assert compared(recorded, got).differences == []


@pytest.mark.parametrize(
    ("recorded", "got"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ({"uptime": 1}, {}),
        ([{"id": "a"}], []),
        ([{"id": "a", "v": "x"}], [{"id": "a", "v": "y"}]),
        (UPID.format("qmstart"), UPID.format("qmstop")),
        ([{"n": 1, "t": "a"}, {"n": 2, "t": "b"}], [{"n": 1, "t": "b"}, {"n": 2, "t": "a"}]),
        ({"type": "qemu", "maxmem": 1}, {"type": "qemu", "maxmem": 2}),
        (None, 1),
    ],
)
def test_different(recorded: Any, got: Any) -> None:
    assert compared(recorded, got).differences


def test_status_and_reason_count() -> None:
    assert compared({}, {}, status=500).differences
    assert compared({}, {}, reason="Not OK").differences


def test_types_are_a_class_of_their_own() -> None:
    found = compared({"memory": "64"}, {"memory": 64})
    assert found.differences == []
    assert found.type_differences == ["GET /x body.data.memory"]


def test_logs() -> None:
    recorded = {
        "exitstatus": "OK",
        "type": "t",
        "id": "1",
        "user": "u",
        "log_total": 2,
        "log_tail": ["a", "TASK OK"],
    }
    status = {"exitstatus": "OK", "type": "t", "id": "1", "user": "u"}
    for log, equal in (
        (["a", "transferred 1 of 2", "TASK OK"], True),
        (["b", "TASK OK"], False),
        (["TASK OK"], False),
    ):
        found = Comparison(VOLATILE)
        found.task(recorded, status, log)
        assert (found.differences == []) is equal
