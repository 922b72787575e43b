"""Headers that say what cannot be: an estimate or our error, in bounded time."""

from __future__ import annotations

import random
import time

import pytest

from localai_deploy.domain.fit.estimate import MIB, Card, Estimate, estimate
from localai_deploy.domain.fit.reading import read_shape
from localai_deploy.domain.fit.wish import Wish
from localai_deploy.domain.gguf.header import GgufModel, SkippedValue, Tensor
from localai_deploy.errors import LocalaiError
from tests.unit.domain.fit.measured import measured_models

VALUES = (
    0,
    1,
    -1,
    7,
    1 << 31,
    1 << 63,
    True,
    1.5,
    "text",
    (),
    (0, 0),
    (1, 1 << 40),
    (1.5,),
    SkippedValue("x", 9),
)
MODELS = [name for name, model in measured_models().items() if len(model.tensors) < 450]


def outcome(model: GgufModel) -> Estimate | None:
    try:
        return estimate(
            read_shape(model), Wish(gpu_layers=9, cpu_expert_layers=3), [Card("card", 24 << 30)] * 2
        )
    except LocalaiError as error:
        assert error.error_id in ("fit-model-unknown", "fit-wish-impossible")  # noqa: PT017
        return None


def damaged(model: GgufModel, chance: random.Random) -> GgufModel:
    metadata, tensors = dict(model.metadata), list(model.tensors)
    for key in chance.sample(sorted(metadata), min(3, len(metadata))):
        metadata[key] = (
            chance.choice(VALUES) if key != "general.architecture" else chance.choice(["", "new", "bert"])
        )
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(tensors))
        part = tensors[at]
        shape = tuple(chance.choice([1, 3, 256, 1 << 20]) for _ in range(chance.randrange(5)))
        tensors[at] = Tensor(part.name, shape, part.type_name, part.size_bytes, 0)
    return GgufModel(
        metadata, tuple(chance.sample(tensors, chance.randrange(len(tensors) // 2, len(tensors))))
    )


@pytest.mark.parametrize("name", MODELS)
def test_damaged_headers(name: str) -> None:
    chance = random.Random(name)
    for _ in range(4):
        begin = time.monotonic()
        found = outcome(damaged(measured_models()[name], chance))
        assert time.monotonic() - begin < 10
        if found:
            assert all(need.total_bytes >= 0 and need.margin_bytes >= 0 for need in found.devices)


def test_an_architecture_that_nobody_knows_is_bounded() -> None:
    known = measured_models()["qwen3-8b"]
    metadata = {key.replace("qwen3.", "new."): value for key, value in known.metadata.items()}
    unknown = GgufModel({**metadata, "general.architecture": "new"}, known.tensors)
    found, sure = (
        estimate(read_shape(model), Wish(), [Card("card", 24 << 30)]) for model in (unknown, known)
    )
    assert (found.confidence, sure.confidence) == ("bound", "exact")
    assert found.devices[0].parts_bytes == sure.devices[0].parts_bytes
    assert found.devices[0].margin_bytes > sure.devices[0].margin_bytes


def test_as_many_experts_as_nobody_has_take_bounded_time() -> None:
    known = measured_models()["olmoe-7b"]
    unreal = GgufModel({**known.metadata, "olmoe.expert_used_count": 1 << 30}, known.tensors)
    begin = time.monotonic()
    assert estimate(read_shape(unreal), Wish(), [Card("card", 24 << 30)]).devices[0].compute_bytes > MIB
    assert time.monotonic() - begin < 10
