"""Which model is served where nobody names one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from localai_deploy.domain.connection import parse_destination
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.settings import resolve_settings
from localai_deploy.domain.spec import host_spec
from localai_deploy.workflow.observe import unnamed_models, with_driver

CASES = Path(__file__).parents[2] / "golden" / "cases"
SPEC = host_spec("box", parse_destination("admin@box"), resolve_settings([]))


def models(case: str, device: str = "") -> tuple[str, ...]:
    facts = HostFacts.from_data(json.loads((CASES / case / "facts.json").read_text()))
    nvidia = replace(facts.nvidia, cards=(device,) if device else (), headers="linux-headers-amd64")
    facts = replace(facts, nvidia=nvidia)
    return unnamed_models(with_driver(SPEC, facts)[0], facts, lambda _: None)


@pytest.mark.parametrize(
    ("device", "model"),
    [
        ("", "smollm2-1.7b-instruct"),
        ("10de:2204", "qwen2.5-7b-instruct"),
        ("10de:2484", "qwen2.5-7b-instruct"),
        ("10de:1f82", "smollm2-1.7b-instruct"),
    ],
    ids=["cpu", "24-gib", "8-gib", "4-gib"],
)
def test_a_fresh_host_gets_what_its_card_takes(device: str, model: str) -> None:
    assert models("fresh-debian13", device) == (model,)


def test_a_host_of_ours_keeps_what_it_has() -> None:
    assert models("second-run", "10de:2204") == ("hf:ORG/REPO/small-q4.gguf",)


def test_a_record_that_cannot_be_read_tells_no_model() -> None:
    assert models("record-corrupt") == ("smollm2-1.7b-instruct",)
