"""The cases of a kill harness: tried on two lanes side by side, what came of each in a table."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

Point = TypeVar("Point")
Reference = TypeVar("Reference")


class Result(Protocol):
    """What came of a case that was carried out."""

    @property
    def problems(self) -> Sequence[str]:
        """What the runs did or said otherwise than they should."""

    @property
    def differences(self) -> Sequence[str]:
        """What is otherwise than after an undisturbed run."""

    def row(self) -> str:
        """Its line of the table."""


Outcome = Result | BaseException
"""An exception stands for a case that could not be carried out."""


class Lane(Protocol[Point, Reference]):
    """A machine that cases are tried on, one after the other."""

    def refer(self) -> Reference:
        """Run undisturbed; what everything is held against."""

    def try_point(self, point: Point, reference: Future[Reference]) -> Result:
        """Kill there, run again, compare."""


class Table(Generic[Point]):
    """What came of each case, written down as soon as it is known."""

    def __init__(self, file: Path, header: str, points: Sequence[Point]) -> None:
        self.outcomes: dict[Point, Outcome] = {}
        self._file = file
        self._header = header
        self._points = points
        self._began = time.monotonic()

    def add(self, point: Point, outcome: Outcome) -> None:
        self.outcomes[point] = outcome
        self._file.write_text(self.text() + "\n")

    def text(self) -> str:
        known = [(point, self.outcomes[point]) for point in self._points if point in self.outcomes]
        rows = [f"{point}: {one!r}" if isinstance(one, BaseException) else one.row() for point, one in known]
        return "\n".join([self._header, *rows, f"{len(rows)} cases, {time.monotonic() - self._began:.0f} s"])


def try_all(
    lanes: Sequence[Lane[Point, Reference]],
    own: Sequence[Point],
    shared: Sequence[Point],
    table: Table[Point],
) -> None:
    """Try all: the first lane has the undisturbed run and ``own``, then ``shared`` from its far end."""
    alone, both = deque(own), deque(shared)
    reference: Future[Reference] = Future()

    def first(lane: Lane[Point, Reference]) -> None:
        _refer(lane, reference)
        _work(lane, alone.popleft, reference, table)
        _work(lane, both.pop, reference, table)

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(first, lanes[0])]
        working.append(pool.submit(_work, lanes[1], both.popleft, reference, table))
        for one in working:
            one.result()


def _work(
    lane: Lane[Point, Reference],
    take: Callable[[], Point],
    reference: Future[Reference],
    table: Table[Point],
) -> None:
    """Try points until ``take`` has no more."""
    with suppress(IndexError):
        while point := take():
            try:
                table.add(point, lane.try_point(point, reference))
            except (AssertionError, OSError, RuntimeError, TimeoutExpired) as error:
                table.add(point, error)


def _refer(lane: Lane[Point, Reference], reference: Future[Reference]) -> None:
    try:
        reference.set_result(lane.refer())
    except BaseException as error:
        reference.set_exception(error)
        raise


def selected(request: pytest.FixtureRequest, test: str, points: Sequence[Point]) -> list[Point]:
    """Those of ``points``, the parameters of ``test``, that this run of pytest asks for."""
    asked = {item.name for item in request.session.items}
    return [point for point in points if f"{test}[{point}]" in asked]


def show(request: pytest.FixtureRequest, text: str) -> None:
    """Print between pytest's own lines."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        reporter.ensure_newline()
        reporter.write_line(text)


def require_clean(outcome: Outcome) -> None:
    """Fail unless the second run brought all to where an undisturbed one does."""
    if isinstance(outcome, BaseException):
        raise outcome
    assert list(outcome.problems) == []
    assert list(outcome.differences) == []
