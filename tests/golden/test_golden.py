"""One folder is one case: ``spec.yml + facts.json → plan.txt, inventory.yml, host_vars.yml, site.yml``.

``GOLDEN_UPDATE=1`` writes the expected files anew; the difference is then read in review.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from localai_deploy.cli.plan_text import plan_lines
from localai_deploy.domain.archives import archive_lock, parse_archives
from localai_deploy.domain.connection import parse_destination
from localai_deploy.domain.deployment import Deployment
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.gateway import gateway_of
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.plan import HostPlan
from localai_deploy.domain.planning import make_plan
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.domain.spec import HostSpec, host_spec
from localai_deploy.provisioner.render import ProjectHost, rendered_files
from localai_deploy.provisioner.variables import role_variables
from localai_deploy.runtimes import deployment_of
from localai_deploy.workflow.observe import with_driver

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("cases/*/spec.yml"))
LOCKS = yaml.safe_load((HERE / "locks.yml").read_text())


def sourced(settings: dict[str, Any]) -> dict[str, Sourced]:
    return {key: Sourced(value, "spec.yml") for key, value in settings.items()}


def load(case: Path) -> tuple[HostPlan, HostFacts, Deployment]:
    spec_data = yaml.safe_load((case / "spec.yml").read_text())
    layer = sourced(spec_data["settings"])
    connection = parse_destination(spec_data["destination"])
    spec = host_spec(connection.destination, connection, resolve_settings([layer]))
    if others := spec_data.get("gateway"):
        own = resolve_settings([layer])
        settings = {name: resolve_settings([sourced(one)]) for name, one in others.items()}
        spec = replace(spec, gateway=gateway_of(own, {spec.name: own} | settings))
    facts = HostFacts.from_data(json.loads((case / "facts.json").read_text()))
    models = tuple(ModelFile(**model) for model in spec_data["models"])
    spec, about_driver = with_driver(spec, facts)
    deployment = deployment_of(spec, lock_of(spec, spec_data.get("lock")), models)
    return make_plan(spec, facts, deployment, about_driver), facts, deployment


def lock_of(spec: HostSpec, recorded: str | None) -> EnvironmentLock:
    """What the solver would answer, or the lock of the archives that a case names."""
    if recorded is None:
        named = parse_archives(spec.archives[spec.variant])
        return archive_lock(named, package="llama.cpp", variant=spec.variant, platform="linux-64")
    return EnvironmentLock.from_data(LOCKS[recorded])


def outputs(case: Path) -> dict[str, str]:
    plan, facts, deployment = load(case)
    text = click.unstyle("\n".join(plan_lines(plan, facts))) + "\n"
    variables = {"ansible_connection": "local"} if deployment.spec.connection.kind == "local" else {}
    is_gateway = deployment.spec.gateway is not None
    host = ProjectHost(deployment.spec.name, variables, role_variables(deployment), is_gateway=is_gateway)
    files = rendered_files([host])
    return {
        "plan.txt": text,
        "plan.json": json.dumps(plan.to_data(), indent=2) + "\n",
        "inventory.yml": files["inventory/hosts.yml"],
        "host_vars.yml": files[f"inventory/host_vars/{deployment.spec.name}.yml"],
        "site.yml": files["site.yml"],
        "reset.yml": files["reset.yml"],
    }


def test_there_are_cases() -> None:
    assert len(CASES) >= 12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path) -> None:
    for name, text in outputs(case).items():
        path = case / name
        if os.environ.get("GOLDEN_UPDATE"):
            path.write_text(text)
        assert path.read_text() == text, f"{path.relative_to(HERE)} differs; GOLDEN_UPDATE=1 writes it anew"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_expectation_is_literal(case: Path) -> None:
    """What each case is there for is written by hand, so that an update cannot agree with a bug."""
    plan, _, _ = load(case)
    expected = yaml.safe_load((case / "spec.yml").read_text())["expect"]
    assert [finding.finding_id for finding in plan.blockers] == expected.get("blockers", [])
    assert [finding.finding_id for finding in plan.warnings] == expected.get("warnings", [])
    assert {step.kind.value: step.action.value for step in plan.steps} == expected["actions"]
