"""Prepare a node for passing cards through, or take that back: shown, done, looked at again."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.domain.node.preparation import Preparation
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory.node_ssh import NodeSsh
from localai_deploy.provisioner.events import Event, TaskFailed
from localai_deploy.provisioner.node_project import PLAYBOOK, render_node_project
from localai_deploy.provisioner.run import RunResult, run_playbook
from localai_deploy.provisioner.secret_files import secret_inventory
from localai_deploy.targets.node import look_at_node
from localai_deploy.targets.ssh_host import SshHost
from localai_deploy.workflow.apply import new_place

ROLLBACK, PREPARE = "rollback", "prepare"
_DIFFERENCE = re.compile(r"(--- |\+\+\+ |@@|[-+ ])")


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a run would change: how many tasks, and the difference in files as a patch shows it."""

    changes: int
    difference: tuple[str, ...]


class NodeWork:
    """A node that is held for the time of a context, so that two runs do not prepare it at once."""

    def __init__(self, node: str, ssh: NodeSsh, stack: ExitStack) -> None:
        self.node = node
        self._target = SshHost(node, ssh.connection)
        stack.callback(self._target.close)
        stack.enter_context(self._target.hold())
        self._secrets = stack.enter_context(secret_inventory({}))
        self._place = new_place()
        self._runs = 0

    def look(self) -> NodeHardware:
        """The node as it is now.

        :raises LocalaiError: ``host-*``, ``ssh-*``.
        """
        return look_at_node(self._target.connect())

    def foresee(self, preparation: Preparation | None, *, reboot: bool) -> Foreseen:
        """What :meth:`carry_out` would change; ``None`` takes it all back.

        :raises LocalaiError: ``node-prepare-failed``, ``ansible-failed``.
        """
        result = self._run(preparation, lambda _: None, reboot=reboot, check=True)
        text = (result.log / "stdout").read_text(encoding="utf-8", errors="replace")
        return Foreseen(result.changed.get(self.node, 0), tuple(_difference(text)))

    def carry_out(
        self, preparation: Preparation | None, on_event: Callable[[Event], None], *, reboot: bool
    ) -> int:
        """Change the node; returns how many tasks did.

        :raises LocalaiError: ``node-prepare-failed``, ``ansible-failed``.
        """
        return self._run(preparation, on_event, reboot=reboot, check=False).changed.get(self.node, 0)

    def _run(
        self,
        preparation: Preparation | None,
        on_event: Callable[[Event], None],
        *,
        reboot: bool,
        check: bool,
    ) -> RunResult:
        self._runs += 1
        directory = self._place.directory / f"run-{self._runs}"
        variables = self._target.inventory_variables(shared=False) | _role_variables(
            preparation, reboot=reboot
        )
        result = run_playbook(
            render_node_project(directory / "project", self.node, variables),
            PLAYBOOK,
            tags=[PREPARE if preparation else ROLLBACK],
            hosts=[self.node],
            secrets=self._secrets,
            artifacts=directory / "ansible",
            on_event=on_event,
            check=check,
        )
        if failure := result.failed.get(self.node):
            raise _failed(failure, result.log, check=check)
        return result


def _role_variables(preparation: Preparation | None, *, reboot: bool) -> dict[str, Any]:
    return {**(preparation.role_variables() if preparation else {}), "vfio_reboot": reboot}


def _failed(failure: TaskFailed, log: Path, *, check: bool) -> LocalaiError:
    hint = "the same command goes on from here; --rollback takes back what was done"
    return LocalaiError(
        "node-prepare-failed",
        f"{failure.host}: task {failure.task!r} failed",
        why=failure.message,
        hint=f"log: {log}/stdout" if check else f"log: {log}/stdout\n{hint}",
        exit_code=ExitCode.FAILED if check else ExitCode.PARTIAL,
    )


def _difference(text: str) -> list[str]:
    """The patches in what Ansible printed; they begin with ``---`` and end with an empty line."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        inside = (inside and bool(_DIFFERENCE.match(line))) or line.startswith("--- ")
        if inside:
            found.append(line)
    return found
