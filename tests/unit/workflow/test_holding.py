"""Waiting for what a killed run left at work, with a host that is a list of answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from localai_deploy.domain.marks import WORK_MARK
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Completed
from localai_deploy.workflow import holding

ROOT = Path(__file__).parents[3]


class BusyHost:
    """A target whose tasks end one look after the other."""

    name = "box"

    def __init__(self, *looks: bytes) -> None:
        self.looks = list(looks)
        self.held = False

    def connect(self) -> BusyHost:
        return self

    @contextmanager
    def hold(self) -> Iterator[None]:
        self.held = True
        yield
        self.held = False

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        assert self.held
        return Completed(0, self.looks.pop(0) if len(self.looks) > 1 else self.looks[0], b"")


def hold(host: BusyHost) -> list[str]:
    said: list[str] = []
    with ExitStack() as stack:
        holding.hold(host, stack, said.append)  # type: ignore[arg-type]
    assert not host.held
    return said


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_PAUSE_S", 0)


def test_an_idle_host_is_had_at_once() -> None:
    assert hold(BusyHost(b"")) == []


def test_a_task_of_an_earlier_run_is_waited_for_and_named_once() -> None:
    host = BusyHost(b"7 python3\n12 apt-get install\n", b"12 apt-get install\n", b"")
    assert hold(host) == ["box: waiting for a task of an earlier run: 12 apt-get install"]


def test_a_task_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "WORK_TIMEOUT_S", 0)
    with pytest.raises(LocalaiError) as caught:
        hold(BusyHost(b"12 apt-get install\n"))
    assert (caught.value.error_id, caught.value.exit_code) == ("host-busy", 6)
    assert caught.value.why == "12 apt-get install"


def test_only_a_pull_may_outlive_its_run() -> None:
    tasks = [path.read_text() for path in (ROOT / "playbooks/roles").rglob("*.yml")]
    (unwatched,) = [text for text in tasks if "poll: 0" in text]
    assert f'{WORK_MARK}: ""' in unwatched
