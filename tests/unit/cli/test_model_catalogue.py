"""``model catalogue``: names for people, documents for programs; no host is asked."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from localai_deploy.domain.models.catalogue import BY_NAME
from tests.unit.cli.conftest import Ended


def test_the_document_follows_the_schema(run: Callable[..., Ended]) -> None:
    done = run("model", "catalogue", "-o", "json")
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert list(Draft202012Validator(load_schema("model-catalogue")).iter_errors(document)) == []
    assert [model["name"] for model in document["models"]] == list(BY_NAME)


def test_one_line_a_model(run: Callable[..., Ended]) -> None:
    lines = run("model", "catalogue").out.splitlines()
    assert [line.split()[0] for line in lines] == list(BY_NAME)
    assert lines[0].split()[1:] == ["Q4_K_M", "4.4", "GiB", "Apache-2.0"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("qwen2.5-7b-instruct", "sha256 65b8fcd92af6b4fefa935c625d1ac27ea29dcb6ee14589c55a8f115ceaaa1423"),
        ("RWKV7-2.9b", "unverified: the hub's own sha256 is taken"),
        ("gemma-3-4b-it-qat", "HF_TOKEN"),
        ("eagle-7b", "llama.cpp has no architecture for it"),
    ],
)
def test_all_that_is_known_of_one(run: Callable[..., Ended], name: str, said: str) -> None:
    assert said in run("model", "catalogue", name).out


def test_an_unknown_name(run: Callable[..., Ended]) -> None:
    done = run("model", "catalogue", "qwen3-7b")
    assert done.code == 2
    assert "did you mean qwen3-8b?" in done.err
