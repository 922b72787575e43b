"""Original weights in the words of GGUF: held against GGUF models of the same originals."""

from __future__ import annotations

import random
import time

import pytest

from localai_deploy.domain.fit.estimate import Card, estimate
from localai_deploy.domain.fit.offer import conversions
from localai_deploy.domain.fit.reading import read_shape
from localai_deploy.domain.fit.wish import Wish
from localai_deploy.domain.safetensors.as_gguf import as_gguf
from localai_deploy.domain.safetensors.header import StoredTensor
from localai_deploy.errors import LocalaiError
from tests.unit.domain.fit.measured import measured_models, shape_of
from tests.unit.domain.safetensors.published import PUBLISHED, config

CARDS = [Card("card", 80 << 30)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_same_model_as_a_gguf_of_it(name: str) -> None:
    told, rows = PUBLISHED[name]()
    model = as_gguf(rows, told)
    ours, theirs = (
        sum(t.values for t in model.tensors),
        sum(t.values for t in measured_models()[name].tensors),
    )
    assert ours == pytest.approx(theirs, rel=0.001)
    for wish in (Wish(context=8192), Wish(context=16384, flash_attention=False), Wish(gpu_layers=9)):
        found = estimate(read_shape(model), wish, CARDS).devices
        made = estimate(shape_of(name), wish, CARDS).devices
        assert [one.kv_bytes for one in found] == [one.kv_bytes for one in made]
        assert found[0].compute_bytes == pytest.approx(made[0].compute_bytes, rel=0.1)


def test_what_can_be_made_of_it() -> None:
    told, rows = PUBLISHED["qwen25-7b"]()
    made = conversions(as_gguf(rows, told), "org/repo")
    sizes = {one.quantization: one.size_bytes / 1e9 for one in made}
    assert sizes["F16"] == pytest.approx(15.2, abs=0.1)
    assert sizes["Q4_K_M"] == pytest.approx(4.68, abs=0.1)
    found = estimate(made[0].shape, Wish(), CARDS)
    assert (found.confidence, made[0].exact) == ("bound", False)


def test_latent_attention_caches_its_rank() -> None:
    told = config("deepseek_v3", 2, 7168, 128, 128, kv_lora_rank=512, qk_rope_head_dim=64)
    told |= {"qk_nope_head_dim": 128, "v_head_dim": 128}
    parts = {"kv_a_proj_with_mqa": (576, 7168), "q_b_proj": (24576, 1536), "o_proj": (7168, 16384)}
    rows = [StoredTensor("model.embed_tokens.weight", "F8_E4M3", (1000, 7168), 7168000)]
    for number in range(3):
        for name, shape in parts.items():
            weight = f"model.layers.{number}.self_attn.{name}.weight"
            rows.append(StoredTensor(weight, "BF16", shape, 2 * shape[0] * shape[1]))
    shape = read_shape(as_gguf(rows, told))
    assert len(shape.blocks) == 2
    assert estimate(shape, Wish(context=4096), CARDS).devices[0].kv_bytes == 2 * 4096 * 576 * 2


def test_towers_of_pictures_are_left_out() -> None:
    told, rows = PUBLISHED["qwen25-7b"]()
    tower = [
        StoredTensor(name, "BF16", (64, 64), 8192)
        for name in ("visual.blocks.0.attn.qkv.weight", "model.vision_tower.layers.1.q_proj.weight")
    ]
    nested = {"model_type": "qwen2_5_vl", "text_config": told}
    assert as_gguf([*rows, *tower], nested).tensors == as_gguf(rows, told).tensors


def test_damaged_configs_take_bounded_time() -> None:
    told, rows = PUBLISHED["mixtral-8x7b"]()
    for seed in range(20):
        chance = random.Random(seed)
        wrong = {key: chance.choice([0, -1, 1 << 40, "x", None, [], {}, True, 7]) for key in told}
        damaged = {**told, **{key: wrong[key] for key in chance.sample(sorted(wrong), 3)}}
        shapes = ((), (1,), (3, 5, 7), (1 << 20, 1 << 20))
        odd = [
            StoredTensor(row.name, chance.choice(["F4", "I32"]), chance.choice(shapes), 64) for row in rows
        ]
        begin = time.monotonic()
        try:
            estimate(read_shape(as_gguf(odd, damaged)), Wish(gpu_layers=3), CARDS)
        except LocalaiError as error:
            assert error.error_id == "fit-model-unknown"  # noqa: PT017
        assert time.monotonic() - begin < 5
