"""VMs are deleted at once; one that cannot be deleted keeps no other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.plan import HostPlan, StepKind
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.provisioner.events import Event
from localai_deploy.targets.base import Target
from localai_deploy.workflow.removal import Removal, remove


class Vm:
    """A VM that is deleted when all of them are about to be."""

    def __init__(self, together: Barrier, error: LocalaiError | None, left_over: Sequence[str]) -> None:
        self.left_over = left_over
        self._together = together
        self._error = error

    def destroy(self) -> None:
        self._together.wait(10)
        if self._error:
            raise self._error


class Heard:
    """Who follows the run."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    def step_started(self, kind: StepKind, hosts: Sequence[str]) -> None:
        self.steps.append((kind, list(hosts)))

    def task_event(self, event: Event) -> None:
        """Nothing is told."""

    def step_ended(self, kind: StepKind, changed: Mapping[str, int], failed: Sequence[str]) -> None:
        self.steps.append((kind, dict(changed), list(failed)))


def removal(name: str, vm: Vm) -> Removal:
    host = InventoryHost(name, Connection(kind="vm"), {}, place=f"hosts.yml:{name[1:]}")
    seen = cast("VmPlan", object())
    return Removal(host, cast("Target", vm), HostPlan(name, ()), purge=True, seen=seen)


def test_one_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    journals, together = tmp_path / "localai-deploy" / "journal", Barrier(2)
    refused = LocalaiError("pve-refused", "the node says no")
    heard = Heard()
    vms = [Vm(together, None, ["an ISO"]), Vm(together, refused, [])]
    outcomes = remove([removal(f"v{number}", vm) for number, vm in enumerate(vms, 1)], heard, forks=2)
    assert (outcomes["v1"].error, outcomes["v1"].notes) == (None, ("an ISO",))
    error = outcomes["v2"].error
    assert error is not None
    assert (error.exit_code, error.why) == (ExitCode.PARTIAL, "v2: the inventory has it in hosts.yml:2")
    assert heard.steps == [(StepKind.VM, ["v1", "v2"]), (StepKind.VM, {"v1": 1}, ["v2"])]
    for name, ended in (("v1", "done"), ("v2", "failed")):
        begin, end = map(json.loads, (journals / f"{name}.jsonl").read_text().splitlines())
        assert (begin["step"], begin["removing"], end["outcome"]) == ("vm", True, ended)
