"""The estimate against the runtime's own accounting, row by row; the table is printed with ``-s``."""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from localai_deploy.domain.fit.cache import cache_bytes
from localai_deploy.domain.fit.compute import Share, compute_bytes
from localai_deploy.domain.fit.estimate import MIB, Card, DeviceNeed, Estimate, estimate
from localai_deploy.domain.fit.reading import read_shape
from localai_deploy.domain.fit.shape import Attention, Block, Shape
from localai_deploy.domain.fit.wish import Wish
from localai_deploy.domain.gguf.parser import parse_header
from localai_deploy.domain.gguf.split import joined

TRUTH = Path(__file__).parents[5] / "shared" / "data" / "fit"
pytestmark = pytest.mark.skipif(not TRUTH.is_dir(), reason="the measured rows are not beside this checkout")
LIMIT = {"exact": 0.01, "close": 0.03}
ROUNDING_MIB = 1
"""The rows are whole MiB, cut off, for each of three parts."""


def rows(name: str) -> list[dict[str, str]]:
    path = TRUTH / name
    if not path.is_file():
        return []
    with path.open() as stream:
        return list(csv.DictReader(stream))


@cache
def shape_of(model: str) -> Shape:
    content = (TRUTH / "headers" / f"{model}.gguf-header").read_bytes()
    return read_shape(joined([parse_header(lambda offset, length: content[offset : offset + length])]))


def wish_of(row: dict[str, str]) -> Wish:
    return Wish(
        context=int(row.get("ctx") or row["n_ctx"]),
        gpu_layers=int(row.get("ngl") or 0),
        flash_attention=row["fa"] == "on",
        ubatch=int(row.get("ub") or row["n_ubatch"]),
        cache_type_k=row["ctk"],
        cache_type_v=row["ctv"],
        parallel=int(row.get("np_") or row["n_parallel"]),
    )


@cache
def fitted(model: str, wish: Wish) -> Estimate:
    return estimate(shape_of(model), wish, [Card("card", 1 << 40)])


def parts_mib(need: DeviceNeed) -> list[float]:
    return [size / MIB for size in (need.weights_bytes, need.kv_bytes, need.compute_bytes)]


def test_every_row_of_memory() -> None:
    worst: dict[tuple[str, str], list[float]] = defaultdict(list)
    wrong = []
    for row in rows("memory.csv"):
        wish = wish_of(row)
        found = fitted(row["model"], wish)
        need = found.devices[0 if row["device"] != "Host" else 1]
        told = [int(row[f"{part}_mib"]) for part in ("model", "context", "compute")]
        mine = parts_mib(need)
        if row["device"] == "Host" and wish.gpu_layers <= len(shape_of(row["model"]).blocks):
            told[0], mine[0] = 0, 0  # the runtime shows re-ordered weights of the host elsewhere
        low, high = sum(told), sum(told) + len(told) * ROUNDING_MIB
        error = min(sum(mine) - low, 0) + max(sum(mine) - high, 0)
        worst[(row["model"], need.kind)].append(error / max(low, 1))
        if abs(error) > LIMIT[found.confidence] * low or error < -1:
            wrong.append((row, [round(value, 1) for value in mine]))
    print_table(worst)
    assert not wrong, wrong


def print_table(errors: dict[tuple[str, str], list[float]]) -> None:
    print(f"\n{'model':24} {'device':6} rows   mean |error|  worst under  worst over")
    for (model, device), found in sorted(errors.items()):
        mean = sum(map(abs, found)) / len(found)
        low, high = min(0.0, *found), max(0.0, *found)
        print(f"{model:24} {device:6} {len(found):4}   {mean:11.2%}  {low:11.2%}  {high:10.2%}")


@pytest.mark.parametrize("part", ["weights_bytes", "kv_bytes", "compute_bytes"])
def test_every_part_on_the_card(part: str) -> None:
    column = {"weights_bytes": "model", "kv_bytes": "context", "compute_bytes": "compute"}[part]
    for row in rows("memory.csv"):
        if row["device"] == "Host":
            continue
        mine = getattr(fitted(row["model"], wish_of(row)).devices[0], part) / MIB
        told = int(row[f"{column}_mib"])
        assert told - 0.5 <= mine <= told + 1.05 * ROUNDING_MIB, row


def shape_of_row(row: dict[str, str]) -> Shape:
    """Build a shape from the columns of the server's rows: both models are dense and tied."""
    heads, kv_heads = int(row["head_count"]), int(row["head_count_kv"])
    embedding = int(row["embedding_length"])
    length = int(row["key_length"] or embedding // heads)
    gemma = row["arch"] == "gemma3"
    blocks = tuple(
        Block(
            weights_bytes=0,
            expert_bytes=0,
            attention=Attention(
                heads,
                heads * length,
                kv_heads * length,
                kv_heads * length,
                windowed=gemma and number % 6 < 5,
                normed=gemma,
            ),
            recurrence=None,
            experts=None,
            feed_forward=int(row["feed_forward"]),
            gated=True,
            fused_gate=False,
            attention_post_norm=gemma,
            feed_forward_post_norm=gemma,
            beside=False,
        )
        for number in range(int(row["block_count"]))
    )
    window = int(row["n_swa"] or 0)
    return Shape(row["arch"], embedding, int(row["vocab"]), blocks, 0, 0, 0, window, known=True)


def test_every_row_of_the_server_without_a_card() -> None:
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows("memory_server_cpu.csv"):
        if row["status"] != "0":
            continue
        shape, wish = shape_of_row(row), wish_of(row)
        kv = sum(cache_bytes(shape, block, wish) for block in shape.blocks) / MIB
        told = float(row["kv_MiB"]) + float(row["kv_swa_MiB"] or 0)
        assert kv == pytest.approx(told, abs=0.02), row
        share = Share(0, len(shape.blocks), output=True, host=True, alone=True)
        compute = compute_bytes(shape, wish, share) / MIB
        total = float(row["model_cpu_MiB"]) + told + float(row["compute_MiB"])
        errors[(row["model"][:24], "host")].append((compute - float(row["compute_MiB"])) / total)
    print_table(errors)
    assert all(-0.0005 <= error <= 0.015 for found in errors.values() for error in found), dict(errors)


def test_the_largest_offload_of_dense_models() -> None:
    """The runtime's own choice at 4096 tokens with 1 GiB left free; -1 stands for all layers.

    Its search ends one layer short of the limit at times.
    """
    for row in rows("max_offload.csv"):
        shape = shape_of(row["model"])
        if not shape.dense:
            continue
        room = (int(row["card_gib"]) - 1) * 1024 * MIB
        fitting = [
            count
            for count in range(shape.layers + 1)
            if fitted(row["model"], Wish(gpu_layers=count)).devices[0].parts_bytes <= room
        ]
        told = int(row["ngl"])
        assert max(fitting) - (shape.layers if told < 0 else told) in (0, 1), row
