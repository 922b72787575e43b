"""Steps at nodes' APIs, several VMs at once, each journalled before it changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from localai_deploy.domain.plan import StepKind
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.targets.base import Target
from localai_deploy.workflow.apply import HostOutcome, Listener, RunPlace, journal_of
from localai_deploy.workflow.together import ask_all


@dataclass(frozen=True, slots=True)
class NodeSteps:
    """The steps of one run; a VM that fails drops out, the others go on.

    :param outcomes: where errors are put, by host.
    """

    place: RunPlace
    outcomes: Mapping[str, HostOutcome]
    listener: Listener
    forks: int
    removing: bool = False

    def run(
        self,
        kind: StepKind,
        vms: Sequence[tuple[InventoryHost, Target]],
        work: Callable[[InventoryHost], None],
    ) -> None:
        """Do ``work`` for each VM."""
        targets = {host.name: target for host, target in vms}
        for name in targets:
            journal_of(name).begin(self.place.run_id, kind, removing=self.removing)
        self.listener.step_started(kind, list(targets))
        for answer in ask_all([host for host, _ in vms], work, self.forks):
            name = answer.host.name
            outcome = self.outcomes[name]
            outcome.error = partial(answer.error) if answer.error else None
            outcome.notes = tuple(targets[name].left_over)
            journal_of(name).end(self.place.run_id, kind, "failed" if outcome.error else "done")
        failed = sorted(name for name in targets if self.outcomes[name].error)
        self.listener.step_ended(kind, {name: 1 for name in targets if name not in failed}, failed)


def partial(error: LocalaiError) -> LocalaiError:
    """Something was begun: the same command goes on from there."""
    if error.exit_code is not ExitCode.HELD:
        error.exit_code = ExitCode.PARTIAL
    return error
