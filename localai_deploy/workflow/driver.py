"""Change a host's driver on purpose; plans keep the version that is there for as long as it suits."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.plan import StepKind
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.provisioner.render import DRIVER_PLAYBOOK, ProjectHost
from localai_deploy.targets.base import Target
from localai_deploy.workflow.apply import HostOutcome, Listener, Part, new_place, open_run, run_action
from localai_deploy.workflow.deploy import project_host
from localai_deploy.workflow.observe import PlannedHost


@dataclass(frozen=True, slots=True)
class InstalledDriver:
    """What role ``nvidia_driver`` wrote down; empty texts where it wrote nothing.

    :param previous: the version to go back to; after a rollback it is the one that is there.
    """

    version: str = ""
    previous: str = ""
    branch: int = 0


def installed_driver(facts: HostFacts) -> InstalledDriver:
    """The driver that we installed on a host."""
    record = facts.driver if isinstance(facts.driver, dict) else {}
    return InstalledDriver(
        str(record.get("version", "")), str(record.get("previous", "")), int(record.get("branch") or 0)
    )


def require_driver(planned: PlannedHost, action: str) -> InstalledDriver:
    """The driver that ``action`` is about.

    :raises LocalaiError: ``driver-not-ours`` or ``driver-not-upgraded``.
    """
    name, there = planned.host.name, installed_driver(planned.facts)
    driver = planned.deployment.spec.driver if planned.deployment else None
    if not there.version or driver is None or not driver.packages:
        raise LocalaiError(
            "driver-not-ours",
            f"no driver on {name} was installed by us",
            hint="what installed it can change it; on WSL that is Windows",
        )
    if action == "rollback" and not there.previous:
        raise LocalaiError(
            "driver-not-upgraded",
            f"driver {there.version} on {name} was never upgraded by us",
            why="so there is no version to go back to",
            hint="driver upgrade comes first",
        )
    return there


def change_driver(planned: PlannedHost, action: str, listener: Listener) -> HostOutcome:
    """Carry ``upgrade`` or ``rollback`` out; the host is rebooted where the old module is loaded."""
    return _run(planned.host, planned.target, project_host(planned), action, listener)


def make_key(host: InventoryHost, target: Target, listener: Listener) -> HostOutcome:
    """Have the key that DKMS signs modules with; nothing of ours needs to be on the host."""
    project = ProjectHost(host.name, target.inventory_variables(shared=True), {})
    return _run(host, target, project, "key", listener)


def _run(
    host: InventoryHost, target: Target, project: ProjectHost, action: str, listener: Listener
) -> HostOutcome:
    with ExitStack() as stack:
        run = open_run(new_place(), [project], {host.name: host.secrets}, {host.name: target}, stack)
        run_action(run, StepKind.DRIVER, Part(DRIVER_PLAYBOOK, action), listener)
    return run.outcomes[host.name]
