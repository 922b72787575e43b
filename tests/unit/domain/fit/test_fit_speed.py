"""Speed: what a token touches where, against public measurements, and corrected by one of our own."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean

import pytest

from localai_deploy.domain.fit.calibration import calibrate, measured, timing_data, timing_from
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.shape import Attention, Block, Experts, Shape
from localai_deploy.domain.fit.speed import (
    FAST,
    LIKELY,
    SLOW,
    Load,
    Timing,
    Touched,
    speed_of,
    token_seconds,
    touched,
)
from localai_deploy.domain.fit.wish import Card, Wish
from localai_deploy.domain.gpu.catalogue import FIGURES
from localai_deploy.errors import InputError

TRUTH = Path(__file__).parents[5] / "shared" / "data" / "fit" / "speed.csv"
GIB = 1 << 30
CARD = Card("card", 24 * GIB, 80, 1000e9)
MEASURED = pytest.mark.skipif(not TRUTH.is_file(), reason="the measured rows are not beside this checkout")


def block(weights: int, experts: int = 0) -> Block:
    found = Experts(16, 4, 256, normed=True) if experts else None
    attention = Attention(8, 1024, 256, 256)
    return Block(weights, experts, attention, None, found, 4096, True, False, False, False, False)


def shape(*blocks: Block, tied: int = 0) -> Shape:
    return Shape("llama", 1024, 2048, blocks, 500, 700, tied, 0, True)


DENSE = shape(*[block(1_000_000)] * 4)
MIXED = shape(*[block(1_000_000, 800_000)] * 4)


def test_all_on_the_card() -> None:
    load = touched(DENSE, Wish(), [CARD], 10)
    assert load.cards == (Load(4_000_700, 4),)
    assert load.host == Load(0, 0)
    assert load.host_weights_bytes == 0


def test_some_blocks_on_the_host() -> None:
    load = touched(DENSE, Wish(gpu_layers=3), [CARD], 10)
    assert load.cards == (Load(2_000_700, 2),)
    assert load.host == Load(2_000_000, 2)


def test_no_card_reads_everything_on_the_host() -> None:
    assert touched(DENSE, Wish(), [], 10).host == Load(4_000_700, 4)


def test_only_used_experts_are_read() -> None:
    assert touched(MIXED, Wish(), [CARD], 10).cards == (Load(4 * 400_000 + 700, 4),)


def test_experts_on_the_host() -> None:
    load = touched(MIXED, Wish(cpu_expert_layers=3), [CARD], 10)
    assert load.cards == (Load(4 * 200_000 + 200_000 + 700, 4),)
    assert load.host.read_bytes == 3 * 200_000
    assert load.host_weights_bytes == 3 * 800_000


def test_values_met_are_the_share_that_is_touched() -> None:
    whole = 4_000_000 + 500 + 700
    assert touched(DENSE, Wish(), [CARD], whole).values == pytest.approx(4_000_700)


def test_seconds_add_up() -> None:
    load = Touched((Load(900_000_000, 10), Load(900_000_000, 10)), Load(40_000_000, 2), 0, 0)
    seconds = token_seconds(load, Machine((CARD, CARD)), LIKELY)
    assert seconds == pytest.approx(2 * 0.001 + 20 * 70e-6 + 0.001 + 0.28e-3)


def test_an_unknown_bandwidth_is_not_guessed() -> None:
    speed = speed_of(DENSE, Wish(), Machine((Card("card", 8 * GIB),)), 10)
    assert (speed.basis, speed.generation, speed.prompt_range) == ("unknown", None, None)


def test_the_likely_figure_lies_in_its_range_and_falls_with_the_context() -> None:
    speed = speed_of(DENSE, Wish(context=32768), Machine((CARD,)), 1_000_000)
    low, high = speed.generation_range
    assert low < speed.generation < high
    assert speed.full_context < speed.generation
    assert speed.basis == "formula"
    assert 0 < speed.prompt_range[0] < speed.prompt_range[1]
    assert speed.first_token_range_s[0] < speed.first_token_range_s[1]


def test_the_hosts_bandwidth_can_be_told() -> None:
    speeds = [
        speed_of(DENSE, Wish(), Machine(host_bandwidth_bytes_s=rate), 10).generation for rate in (20e9, 80e9)
    ]
    assert speeds[1] == pytest.approx(4 * speeds[0])


LARGE = Touched((Load(4 * GIB, 32),), Load(0, 0), 0, 0)
SPLIT = Touched((Load(2 * GIB, 16),), Load(2 * GIB, 16), 0, 0)


@pytest.mark.parametrize(
    ("load", "rate", "corrected"),
    [
        (LARGE, 100.0, {"layer_s", "stacked_layer_s"}),
        (LARGE, 400.0, {"layer_s", "stacked_layer_s", "efficiency", "stacked_efficiency"}),
        (SPLIT, 10.0, {"host_bytes_s"}),
    ],
)
def test_a_measured_run_corrects_what_is_known_least(load: Touched, rate: float, corrected: set[str]) -> None:
    machine = Machine((CARD,))
    timing = calibrate(load, machine, rate)
    assert 1 / token_seconds(load, machine, timing) == pytest.approx(rate)
    assert {
        name for name, value in timing_data(timing).items() if value != getattr(LIKELY, name)
    } == corrected


def test_the_measured_model_has_its_measured_speed_and_others_are_calibrated() -> None:
    machine = Machine((CARD,))
    assert measured(DENSE, Wish(), machine, 10, 77.0).generation == 77.0
    timing = calibrate(LARGE, machine, 100.0)
    assert speed_of(DENSE, Wish(), machine, 10, timing).basis == "calibrated"
    assert timing_from(timing_data(timing)) == timing


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {**timing_data(LIKELY), "efficiency": "0.9"},
        {**timing_data(LIKELY), "layer_s": -1.0},
        {**timing_data(LIKELY), "host_bytes_s": 0.0},
        {**timing_data(LIKELY), "efficiency": float("nan")},
    ],
)
def test_calibrations_that_cannot_be(data: object) -> None:
    with pytest.raises(InputError) as caught:
        timing_from(data)
    assert caught.value.error_id == "fit-measurement-invalid"


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_measurements_that_cannot_be(rate: float) -> None:
    with pytest.raises(InputError):
        calibrate(LARGE, Machine((CARD,)), rate)


VOCABULARY, WIDTHS = 128256, {"llama 8B": (4096, 32), "llama 70B": (8192, 80)}
EMBEDDING_BYTES = {"Q4_K - Medium": 144 / 256, "F16": 2.0}


def measured_rows() -> list[tuple[str, Touched, Machine, float]]:
    """Card, load, machine and tokens/s of each row whose model's layout is told by its name."""
    found = []
    with TRUTH.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["tier"] == "A"]
    for row in rows:
        width, blocks = WIDTHS[row["model"]]
        read = float(row["model_size_gib"]) * GIB - VOCABULARY * width * EMBEDDING_BYTES[row["quant"]]
        count = int(row["gpu_count"])
        loads = tuple(Load(round(read / count), blocks // count) for _ in range(count))
        figures = next(one for one in FIGURES.values() if one.name == row["gpu"] and one.bandwidth_gb_s)
        card = Card(row["gpu"], 0, figures.sms, figures.bandwidth_gb_s * 1e9, "H100" in row["gpu"])
        rate = float(row["tg_tps"])
        found.append((row["gpu"], Touched(loads, Load(0, 0), 0, 0), Machine((card,) * count), rate))
    return found


def errors(rows: list[tuple[str, Touched, Machine, float]], timing: Timing) -> list[float]:
    return [1 / token_seconds(load, machine, timing) / rate - 1 for _, load, machine, rate in rows]


@MEASURED
@pytest.mark.parametrize(("stacked", "count"), [(False, 29), (True, 7)])
def test_generation_against_public_measurements(stacked: bool, count: int) -> None:
    rows = [row for row in measured_rows() if ("H100" in row[0]) == stacked]
    found = errors(rows, LIKELY)
    print(f"\n{count} rows: mean {mean(map(abs, found)):.1%}, {min(found):+.1%} to {max(found):+.1%}")
    assert len(found) == count
    assert mean(map(abs, found)) < 0.05
    assert max(map(abs, found)) < 0.20
    for (_, load, machine, rate), low, high in zip(rows, errors(rows, SLOW), errors(rows, FAST), strict=True):
        assert low <= 0.02 and high >= 0, (load, machine, rate)


@MEASURED
def test_leave_one_card_out() -> None:
    """Efficiency and seconds a layer are fitted without the card that they are then held against."""
    rows = [row for row in measured_rows() if "H100" not in row[0]]
    grid = [
        Timing(share / 100, 1.0, layer * 1e-6, 0.0, 1.0)
        for share in range(84, 100, 2)
        for layer in range(50, 121, 10)
    ]
    left: list[float] = []
    for name in {row[0] for row in rows}:
        others = [row for row in rows if row[0] != name]
        best = min(grid, key=lambda timing: mean(map(abs, errors(others, timing))))
        found = errors([row for row in rows if row[0] == name], best)
        left += found
        print(
            f"\n{name:36} {best.efficiency:.2f} {best.layer_s * 1e6:3.0f} µs {mean(map(abs, found)):6.1%}",
            end="",
        )
    print(f"\nleave one card out: mean {mean(map(abs, left)):.1%}, {min(left):+.1%} to {max(left):+.1%}")
    assert mean(map(abs, left)) < 0.064
    assert max(map(abs, left)) < 0.20
