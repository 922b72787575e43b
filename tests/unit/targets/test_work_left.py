"""Tasks that outlived their run, found among this machine's own processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence

import pytest

from localai_deploy.domain.marks import WORK_MARK
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Completed, Local
from localai_deploy.targets.work_left import work_left


class AsOurselves(Local):
    """Looks without sudo, which the machine of a test need not have."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", sudo: bool = False, timeout_s: float = 60
    ) -> Completed:
        return super().run(argv, stdin=stdin, timeout_s=timeout_s)


class WithoutSudo(Local):
    error_id = "sudo-missing"

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", sudo: bool = False, timeout_s: float = 60
    ) -> Completed:
        raise LocalaiError(self.error_id, "no sudo")


class WithoutHost(WithoutSudo):
    error_id = "host-unreachable"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    marked = {**os.environ, WORK_MARK: "yes"}
    process = subprocess.Popen(["sleep", "61.5"], env=marked)
    yield process
    process.kill()
    process.wait()


def of(pid: int) -> list[str]:
    return [line for line in work_left(AsOurselves()) if line.startswith(f"{pid} ")]


def test_a_marked_process_is_work(sleeper: subprocess.Popen[bytes]) -> None:
    assert of(sleeper.pid) == [f"{sleeper.pid} sleep 61.5"]
    sleeper.kill()
    sleeper.wait()
    assert of(sleeper.pid) == []


def test_an_empty_mark_is_none() -> None:
    process = subprocess.Popen(["sleep", "60"], env={**os.environ, WORK_MARK: ""})
    found = of(process.pid)
    process.kill()
    process.wait()
    assert found == []


def test_without_sudo_nothing_is_seen_and_the_plan_says_why() -> None:
    assert work_left(WithoutSudo()) == ()


def test_a_lost_host_is_no_idle_host() -> None:
    with pytest.raises(LocalaiError, match="no sudo"):
        work_left(WithoutHost())
