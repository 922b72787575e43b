"""What runs beside a model: a second one that guesses ahead, a projector, earlier prompts."""

from __future__ import annotations

import pytest

from localai_deploy.domain.fit.estimate import MIB, Card, estimate
from localai_deploy.domain.fit.projector import read_projector
from localai_deploy.domain.fit.wish import Wish
from localai_deploy.domain.gguf.parser import parse_header
from localai_deploy.domain.gguf.split import joined
from localai_deploy.errors import LocalaiError
from tests.unit.domain.fit.measured import measured_models, shape_of
from tests.unit.domain.gguf_writing import gguf, pair, tensor

CARDS = [Card("first", 24 << 30, 84), Card("second", 12 << 30, 84)]
MODEL, DRAFT = "qwen25-7b", "qwen25-05b"


def projector(**keys: int):
    pairs = [pair("general.architecture", "str", "clip")]
    pairs += [pair(f"clip.vision.{key.replace('__', '.')}", "u32", value) for key, value in keys.items()]
    content = gguf(pairs, [tensor("v.blk.0.attn_q.weight", (1024, 1024), 1)])
    return read_projector(joined([parse_header(lambda offset, length: content[offset : offset + length])]))


def test_a_draft_model_lies_beside_its_model() -> None:
    wish = Wish(context=8192)
    plain = estimate(shape_of(MODEL), wish, CARDS)
    both = estimate(shape_of(MODEL), wish, CARDS, draft=shape_of(DRAFT))
    alone = estimate(shape_of(DRAFT), wish, CARDS)
    assert [need.draft_bytes for need in both.devices] == [need.parts_bytes for need in alone.devices]
    for before, after, more in zip(plain.devices, both.devices, alone.devices, strict=True):
        assert after.parts_bytes == before.parts_bytes
        assert after.total_bytes - before.total_bytes == more.parts_bytes
        assert after.margin_bytes == before.margin_bytes + more.margin_bytes


def test_a_draft_model_stays_on_the_host_with_its_model() -> None:
    found = estimate(shape_of(MODEL), Wish(gpu_layers=0), CARDS, draft=shape_of(DRAFT))
    assert [need.draft_bytes > 0 for need in found.devices] == [False, False, True]


def test_a_projector_lies_on_the_first_card() -> None:
    more = projector(embedding_length=1024, feed_forward_length=4096, attention__head_count=16, patch_size=14)
    assert more.weights_bytes == 2 * MIB
    assert more.compute_bytes > 100 * MIB
    first, second, host = estimate(shape_of(MODEL), Wish(), CARDS, projector=more).devices
    assert first.projector_bytes == more.weights_bytes + more.compute_bytes
    assert (second.projector_bytes, host.projector_bytes) == (0, 0)
    assert estimate(shape_of(MODEL), Wish(), [], projector=more).devices[0].projector_bytes > 0


GEMMA3 = {"embedding_length": 1152, "feed_forward_length": 4304, "image_size": 896, "patch_size": 14}


def test_a_buffer_as_the_runtime_reported_it() -> None:
    flash = projector(**GEMMA3, attention__head_count=16)
    assert flash.compute_bytes == 121.25 * MIB
    without = projector(**GEMMA3, attention__head_count=8)
    assert without.compute_bytes + without.margin_bytes > (512 + 6 * 18) * MIB
    assert flash.margin_bytes < 40 * MIB


def test_pictures_of_free_size_may_grow() -> None:
    sizes = {"embedding_length": 1280, "feed_forward_length": 3420, "attention__head_count": 16}
    free = projector(**sizes, image_size=560, patch_size=14, spatial_merge_size=2)
    assert free.compute_bytes == 4 * 46 * 46 * 4 * (3420 + 3 * 1280)
    assert free.margin_bytes > 0.9 * free.compute_bytes


def test_another_kind_of_file_is_no_projector() -> None:
    with pytest.raises(LocalaiError) as caught:
        read_projector(measured_models()["qwen25-05b"])
    assert caught.value.error_id == "fit-projector-unknown"


def test_a_projector_of_an_unknown_kind_counts_half_its_weights_again() -> None:
    more = projector()
    assert (more.weights_bytes, more.compute_bytes) == (2 * MIB, MIB)


def test_earlier_prompts_are_stated_apart() -> None:
    found = estimate(shape_of(MODEL), Wish(), CARDS)
    assert found.prompt_cache_bytes == 8192 * MIB
    assert found.devices[-1].total_bytes < 2048 * MIB
