from __future__ import annotations

from localai_deploy.domain.observations import OBSERVATIONS
from localai_deploy.domain.plan import HOST_STEPS, ROLE_OF, StepKind
from localai_deploy.domain.remains import REMAINS


def test_every_step_kind_has_an_observation() -> None:
    assert set(OBSERVATIONS) == set(HOST_STEPS)


def test_every_changing_step_has_a_role() -> None:
    assert set(ROLE_OF) == set(HOST_STEPS) - {StepKind.VERIFY}


def test_every_changing_step_can_be_looked_for_after_its_removal() -> None:
    assert set(REMAINS) == set(ROLE_OF)
