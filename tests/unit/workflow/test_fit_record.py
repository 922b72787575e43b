"""What a host records of a run: the same question is answered from it, another one is calibrated by it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.connection import parse_destination
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.fit.record import fit_record
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.domain.spec import HostSpec, host_spec
from localai_deploy.verifier.report import CheckResult, Outcome
from localai_deploy.workflow.fit_writing import measured_rate
from localai_deploy.workflow.host_fit import HostFit, host_fit
from tests.unit.cli.fit_models import dense

FACTS = Path(__file__).parents[2] / "golden" / "cases" / "fresh-debian13" / "facts.json"


def spec(**settings: Any) -> HostSpec:
    given = {"localai_models": ["file:model.gguf"], **settings}
    layer = {key: Sourced(value, "test") for key, value in given.items()}
    return host_spec("box", parse_destination("admin@box"), resolve_settings([layer]))


def facts(record: Any = None) -> HostFacts:
    return HostFacts.from_data(json.loads(FACTS.read_text()) | {"fit": record})


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    path = tmp_path / "model.gguf-header"
    path.write_bytes(dense())
    return ModelFile("file:model.gguf", "model.gguf", local_path=str(path), sha256="e" * 64)


def fitted(model: ModelFile, record: Any = None, **settings: Any) -> HostFit:
    return host_fit(spec(**settings), model, facts(record), "", lambda _: None)


def recorded(model: ModelFile, rate: float | None) -> Any:
    first = fitted(model)
    assert first.fitted is not None
    return json.loads(json.dumps(fit_record(first.fitted, spec(), model, rate)))


def test_the_same_question_needs_no_header(model: ModelFile) -> None:
    record = recorded(model, 5.0)
    Path(model.local_path).unlink()
    found = fitted(model, record)
    assert (found.fitted, found.findings) == (None, ())
    assert found.planned is not None
    assert (found.planned.basis, found.planned.tokens_per_second) == ("measured", 5.0)


def test_a_measured_run_calibrates_the_next_estimate(model: ModelFile) -> None:
    before, record = fitted(model, localai_context_length=2048), recorded(model, 5.0)
    after = fitted(model, record, localai_context_length=2048)
    assert before.planned is not None and after.planned is not None
    assert (before.planned.basis, after.planned.basis) == ("formula", "calibrated")
    assert before.planned.tokens_per_second == pytest.approx(12.3, abs=0.1)
    assert after.planned.tokens_per_second == pytest.approx(5.0)


def test_nothing_measured_calibrates_nothing(model: ModelFile) -> None:
    found = fitted(model, recorded(model, None), localai_context_length=2048)
    assert found.planned is not None
    assert found.planned.basis == "formula"


@pytest.mark.parametrize(
    "record",
    [[1], {"schema": 2}, {"schema": 1}, {"schema": 1, "question": {"devices": ["cpu"]}, "timing": 7}],
)
def test_a_foreign_record_is_passed_over(record: Any, model: ModelFile) -> None:
    found = fitted(model, record)
    assert found.planned is not None
    assert found.planned.basis == "formula"


def test_a_host_that_lost_memory_is_judged_anew(model: ModelFile) -> None:
    small = replace(facts(recorded(model, 5.0)), memory_bytes=2 << 30)
    found = host_fit(spec(), model, small, "", lambda _: None)
    assert [one.finding_id for one in found.findings] == ["fit-does-not-fit"]


@pytest.mark.parametrize(
    ("evidence", "rate"),
    [
        ({"predicted_per_second": 40.2, "completion_tokens": 48}, 40.2),
        ({"predicted_per_second": 40.2, "completion_tokens": 3}, None),
        ({"predicted_per_second": None, "completion_tokens": 48}, None),
        ({}, None),
    ],
)
def test_what_counts_as_measured(evidence: dict[str, Any], rate: float | None) -> None:
    assert measured_rate(CheckResult("box", "completion", "x", Outcome.PASS, evidence=evidence)) == rate
    assert measured_rate(CheckResult("box", "completion", "x", Outcome.FAIL, "no", evidence)) is None
