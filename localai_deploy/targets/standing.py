"""What a host that was there before us answers to the questions about bringing it into being."""

from __future__ import annotations

from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.pve.sizing import VmSize
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.base import Tell


class StandingHost:
    """Base of targets that are never made and never destroyed."""

    name: str

    @property
    def left_over(self) -> list[str]:
        """Nothing."""
        return []

    def survey(self, least: VmSize | None = None) -> VmPlan | None:
        """It is there."""
        del least
        return None

    def provision(self, kind: StepKind, plan: VmPlan, tell: Tell) -> None:
        """It has no such steps."""
        del plan, tell
        raise LocalaiError("host-not-made", f"{self.name} is no VM of ours: it has no step {kind.value}")

    def destroy(self) -> None:
        """It stays."""
        raise LocalaiError("host-not-made", f"{self.name} is no VM of ours: it is not taken away")
