"""Kill the command at every step of the plan: the same command goes on from there, and nothing stays behind.

Two hosts work side by side: on one ``up`` is killed, on the other ``down`` (after a run that is left alone,
whose result everything is held against). The table of all cases is written to ``.lab/kill-harness.txt``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

import pytest

from localai_deploy.domain.observations import OBSERVATIONS
from localai_deploy.domain.plan import HOST_STEPS, ROLE_OF, StepKind
from localai_deploy.domain.remains import REMAINS
from tests.integration.harness import LAB_STEPS, KillPoint, Moment, kill_points
from tests.integration.kill_cases import HEADER, NOTICES, Lane, Reference, Result

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.content import Content
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

TO_BARE = (
    KillPoint(StepKind.PREPARE, Moment.MIDDLE, then="down"),
    KillPoint(StepKind.MODELS, Moment.DOWNLOAD, then="down"),
    KillPoint(StepKind.SERVICE, Moment.HEALTH, then="down"),
)
"""Cut off while coming, then taken away."""

EVERY_RUN = (
    KillPoint(StepKind.ENVIRONMENT, Moment.MIDDLE),
    KillPoint(StepKind.MODELS, Moment.DOWNLOAD),
    KillPoint(StepKind.MODELS, Moment.DOWNLOAD, then="down"),
    KillPoint(StepKind.SERVICE, Moment.MIDDLE, removing=True, then="down"),
)
"""The others take minutes together."""

POINTS = (*kill_points(), *TO_BARE)


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
    """All selected cases. The second host begins with those of ``up``; the first has the undisturbed run and
    those of ``down``, then helps from the other end."""
    del content
    points = _selected(request)
    coming = deque(point for point in points if not point.removing and point not in TO_BARE)
    going = deque(point for point in points if point not in coming)
    table = Table(lab.directory / "kill-harness.txt")
    reference: Future[Reference] = Future()

    def first(lane: Lane) -> None:
        _refer(lane, reference)
        _work(lane, going.popleft, reference, table)
        _work(lane, coming.pop, reference, table)

    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        lanes = [Lane(lab, mirror, tmp_path_factory.mktemp("lane"), stack) for _ in range(2)]
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


def test_every_step_kind_can_be_looked_at_and_is_killed() -> None:
    """A new step kind fails here until it can be observed and its cut-off is tried."""
    changing = {kind for kind in LAB_STEPS if kind in ROLE_OF}
    assert set(OBSERVATIONS) == set(HOST_STEPS)
    assert set(REMAINS) == set(ROLE_OF)
    for removing in (False, True):
        moments = {(p.step, p.moment) for p in POINTS if p.removing is removing and p.then == p.command}
        assert {step for step, moment in moments if moment is Moment.INTENT} == changing
        assert {step for step, moment in moments if moment is not Moment.INTENT} >= changing
    assert {p.step for p in POINTS if not p.removing} == set(LAB_STEPS)
    spoken_of = {(p.step, p.moment, p.removing) for p in POINTS if p.step in ROLE_OF}
    assert set(NOTICES) == spoken_of


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
