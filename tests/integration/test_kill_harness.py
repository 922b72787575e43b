"""Kill the command at every step of the plan: the same command goes on from there, and nothing stays behind.

Two hosts work side by side: on one ``up`` is killed, on the other ``down`` (after a run that is left alone,
whose result everything is held against). The table of all cases is written to ``.lab/kill-harness.txt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from localai_deploy.domain.observations import OBSERVATIONS
from localai_deploy.domain.plan import HOST_STEPS, ROLE_OF, StepKind
from localai_deploy.domain.remains import REMAINS
from tests.integration.harness import LAB_STEPS, KillPoint, Moment, kill_points
from tests.integration.kill_cases import HEADER, NOTICES, Lane
from tests.integration.kill_table import Outcome, Table, require_clean, selected, show, try_all

if TYPE_CHECKING:
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
    points = selected(request, test_killed_and_run_again.__name__, POINTS)
    coming = [point for point in points if not point.removing and point not in TO_BARE]
    going = [point for point in points if point not in coming]
    table = Table(lab.directory / "kill-harness.txt", HEADER, POINTS)
    with ExitStack() as stack:
        lanes = [Lane(lab, mirror, tmp_path_factory.mktemp("lane"), stack) for _ in range(2)]
        try_all(lanes, going, coming, table)
    show(request, table.text())
    return table.outcomes


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
    require_clean(outcomes[point])
