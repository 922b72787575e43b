"""Kill the command at every moment of a VM's life: the same command goes on from there, nothing stays behind.

Two nodes work side by side; one begins with a run that is left alone, whose result everything is held
against. The table of all cases is written to ``.lab/node-kill-harness.txt``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from localai_deploy.domain.plan import VM_STEPS, StepKind
from tests.integration.kill_table import Outcome, Table, require_clean, selected, show, try_all
from tests.integration.node_harness import KillPoint, Moment
from tests.integration.node_kill_cases import HEADER, Lane

if TYPE_CHECKING:
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
    KillPoint(CARD, Moment.LEASED, card=True),
    KillPoint(VM, Moment.CREATED, card=True),
    KillPoint(VM, Moment.UNNAMED, card=True),
    KillPoint(START, Moment.RESET, card=True),
    KillPoint(START, Moment.UNTESTED, card=True),
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
    points = selected(request, test_killed_and_run_again.__name__, POINTS)
    standing = [point for point in points if point in STANDING]
    coming = [point for point in points if point not in STANDING]
    table = Table(lab.directory / "node-kill-harness.txt", HEADER, POINTS)
    with ExitStack() as stack:
        lanes = [
            Lane(lab, mirror, tmp_path_factory.mktemp("lane"), f"{os.getpid()}-{number}", stack)
            for number in range(2)
        ]
        try_all(lanes, standing, coming, table)
    show(request, table.text())
    return table.outcomes


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
    require_clean(outcomes[point])
