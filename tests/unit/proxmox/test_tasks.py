"""The waiter cannot lie: time-outs raise, every exit status is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.tasks import TaskWaiter

UPID = "UPID:pve1:0000A1B2:0012D687:65F0C1A2:qmstart:100:tool@pve!prov:"


class RecordedServer:
    """Answers ``status`` one by one; the last one stays."""

    def __init__(self, statuses: list[Any], log: list[str]) -> None:
        self._statuses: Iterator[Any] = iter(statuses)
        self._last: Any = None
        self._log = log

    def get(self, path: str, **parameters: Any) -> Any:
        if path.endswith("/status"):
            self._last = next(self._statuses, self._last)
            if isinstance(self._last, Exception):
                raise self._last
            return self._last
        start = int(parameters.get("start", 0))
        return [{"n": i + 1, "t": t} for i, t in enumerate(self._log)][start:]


def wait(statuses: list[Any], log: list[str] | None = None, timeout_s: float = 60) -> Any:
    now = [0.0]
    lines: list[str] = []
    waiter = TaskWaiter(
        RecordedServer(statuses, log or []),  # type: ignore[arg-type]
        clock=lambda: now[0],
        sleep=lambda s: now.__setitem__(0, now[0] + s),
        on_line=lines.append,
    )
    return waiter.wait(UPID, timeout_s), lines


RUNNING = {"status": "running"}


def stopped(exitstatus: str) -> dict[str, str]:
    return {"status": "stopped", "exitstatus": exitstatus}


def test_ok() -> None:
    done, lines = wait([RUNNING, RUNNING, stopped("OK")], ["starting", "TASK OK"])
    assert done.warnings == ()
    assert lines == ["starting", "TASK OK"]


def test_warnings_are_success_and_shown() -> None:
    done, _ = wait([stopped("WARNINGS: 1")], ["WARN: no efidisk configured!", "TASK WARNINGS: 1"])
    assert done.warnings == ("WARN: no efidisk configured!",)


@pytest.mark.parametrize(
    ("exitstatus", "error_id"),
    [
        ("unexpected status", "pve-failed"),
        ("command 'qemu-img convert' failed: exit code 1", "pve-failed"),
        ("PCI device '0000:01:00.0' already in use by VMID '100'", "pve-card-in-use"),
        ("", "pve-failed"),
    ],
)
def test_any_other_end_is_a_failure(exitstatus: str, error_id: str) -> None:
    with pytest.raises(LocalaiError) as caught:
        wait(
            [RUNNING, stopped(exitstatus)], ["qemu-img: No space left on device", f"TASK ERROR: {exitstatus}"]
        )
    assert caught.value.error_id == error_id
    assert "No space left on device" in caught.value.why


def test_stopped_without_exitstatus_is_a_failure() -> None:
    with pytest.raises(LocalaiError):
        wait([{"status": "stopped"}])


def test_timeout_raises() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([RUNNING], timeout_s=5)
    assert caught.value.error_id == "pve-task-timeout"
    assert UPID in caught.value.hint


@pytest.mark.parametrize("error_id", ["pve-timeout", "pve-unreachable", "pve-node-offline"])
def test_a_moment_without_the_api_is_waited_out(error_id: str) -> None:
    done, _ = wait([RUNNING, LocalaiError(error_id, "gone"), LocalaiError(error_id, "gone"), stopped("OK")])
    assert done.upid == UPID


def test_an_api_that_stays_away_ends_in_the_timeout() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([LocalaiError("pve-unreachable", "gone")], timeout_s=5)
    assert caught.value.error_id == "pve-task-timeout"


def test_lost_task() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([LocalaiError("pve-failed", "GET failed", why="no such task")])
    assert caught.value.error_id == "pve-task-lost"


def test_lost_rights_are_not_waited_out() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([LocalaiError("pve-forbidden", "403")])
    assert caught.value.error_id == "pve-forbidden"
