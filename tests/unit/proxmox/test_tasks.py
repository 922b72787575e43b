"""The waiter cannot lie: time-outs raise, every exit status is judged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.answers import Refusal, error_of
from localai_deploy.proxmox.client import TRANSIENT
from localai_deploy.proxmox.tasks import TaskWaiter

UPID = "UPID:pve1:0000A1B2:0012D687:65F0C1A2:qmstart:100:tool@pve!prov:"


class RecordedServer:
    """Answers ``status`` one by one; the last one stays."""

    def __init__(self, statuses: list[Any], log: list[str] | LocalaiError) -> None:
        self._statuses: Iterator[Any] = iter(statuses)
        self._last: Any = None
        self._log = log

    def get(self, path: str, **parameters: Any) -> Any:
        if path.endswith("/status"):
            self._last = next(self._statuses, self._last)
            if isinstance(self._last, Exception):
                raise self._last
            return self._last
        if isinstance(self._log, LocalaiError):
            raise self._log
        start, limit = int(parameters["start"]), int(parameters["limit"])
        return [{"n": i + 1, "t": t} for i, t in enumerate(self._log)][start : start + limit]


def wait(statuses: list[Any], log: list[str] | LocalaiError | None = None, timeout_s: float = 60) -> Any:
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
        ("command 'qemu-img convert' failed: exit code 1", "pve-storage-full"),
        ("PCI device '0000:01:00.0' already in use by VMID '100'", "pve-card-in-use"),
        ("something new", "pve-storage-full"),
    ],
)
def test_any_other_end_is_a_failure(exitstatus: str, error_id: str) -> None:
    with pytest.raises(LocalaiError) as caught:
        wait(
            [RUNNING, stopped(exitstatus)], ["qemu-img: No space left on device", f"TASK ERROR: {exitstatus}"]
        )
    assert caught.value.error_id == error_id
    assert "No space left on device" in caught.value.why


def test_what_nobody_foresaw_is_told_as_it_is() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([stopped("something new")], ["one", "TASK ERROR: something new"])
    assert (caught.value.error_id, caught.value.why) == ("pve-failed", "something new (status 500)\none")


@pytest.mark.parametrize(
    "status",
    [
        {"status": "stopped"},
        {"status": "stopped", "exitstatus": None},
        stopped(""),
        stopped("unexpected status"),
        stopped("unable to open file - No such file or directory"),
        stopped("unable to read tail (got 0 bytes)"),
    ],
)
def test_a_task_whose_log_has_no_end_was_cut_off(status: dict[str, Any]) -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([RUNNING, status], ["transferred 1.0 GiB of 3.0 GiB"])
    assert caught.value.error_id == "pve-task-cut-off"
    assert caught.value.exit_code is ExitCode.PARTIAL
    assert "task qmstart of 100" in caught.value.what


def test_somebody_stopped_it() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([stopped("interrupted by signal")])
    assert caught.value.error_id == "pve-task-stopped"


def test_timeout_raises() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([RUNNING], timeout_s=5)
    assert caught.value.error_id == "pve-task-timeout"
    assert UPID in caught.value.hint


@pytest.mark.parametrize("error_id", TRANSIENT)
def test_a_moment_without_the_api_is_waited_out(error_id: str) -> None:
    done, _ = wait([RUNNING, LocalaiError(error_id, "gone"), LocalaiError(error_id, "gone"), stopped("OK")])
    assert done.upid == UPID


def test_an_api_that_stays_away_ends_in_the_timeout() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([LocalaiError("pve-unreachable", "gone")], timeout_s=5)
    assert caught.value.error_id == "pve-task-timeout"


def test_lost_task() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([error_of(Refusal("GET /x", 400, "Parameter verification failed.", {"upid": "no such task"}))])
    assert caught.value.error_id == "pve-task-lost"
    assert "task qmstart of 100" in caught.value.what


def test_a_task_of_somebody_else() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([RUNNING, LocalaiError("pve-forbidden", "403")])
    assert caught.value.error_id == "pve-task-hidden"
    assert "tool@pve!prov" in caught.value.why
    assert "Sys.Audit on /nodes/pve1" in caught.value.hint


def test_other_refusals_end_the_waiting() -> None:
    with pytest.raises(LocalaiError) as caught:
        wait([RUNNING, LocalaiError("pve-auth-failed", "401")])
    assert caught.value.error_id == "pve-auth-failed"


def test_a_long_log_is_read_to_its_end() -> None:
    log = [f"line {number}" for number in range(1203)]
    _, lines = wait([RUNNING, stopped("OK")], log)
    assert lines == log


def test_warnings_anywhere_in_a_long_log_are_found() -> None:
    done, _ = wait([stopped("WARNINGS: 1")], ["WARN: early", *(["progress"] * 1100), "TASK WARNINGS: 1"])
    assert done.warnings == ("WARN: early",)


def test_an_empty_log() -> None:
    done, lines = wait([stopped("OK")], ["no content"])
    assert (done.warnings, lines) == ((), [])


def test_a_log_that_cannot_be_read_changes_no_verdict() -> None:
    forbidden = LocalaiError("pve-forbidden", "403")
    assert wait([stopped("OK")], forbidden)[0].upid == UPID
    assert wait([stopped("WARNINGS: 2")], forbidden)[0].warnings == ("task qmstart of 100: WARNINGS: 2",)
    with pytest.raises(LocalaiError) as caught:
        wait([stopped("VM is locked (backup)")], forbidden)
    assert caught.value.error_id == "pve-vm-locked"
