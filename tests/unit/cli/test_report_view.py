"""What the report of ``up`` says of the way to the API."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from localai_deploy.cli.report_view import _service_lines
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.lock import EnvironmentLock, LockedPackage
from localai_deploy.domain.plan import HostPlan
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.settings import Sourced
from localai_deploy.inventory.specs import Overrides, load_hosts
from localai_deploy.runtimes import deployment_of
from localai_deploy.workflow.observe import PlannedHost
from tests.unit.cli.host_double import CASES, MODEL, HostDouble

PACKAGE = LockedPackage("llama.cpp", "1", "cpu_0", "linux-64", "a" * 64, "linux-64/x.conda", 5)
SERVED = ModelFile(MODEL, "m.gguf", "https://x/m.gguf", sha256="c" * 64, size_bytes=5)


def lines(facts: HostFacts) -> list[str]:
    flags = Overrides({"localai_models": Sourced((MODEL,), "test"), "localai_port": Sourced(9000, "test")})
    (host,) = load_hosts(["admin@box"], None, flags)
    lock = EnvironmentLock("cpu", "linux-64", "conda-forge", (PACKAGE,))
    deployment = deployment_of(host.spec(), lock, (SERVED,))
    target = HostDouble("box", "card-wsl")
    planned = PlannedHost(host, target, facts, deployment, HostPlan("box", ()))
    return list(_service_lines(planned, deployment))


@pytest.fixture
def facts() -> HostFacts:
    return HostFacts.from_data(json.loads((CASES / "card-wsl" / "facts.json").read_text()))


def test_windows_is_told_how_to_reach_it(facts: HostFacts) -> None:
    command = "wsl.exe -d Debian -u root cat /etc/localai-deploy/api-key"
    assert f"  windows   http://localhost:9000/v1 on this PC; key: {command}" in lines(facts)


def test_elsewhere_nothing_is_said_of_windows(facts: HostFacts) -> None:
    other = replace(facts, wsl=type(facts.wsl)())
    assert not [line for line in lines(other) if "windows" in line]
