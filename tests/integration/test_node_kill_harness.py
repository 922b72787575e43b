"""Kill the command at every moment of a VM's life: the same command goes on from there, nothing stays behind.

Two nodes work side by side; one begins with a run that is left alone, whose result everything is held
against. The table of all cases is written to ``.lab/node-kill-harness.txt``.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

import pytest

from localai_deploy.domain.plan import VM_STEPS, StepKind
from tests.integration.node_harness import KillPoint, Moment
from tests.integration.node_kill_cases import HEADER, Lane, Reference, Result

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.content import Content
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

IMAGE, CARD, VM, START = VM_STEPS
COMING = (
    KillPoint(IMAGE, Moment.INTENT),
    KillPoint(IMAGE, Moment.DOWNLOAD),
    KillPoint(VM, Moment.INTENT),
    KillPoint(VM, Moment.UPLOADED),
    KillPoint(VM, Moment.CREATING),
    KillPoint(VM, Moment.CREATED),
    KillPoint(VM, Moment.BEFORE_RESIZE),
    KillPoint(VM, Moment.RESIZED),
    KillPoint(START, Moment.INTENT),
    KillPoint(START, Moment.AGENT),
    KillPoint(START, Moment.FIRST_BOOT),
    KillPoint(START, Moment.BOOTED),
    KillPoint(START, Moment.DETACHED),
)
WITH_CARD = (
    KillPoint(CARD, Moment.INTENT, card=True),
    KillPoint(CARD, Moment.MAPPED, card=True),
    KillPoint(VM, Moment.CREATED, then="down", card=True),
    KillPoint(VM, Moment.FREED, "down", card=True),
)
"""Of a VM that gets a card."""
TO_BARE = (
    KillPoint(VM, Moment.UPLOADED, then="down"),
    KillPoint(VM, Moment.CREATING, then="down"),
    KillPoint(VM, Moment.CREATED, then="down"),
    KillPoint(START, Moment.AGENT, then="down"),
)
"""Cut off while coming, then taken away."""
STANDING = (
    KillPoint(START, Moment.CHANGED, "change"),
    KillPoint(START, Moment.SHUT_DOWN, "change"),
    KillPoint(VM, Moment.INTENT, "down"),
    KillPoint(VM, Moment.SHUT_DOWN, "down"),
    KillPoint(VM, Moment.DELETING, "down"),
)
"""Of a VM that is there."""
POINTS = (*COMING, *WITH_CARD, *TO_BARE, *STANDING)
EVERY_RUN = (
    KillPoint(VM, Moment.CREATING),
    KillPoint(START, Moment.FIRST_BOOT),
    KillPoint(START, Moment.DETACHED),
    KillPoint(CARD, Moment.MAPPED, card=True),
    KillPoint(VM, Moment.DELETING, "down"),
)
"""The others take minutes together."""

Outcome = Result | BaseException
"""An exception stands for a case that could not be carried out."""


class Table:
    """What came of each case, written down as soon as it is known."""

    def __init__(self, file: Path) -> None:
        self.outcomes: dict[KillPoint, Outcome] = {}
        self._file = file
        self._began = time.monotonic()

    def add(self, point: KillPoint, outcome: Outcome) -> None:
        self.outcomes[point] = outcome
        self._file.write_text(self.text() + "\n")

    def text(self) -> str:
        known = [(point, self.outcomes[point]) for point in POINTS if point in self.outcomes]
        rows = [one.row() if isinstance(one, Result) else f"{point}: {one!r}" for point, one in known]
        return "\n".join([HEADER, *rows, f"{len(rows)} cases, {time.monotonic() - self._began:.0f} s"])


def _work(lane: Lane, take: Callable[[], KillPoint], reference: Future[Reference], table: Table) -> None:
    """Try points until ``take`` has no more."""
    with suppress(IndexError):
        while point := take():
            try:
                table.add(point, lane.try_point(point, reference))
            except (AssertionError, OSError, RuntimeError, TimeoutExpired) as error:
                table.add(point, error)


def _refer(lane: Lane, reference: Future[Reference]) -> None:
    try:
        reference.set_result(lane.refer())
    except BaseException as error:
        reference.set_exception(error)
        raise


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    lab: Lab,
    mirror: MirrorClient,
    content: Content,
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[KillPoint, Outcome]:
    """All selected cases. One node has the undisturbed run, then the cases of a VM that is there, and helps
    the other one from the far end."""
    del content
    points = _selected(request)
    standing = deque(point for point in points if point in STANDING)
    coming = deque(point for point in points if point not in STANDING)
    table = Table(lab.directory / "node-kill-harness.txt")
    reference: Future[Reference] = Future()

    def first(lane: Lane) -> None:
        _refer(lane, reference)
        _work(lane, standing.popleft, reference, table)
        _work(lane, coming.pop, reference, table)

    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        lanes = [
            Lane(lab, mirror, tmp_path_factory.mktemp("lane"), f"{os.getpid()}-{number}", stack)
            for number in range(2)
        ]
        working = [pool.submit(first, lanes[0])]
        working.append(pool.submit(_work, lanes[1], coming.popleft, reference, table))
        for one in working:
            one.result()
    _show(request, table.text())
    return table.outcomes


def _selected(request: pytest.FixtureRequest) -> list[KillPoint]:
    """The cases that this run of pytest asks for, in their order."""
    asked = {item.name for item in request.session.items}
    return [point for point in POINTS if f"{test_killed_and_run_again.__name__}[{point}]" in asked]


def _show(request: pytest.FixtureRequest, text: str) -> None:
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.ensure_newline()
        reporter.write_line(text)


def test_every_step_of_a_vm_is_killed() -> None:
    """A new step fails here until its cut-off is tried."""
    for command, steps in {"up": set(VM_STEPS), "change": {StepKind.START}, "down": {StepKind.VM}}.items():
        assert {one.step for one in POINTS if one.command == command} == steps
    before_anything = {one.step for one in (*COMING, *WITH_CARD) if one.moment is Moment.INTENT}
    assert before_anything == set(VM_STEPS)
    assert set(EVERY_RUN) < set(POINTS)
    assert len(set(POINTS)) == len(POINTS)


@pytest.mark.host
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "point",
    [pytest.param(p, id=str(p), marks=() if p in EVERY_RUN else pytest.mark.slow) for p in POINTS],
)
def test_killed_and_run_again(point: KillPoint, outcomes: Mapping[KillPoint, Outcome]) -> None:
    outcome = outcomes[point]
    if isinstance(outcome, BaseException):
        raise outcome
    assert outcome.problems == []
    assert outcome.differences == []
