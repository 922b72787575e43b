from __future__ import annotations

from localai_deploy.domain.observations import OBSERVATIONS
from localai_deploy.domain.plan import ROLE_OF, StepKind


def test_every_step_kind_has_an_observation() -> None:
    assert set(OBSERVATIONS) == set(StepKind)


def test_every_changing_step_has_a_role() -> None:
    assert set(ROLE_OF) == set(StepKind) - {StepKind.VERIFY}
