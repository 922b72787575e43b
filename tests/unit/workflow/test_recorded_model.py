"""What a host holds is taken again without a look-up: from the mirror that is set now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from localai_deploy.domain.facts import HostFacts, ModelFact
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.reference import parse_model_reference
from localai_deploy.workflow.observe import recorded_model

CASE = Path(__file__).parents[2] / "golden" / "cases" / "second-run"
FACTS = HostFacts.from_data(json.loads((CASE / "facts.json").read_text()))
COMMIT = "1" * 40
SHA256 = "c" * 64
OLD, NEW = "https://old.example.org", "https://new.example.org/hf"
REFERENCE = "hf:ORG/REPO/small-q4.gguf"
FACT = ModelFact(
    "small-q4.gguf",
    size_bytes=4711,
    sha256=SHA256,
    reference=REFERENCE,
    url=f"{OLD}/ORG/REPO/resolve/{COMMIT}/small-q4.gguf",
    revision=COMMIT,
)


def recorded(fact: ModelFact, text: str = REFERENCE, sha256: str = ""):
    reference = replace(parse_model_reference(text), sha256=sha256)
    return recorded_model(reference, replace(FACTS, models=(fact,)), Mirrors(huggingface=NEW))


def test_the_commit_stays_and_the_mirror_is_the_new_one() -> None:
    found = recorded(FACT)
    assert found is not None
    assert found.url == f"{NEW}/ORG/REPO/resolve/{COMMIT}/small-q4.gguf"
    assert (found.sha256, found.revision) == (SHA256, COMMIT)


def test_other_sources_have_no_mirror() -> None:
    text = f"https://example.org/small-q4.gguf#sha256={SHA256}"
    found = recorded(
        replace(FACT, reference=text, url="https://example.org/small-q4.gguf", revision=""), text, SHA256
    )
    assert found is not None
    assert found.url == "https://example.org/small-q4.gguf"


@pytest.mark.parametrize(
    "fact", [replace(FACT, reference="hf:ORG/REPO/other.gguf"), replace(FACT, sha256="")]
)
def test_what_came_from_elsewhere_is_looked_up(fact: ModelFact) -> None:
    assert recorded(fact) is None


def test_another_file_than_the_catalogue_says_is_looked_up() -> None:
    assert recorded(FACT, sha256="d" * 64) is None
    assert recorded(FACT, sha256=SHA256) is not None
