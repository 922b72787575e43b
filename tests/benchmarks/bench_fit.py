"""Estimates against the runtime's own accounting: ``python -m tests.benchmarks.bench_fit``.

First every measured row, by architecture: share of a device's weights, cache and compute buffer by which the
estimate is off, and how many rows it falls short of by more than its own margin. Then peers on the rows that
all of them speak of: one card, everything on it, flash attention, one slot; what they give is held against
both devices' sum. Last, reading headers over HTTP with a vocabulary of 150,000 words: time, requests, bytes.

Rows: ``tests/unit/domain/fit/measured_rows.csv`` and, where it lies beside the checkout,
``../shared/data/fit/memory.csv``. Peers: a file's size and a fifth; hf-mem where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from localai_deploy.domain.fit.estimate import MIB, DeviceNeed
from localai_deploy.domain.gguf.header import GgufModel
from localai_deploy.domain.gguf.parser import parse_header
from localai_deploy.domain.gguf.tensor_types import TENSOR_TYPES
from localai_deploy.hub.ranges import RemoteFile
from tests.unit.domain.fit import test_fit_truth as shared
from tests.unit.domain.fit.measured import (
    MeasuredRow,
    fitted,
    measured_models,
    measured_rows,
    need_of,
    shape_of,
)
from tests.unit.domain.gguf_writing import gguf, pair, tensor
from tests.unit.hub.server import FaultServer

LEAST_BYTES = 16 * MIB
WORDS = pair("tokenizer.ggml.tokens", "[str]", [f"word{number:06}" for number in range(150_000)])
TYPE_NUMBERS = {kind.name: number for number, kind in TENSOR_TYPES.items()}


@dataclass(frozen=True)
class Error:
    """How far an estimate is off, as a share of what is there; whether it is short beyond its margin."""

    share: float
    short: bool


def own_errors() -> Iterator[tuple[tuple[str, str], Error]]:
    for row in measured_rows():
        need = need_of(row)
        yield (shape_of(row.model).architecture, need.kind), error_of(need, row.total_bytes)


def shared_errors() -> Iterator[tuple[tuple[str, str], Error]]:
    for row in shared.rows("memory.csv"):
        wish = shared.wish_of(row)
        need = shared.fitted(row["model"], wish).devices[row["device"] == "Host"]
        told = sum(int(row[f"{part}_mib"]) for part in ("model", "context", "compute"))
        partly = wish.gpu_layers <= len(shared.shape_of(row["model"]).blocks)
        if need.kind == "host" and partly:
            continue  # the rows leave out the host's re-ordered weights
        least, most = told * MIB, (told + 3) * MIB  # each part is cut off to whole MiB
        yield (row["model"][:22], need.kind), error_of(need, min(max(need.parts_bytes, least), most))


def error_of(need: DeviceNeed, told: int) -> Error:
    missing = told - need.parts_bytes
    return Error(-missing / max(told, LEAST_BYTES), missing > need.margin_bytes)


def print_errors(title: str, errors: Iterator[tuple[tuple[str, str], Error]]) -> int:
    """Print a table; gives how many rows are short beyond the margin."""
    found: dict[tuple[str, str], list[Error]] = defaultdict(list)
    for key, error in errors:
        found[key].append(error)
    if not found:
        print(f"{title}: skipped, the rows are not there")
        return 0
    print(f"{title:30} device  rows    mean   worst under  worst over  beyond margin")
    for (name, device), group in [*sorted(found.items()), *totals(found).items()]:
        shares = [error.share for error in group]
        mean, under, over = statistics.mean(map(abs, shares)), min(0.0, *shares), max(0.0, *shares)
        short = sum(error.short for error in group)
        print(f"{name:30} {device:6} {len(group):5}  {mean:6.2%}  {under:11.2%}  {over:10.2%}  {short:13}")
    return sum(error.short for group in found.values() for error in group)


def totals(found: dict[tuple[str, str], list[Error]]) -> dict[tuple[str, str], list[Error]]:
    both: dict[tuple[str, str], list[Error]] = defaultdict(list)
    for (_, device), group in found.items():
        both[("all", device)] += group
    return both


def peers() -> dict[str, Callable[[GgufModel, MeasuredRow], int]]:
    """Name → bytes that the peer gives for a model and a row; raises where it gives nothing."""
    found: dict[str, Callable[[GgufModel, MeasuredRow], int]] = {
        "this program": lambda _model, row: sum(need.parts_bytes for need in needs(row)),
        "file and a fifth": lambda model, _row: round(1.2 * sum(part.size_bytes for part in model.tensors)),
    }
    if importlib.util.find_spec("hf_mem"):
        found["hf-mem"] = hf_mem_bytes
    return found


def needs(row: MeasuredRow) -> tuple[DeviceNeed, ...]:
    return fitted(row.model, row.wish, row.cards).devices


def hf_mem_bytes(model: GgufModel, row: MeasuredRow) -> int:
    from hf_mem.gguf.metadata import parse_gguf_metadata

    told = parse_gguf_metadata(
        header_of(model), experimental=True, max_model_len=row.wish.context, kv_cache_dtype="F16"
    )
    return int(told.bytes_count + told.kv_cache.cache_size)


def print_peers() -> None:
    sums: dict[tuple[str, object], int] = defaultdict(int)
    for row in measured_rows():
        wish = row.wish
        plain = wish.cache_type_k == "f16" and wish.parallel == 1 and wish.flash_attention
        if row.cards == 1 and wish.gpu_layers > 1 << 20 and plain and not wish.cpu_expert_layers:
            sums[(row.model, wish)] += row.total_bytes
    print(f"\n{'estimator':16} rows  without an answer   mean error  worst under (MiB)  worst over (MiB)")
    for name, ask in peers().items():
        errors, silent = [], 0
        for (model, wish), told in sums.items():
            try:
                given = ask(measured_models()[model], MeasuredRow(model, wish, 1, "0", 0, 0, 0))
            except Exception:  # noqa: BLE001
                silent += 1
                continue
            errors.append((given - told, told))
        mean = statistics.mean(abs(off) / told for off, told in errors)
        worst = [edge(off for off, _ in errors) // MIB for edge in (min, max)]
        print(f"{name:16} {len(errors):4}  {silent:17}  {mean:10.2%}  {worst[0]:17,}  {worst[1]:16,}")


def header_of(model: GgufModel, *more: bytes) -> bytes:
    """A header as it stands in a file."""
    kinds = {bool: "bool", int: "u32", float: "f32", str: "str"}
    pairs = [
        pair(key, f"[{kinds[type(value[0])]}]" if isinstance(value, tuple) else kinds[type(value)], value)
        for key, value in model.metadata.items()
    ]
    rows = [tensor(part.name, part.shape, TYPE_NUMBERS[part.type_name]) for part in model.tensors]
    return gguf([*pairs, *more], rows)


def print_reading(count: int) -> None:
    times, requests, received = [], [], []
    for model in list(measured_models().values())[:count]:
        with FaultServer(header_of(model, WORDS) + bytes(16 * MIB)) as server:
            remote = RemoteFile(server.url())
            began = time.perf_counter()
            parse_header(remote.read)
            times.append(1000 * (time.perf_counter() - began))
        requests.append(remote.requests)
        received.append(remote.received / MIB)
    print(
        f"\nreading {len(times)} headers: median {statistics.median(times):.0f} ms, "
        f"slowest {max(times):.0f} ms; requests {min(requests)} to {max(requests)}; "
        f"median {statistics.median(received):.1f} MiB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--headers", type=int, default=20, help="how many to read over HTTP")
    given = parser.parse_args()
    short = print_errors("architecture", own_errors())
    print()
    short += print_errors("shared rows", shared_errors())
    print_peers()
    print_reading(given.headers)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
