"""Our own figures of the runtime's accounting, and the models they were taken on.

``measured_models.jsonl``: headers without a vocabulary, each block's tensors once for all blocks alike;
sizes and keys are those of models that people run, types a mixture of q4_K, q6_K, q5_0, f16 and f32.
``measured_rows.csv``: bytes by device of llama.cpp b11434 (built without its branch for batches of given
embeddings), loaded with ``no_alloc``, outputs for one token a slot as the server asks for; cards 0 and 1 are
RPC devices of 24,105 MiB each; ``unified`` as ``--kv-unified``; the host's re-ordered weights are counted in.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from localai_deploy.domain.fit.estimate import MIB, DeviceNeed, Estimate, estimate
from localai_deploy.domain.fit.reading import read_shape
from localai_deploy.domain.fit.shape import Shape
from localai_deploy.domain.fit.wish import ALL_LAYERS, Card, Wish
from localai_deploy.domain.gguf.header import GgufModel, Tensor
from localai_deploy.domain.gguf.tensor_types import TENSOR_TYPES

_HERE = Path(__file__).parent
_TYPES = {kind.name: kind for kind in TENSOR_TYPES.values()}
CARD_BYTES = 24105 * MIB


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """What one device holds: ``device`` is a card's number or ``host``."""

    model: str
    wish: Wish
    cards: int
    device: str
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.compute_bytes


def measured_rows() -> list[MeasuredRow]:
    with (_HERE / "measured_rows.csv").open() as stream:
        return [_row(row) for row in csv.DictReader(stream)]


@cache
def measured_models() -> dict[str, GgufModel]:
    lines = (_HERE / "measured_models.jsonl").read_text().splitlines()
    return {told["name"]: _model(told) for told in map(json.loads, lines)}


@cache
def shape_of(model: str) -> Shape:
    return read_shape(measured_models()[model])


@cache
def fitted(model: str, wish: Wish, cards: int) -> Estimate:
    return estimate(shape_of(model), wish, [Card(str(number), CARD_BYTES) for number in range(cards)])


def need_of(row: MeasuredRow) -> DeviceNeed:
    """The estimate for the device of ``row``."""
    found = fitted(row.model, row.wish, row.cards).devices
    return found[-1] if row.device == "host" else found[int(row.device)]


def _row(row: dict[str, str]) -> MeasuredRow:
    wish = Wish(
        context=int(row["context"]),
        gpu_layers=int(row["gpu_layers"] or ALL_LAYERS),
        flash_attention=row["flash_attention"] == "on",
        ubatch=int(row["ubatch"]),
        cache_type_k=row["cache_type"],
        cache_type_v=row["cache_type"],
        parallel=int(row["parallel"]),
        cpu_expert_layers=int(row["cpu_expert_layers"]),
        unified=row["unified"] == "1",
    )
    sizes = (int(row[f"{part}_bytes"]) for part in ("weights", "kv", "compute"))
    return MeasuredRow(row["model"], wish, int(row["cards"]), row["device"], *sizes)


def _model(told: dict) -> GgufModel:
    architecture = told["architecture"]
    metadata = {
        f"{architecture}.{key}": tuple(value) if isinstance(value, list) else value
        for key, value in told["metadata"].items()
    }
    return GgufModel({"general.architecture": architecture, **metadata}, tuple(_tensors(told)))


def _tensors(told: dict) -> Iterator[Tensor]:
    for name, (kind, *shape) in told["tensors"].items():
        yield _tensor(name, kind, shape)
    for block in told["blocks"]:
        for number in block["numbers"]:
            for name, (kind, *shape) in block["tensors"].items():
                yield _tensor(f"blk.{number}.{name}", kind, shape)


def _tensor(name: str, kind: str, shape: list[int]) -> Tensor:
    rows = 1
    for size in shape[1:]:
        rows *= size
    return Tensor(name, tuple(shape), kind, _TYPES[kind].row_bytes(shape[0]) * rows, 0)
