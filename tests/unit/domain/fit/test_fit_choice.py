"""Choice: layers, experts, context and quantisation for a machine, and reasons against the rest."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from localai_deploy.domain.fit.choice import (
    Choice,
    Freedom,
    choose,
    largest_context,
    option_of,
    settled,
)
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.near import card_for, faster, nearest
from localai_deploy.domain.fit.offer import (
    Candidate,
    Offer,
    candidate_of,
    offers_of,
    quantization_of,
    scaled,
    worth_reading,
)
from localai_deploy.domain.fit.wish import Card, Wish
from localai_deploy.domain.gguf.parser import parse_header
from localai_deploy.domain.gguf.split import joined
from tests.unit.domain.fit.fit_values import GIB, candidate

TRUTH = Path(__file__).parents[5] / "shared" / "data" / "fit"
MEASURED = pytest.mark.skipif(not TRUTH.is_dir(), reason="the measured rows are not beside this checkout")


def card(gib: float, bandwidth: float = 400e9) -> Card:
    return Card(f"card of {gib:g} GiB", round(gib * GIB), 34, bandwidth)


def machine(*gib: float, ram: float = 64) -> Machine:
    return Machine(tuple(card(one) for one in gib), round(ram * GIB))


def test_everything_where_it_fits() -> None:
    found = settled(candidate(), Wish(), machine(24), Freedom())
    assert (found.gpu_layers >= 33, found.cpu_expert_layers) == (True, 0)


def test_as_many_layers_as_fit_and_not_one_more() -> None:
    place = machine(8)
    found = settled(candidate(), Wish(), place, Freedom())
    assert 0 < found.gpu_layers < 33
    assert option_of(candidate(), found, place).fits
    more = replace(found, gpu_layers=found.gpu_layers + 1)
    assert not option_of(candidate(), more, place).fits


def test_experts_go_to_the_host_first() -> None:
    found = settled(candidate(experts=90), Wish(), machine(8), Freedom())
    assert found.gpu_layers >= 33
    assert 0 < found.cpu_expert_layers < 32


def test_half_the_cache_where_cards_then_hold_more() -> None:
    free = Freedom(cache_types=True)
    wish = Wish(context=8192)

    def types(place: Machine, wish: Wish = wish, free: Freedom = free) -> tuple[str, str]:
        found = settled(candidate(6), wish, place, free)
        return found.cache_type_k, found.cache_type_v

    assert types(machine(8)) == ("q8_0", "q8_0")
    assert types(machine(48)) == ("f16", "f16"), "all is on the card anyway"
    assert types(machine()) == ("f16", "f16"), "no card"
    assert types(machine(8), replace(wish, flash_attention=False)) == ("f16", "f16")
    assert types(machine(8), free=Freedom()) == ("f16", "f16"), "never unless it is asked for"
    longest = settled(candidate(6), wish, machine(7), Freedom(context=True, cache_types=True))
    assert longest.context >= settled(candidate(6), wish, machine(7), Freedom(context=True)).context


def test_what_would_be_faster() -> None:
    place = machine(8)
    partly = option_of(candidate(6), settled(candidate(6), Wish(context=8192), place, Freedom()), place)
    (better,) = faster(partly, place)
    assert better.wish.cache_type_v == "q8_0"
    assert (better.speed.generation or 0) > (partly.speed.generation or 0)
    whole = option_of(candidate(), Wish(), machine(48))
    assert faster(whole, machine(48)) == ()


def test_no_card_no_layers() -> None:
    assert settled(candidate(), Wish(), machine(), Freedom()).gpu_layers == 0


def test_what_is_not_free_stays() -> None:
    fixed = Freedom(gpu_layers=False, cpu_expert_layers=False)
    wish = Wish(gpu_layers=5, cpu_expert_layers=3)
    assert settled(candidate(experts=90), wish, machine(8), fixed) == wish


def test_the_hosts_memory_counts() -> None:
    small = machine(8, ram=4)
    option = option_of(candidate(), settled(candidate(), Wish(), small, Freedom()), small)
    assert [one.kind for one in option.shortages] == ["host"]
    assert option_of(candidate(), Wish(gpu_layers=0), Machine()).fits, "unknown memory is not judged"


def test_the_largest_context() -> None:
    wish = Wish()
    most = largest_context(candidate(), wish, machine(20))
    assert 256 <= most < 8192 or most == 8192
    assert largest_context(candidate(), wish, machine(48)) == 8192, "what it was trained for"
    assert largest_context(candidate(), wish, machine(8)) == 0
    found = settled(candidate(), Wish(), machine(24), Freedom(context=True))
    assert found.context == largest_context(candidate(), Wish(), machine(24))


LADDER = {"F16": 50.7, "Q8_0": 26.7, "Q6_K": 20.8, "Q5_K_M": 18.1, "Q4_K_M": 15.5, "IQ2_M": 8.8}


def ladder(place: Machine) -> tuple[str, dict[str, str]]:
    known = candidate(15.5)
    offers = [Offer(label, label, round(gib * GIB)) for label, gib in LADDER.items()]
    return told(choose([scaled(known, offer) for offer in offers], Wish(), place))


def told(choice: Choice) -> tuple[str, dict[str, str]]:
    best = choice.best.candidate.label if choice.best else ""
    return best, {one.option.candidate.label: one.why for one in choice.rejected}


@pytest.mark.parametrize(
    ("gib", "chosen"), [(8, "Q4_K_M"), (16, "Q4_K_M"), (24, "Q6_K"), (32, "Q8_0"), (80, "Q8_0")]
)
def test_which_quantisation(gib: float, chosen: str) -> None:
    best, why = ladder(machine(gib))
    assert best == chosen
    assert set(why) == set(LADDER) - {chosen}
    assert all(why.values())


def test_why_not_the_others() -> None:
    _, why = ladder(machine(24, ram=24))
    assert why["F16"].startswith("the host needs ")
    assert why["Q8_0"].endswith(" tokens/s")
    assert why["Q8_0"].startswith("not whole on the card: ")
    assert why["Q4_K_M"].startswith("fits too; Q6_K keeps more (6.6")
    assert why["IQ2_M"] == "2.8 bits a weight: answers get visibly worse"


def test_why_not_fewer_bits_where_nothing_is_whole() -> None:
    known = candidate(15.5)
    small = scaled(known, Offer("q3", "Q3_K_M", round(12.3 * GIB)))
    best, why = told(choose([known, small], Wish(), machine(8)))
    assert best == "Q4_K_M"
    assert why["Q3_K_M"].startswith("under 4 bits a weight, and not whole on the card: ")


def test_nothing_fits() -> None:
    best, why = ladder(machine(ram=4))
    assert best == ""
    assert set(why) == set(LADDER)


def test_the_nearest_possible() -> None:
    place = machine(16)
    refused = option_of(candidate(15), Wish(), place)
    assert not refused.fits
    other = scaled(candidate(15), Offer("q3", "Q3_K_M", 12 * GIB))
    near = nearest([candidate(15), other], refused, place)
    assert all(option.fits for option in near)
    assert near[0].wish.gpu_layers < 33
    assert near[-1].candidate.label == "Q3_K_M"
    assert card_for(refused, place) == 17 * GIB


def test_names_tell_quantisations() -> None:
    assert [
        quantization_of(name)
        for name in (
            "gemma-2-27b-it-Q4_K_M.gguf",
            "llama-3-8b.q5_0.gguf",
            "Qwen3-30B-A3B-UD-IQ3_XXS.gguf",
            "Q8_0/model-Q8_0-00001-of-00002.gguf",
            "model-f16.gguf",
            "gpt-oss-20b-mxfp4.gguf",
            "BF16/model-00001-of-00009.gguf",
            "smollm.gguf",
        )
    ] == ["Q4_K_M", "Q5_0", "UD-IQ3_XXS", "Q8_0", "F16", "MXFP4", "BF16", ""]


def test_what_a_repository_offers() -> None:
    files = [
        ("README.md", 1),
        ("m-Q4_K_M.gguf", 40),
        ("Q8_0/m-Q8_0-00002-of-00002.gguf", 30),
        ("Q8_0/m-Q8_0-00001-of-00002.gguf", 50),
        ("F16/m-F16-00001-of-00003.gguf", 90),
        ("mmproj-F16.gguf", 5),
        ("m-Q2_K.gguf", 20),
    ]
    offers = offers_of(files)
    assert offers == (
        Offer("m-Q2_K.gguf", "Q2_K", 20),
        Offer("m-Q4_K_M.gguf", "Q4_K_M", 40),
        Offer("Q8_0/m-Q8_0-00001-of-00002.gguf", "Q8_0", 80, 2),
    )
    assert worth_reading(offers, 50).quantization == "Q4_K_M"
    assert worth_reading(offers, 5).quantization == "Q4_K_M"
    assert worth_reading(offers[::2], 5).quantization == "Q8_0", "the middle where there is no usual one"


@cache
def measured(model: str) -> Candidate:
    content = (TRUTH / "headers" / f"{model}.gguf-header").read_bytes()
    header = parse_header(lambda offset, length: content[offset : offset + length])
    return candidate_of(joined([header]), f"{model}.gguf")


@MEASURED
def test_layers_against_the_runtimes_own_choice() -> None:
    """At most one layer, or the experts of four, from what the runtime settles at; it interpolates."""
    with (TRUTH / "max_offload.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        model = measured(row["model"])
        place = Machine((Card("card", int(row["card_gib"]) * GIB, 34),))
        found = option_of(model, settled(model, Wish(), place, Freedom()), place)
        told = found.estimate.layers if row["ngl"] == "-1" else int(row["ngl"])
        assert abs(found.estimate.gpu_layers - told) <= 1, row
        overflow = int(row["layers_with_experts_or_ffn_overflow"])
        assert -1 <= found.wish.cpu_expert_layers - overflow <= 4, row


@MEASURED
@pytest.mark.parametrize(("gib", "layers"), [(8, 17), (12, 29), (16, 41), (24, 47)])
def test_the_articles_case(gib: int, layers: int) -> None:
    """Gemma 2 27B at 4 bits."""
    model, place = measured("gemma2-27b-Q4_K_M"), machine(gib, ram=32)
    option = option_of(model, settled(model, Wish(), place, Freedom()), place)
    assert option.fits
    assert (option.estimate.gpu_layers, option.estimate.layers) == (layers, 47)


@MEASURED
def test_a_mixture_touches_its_used_experts() -> None:
    """Qwen3 30B-A3B: 3.3 of 30.5 thousand million values a token; its card says so."""
    from localai_deploy.domain.fit.speed import touched

    model = measured("qwen3-30b-a3b-Q4_K_M")
    load = touched(model.shape, Wish(), [card(24)], model.values)
    assert model.values == pytest.approx(30.5e9, rel=0.01)
    assert load.values == pytest.approx(3.3e9, rel=0.1)
