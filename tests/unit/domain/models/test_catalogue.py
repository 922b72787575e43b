"""The catalogue: every entry is sound, every name leads to one file, the default fits."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from localai_deploy.domain.models.catalogue import (
    BY_NAME,
    CATALOGUE,
    DEFAULT_QUANTIZATION,
    ON_CPU,
    close_model,
    default_model,
    find_model,
)
from localai_deploy.domain.models.chat import CHAT_7B
from localai_deploy.domain.models.entry import CatalogueModel
from localai_deploy.domain.reference import parse_model_reference
from localai_deploy.errors import InputError

GIB = 1 << 30
FILES = [(model, file) for model in CATALOGUE for file in model.files]


def test_names_are_distinct_and_can_be_typed() -> None:
    assert len(BY_NAME) == len(CATALOGUE)
    assert all(re.fullmatch(r"[a-z][a-z0-9.-]+", name) for name in BY_NAME)


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: model.name)
def test_an_entry_is_whole(model: CatalogueModel) -> None:
    assert model.licence
    assert model.parameters > 0
    assert re.fullmatch(r"([0-9a-f]{40})?", model.revision)
    assert model.gate in ("", f"https://huggingface.co/{model.repository}")
    assert model.files or model.note
    assert len({file.quantization for file in model.files}) == len(model.files)


@pytest.mark.parametrize(("model", "file"), FILES, ids=lambda one: getattr(one, "path", None))
def test_a_file_is_named_by_its_short_name(model, file) -> None:
    short = parse_model_reference(f"{model.name}:{file.quantization.lower()}")
    assert short.sha256 == file.sha256
    assert (short.scheme, short.repo, short.path) == ("hf", model.repository, file.path)
    assert short.revision == model.revision
    assert parse_model_reference(short.text).text == short.text
    assert re.fullmatch(r"([0-9a-f]{64})?", file.sha256)
    assert file.quantization.lower() in file.path.lower()


def test_hashes_are_distinct() -> None:
    known = sorted(file.sha256 for _, file in FILES if file.sha256)
    assert all(one != other for one, other in pairwise(known))
    assert len(known) >= 15


@pytest.mark.parametrize("text", ["qwen2.5-7b-instruct", "Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct:Q4_K_M"])
def test_a_name_alone_means_the_first_file(text: str) -> None:
    model = BY_NAME["qwen2.5-7b-instruct"]
    assert find_model(text) == (model, model.files[0])


@pytest.mark.parametrize("text", ["", "hf:org/repo/file.gguf", "qwen", "./qwen3-8b", "qwen3-8b/x"])
def test_other_texts_are_no_names(text: str) -> None:
    assert find_model(text) is None


@pytest.mark.parametrize(
    ("text", "error_id", "said"),
    [
        ("eagle-7b", "model-no-runtime", "Transformers"),
        ("qwen3-8b:Q3_K_S", "model-quantization-unknown", "Q4_K_M, Q8_0"),
        ("qwen3-8", "model-reference-invalid", "did you mean qwen3-8b?"),
        ("zzz", "model-reference-invalid", "model catalogue"),
    ],
)
def test_what_cannot_be_served_is_told(text: str, error_id: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_model_reference(text)
    assert caught.value.error_id == error_id
    assert said in caught.value.why + caught.value.hint


def test_close_names() -> None:
    assert close_model("LLAMA-3.1-8b") == "llama-3.1-8b-instruct"
    assert close_model("hf:org/repo") == ""


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ([], ON_CPU),
        ([4 * GIB], ON_CPU),
        ([8 * GIB], CHAT_7B[0].name),
        ([2 * GIB, 24 * GIB], CHAT_7B[0].name),
    ],
)
def test_the_default(cards: list[int], name: str) -> None:
    assert default_model(cards) == name
    assert find_model(name)


def test_the_default_asks_who_knows_better() -> None:
    asked = []

    def fits(file, free: int) -> bool:
        asked.append((file.quantization, free))
        return len(asked) == 3

    assert default_model([GIB], fits) == CHAT_7B[2].name
    assert asked == [(DEFAULT_QUANTIZATION, GIB)] * 3
