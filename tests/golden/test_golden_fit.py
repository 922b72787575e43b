"""One folder is one case of a model on a host: ``spec.yml → plan.txt``.

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
from localai_deploy.domain.connection import parse_destination
from localai_deploy.domain.deployment import Deployment
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.fit.fitted import with_layers, with_layers_asked_for
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.plan import HostPlan
from localai_deploy.domain.planning import make_plan
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.domain.spec import host_spec
from localai_deploy.runtimes import deployment_of
from localai_deploy.workflow.host_fit import host_fit
from localai_deploy.workflow.observe import with_driver
from tests.unit.cli.fit_models import dense, mixture

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("fit_cases/*/spec.yml"))
LOCKS = yaml.safe_load((HERE / "locks.yml").read_text())
HEADERS = {"q4_0": dense, "f16": lambda: dense("f16"), "experts": mixture, "none": lambda: b"GGUF"}


def load(case: Path, folder: Path) -> tuple[HostPlan, HostFacts, Deployment, dict[str, Any]]:
    given = yaml.safe_load((case / "spec.yml").read_text())
    settings = {"localai_models": ["file:model.gguf"], **given.get("settings", {})}
    layer = {key: Sourced(value, "spec.yml") for key, value in settings.items()}
    connection = parse_destination("admin@box")
    spec = host_spec("box", connection, resolve_settings([layer]))
    data = json.loads((HERE / "cases" / "fresh-debian13" / "facts.json").read_text())
    facts = HostFacts.from_data(data | {"memory_bytes": int(given["memory_gib"] * (1 << 30))})
    cards = (given["card"],) if "card" in given else ()
    facts = replace(facts, nvidia=replace(facts.nvidia, cards=cards, headers="linux-headers-amd64"))
    spec, _ = with_driver(spec, facts)
    path = folder / "model.gguf-header"
    path.write_bytes(HEADERS[given["model"]]())
    model = ModelFile("file:model.gguf", "model.gguf", local_path=str(path), sha256="e" * 64, size_bytes=1)
    fit = host_fit(spec, model, facts, "", lambda _: None)
    spec = with_layers(spec, fit.planned) if fit.planned else with_layers_asked_for(spec)
    deployment = deployment_of(spec, EnvironmentLock.from_data(LOCKS[spec.variant]), (model,))
    plan = make_plan(spec, facts, deployment, fit.findings, fit.planned)
    return plan, facts, deployment, given["expect"]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_case(case: Path, tmp_path: Path) -> None:
    plan, facts, _, _ = load(case, tmp_path)
    text = click.unstyle("\n".join(plan_lines(plan, facts))) + "\n"
    path = case / "plan.txt"
    if os.environ.get("GOLDEN_UPDATE"):
        path.write_text(text.replace(str(tmp_path), "FOLDER"))
    assert path.read_text() == text.replace(str(tmp_path), "FOLDER"), "GOLDEN_UPDATE=1 writes it anew"


def test_expectation_is_literal(case: Path, tmp_path: Path) -> None:
    """What each case is there for is written by hand, so that an update cannot agree with a bug."""
    plan, _, deployment, expected = load(case, tmp_path)
    assert [finding.finding_id for finding in plan.blockers] == expected.get("blockers", [])
    assert [finding.finding_id for finding in plan.warnings] == expected.get("warnings", [])
    words = list(deployment.command)
    assert words[words.index("-ngl") + 1] == expected["layers"]
    assert ("--n-cpu-moe" in words) == ("experts" in case.name)
    for text in expected.get("says", []):
        assert text in (case / "plan.txt").read_text()
