"""Measures on request: how fast the model answers, what it takes, and what the card's work costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from localai_deploy.verifier.checking import Evidence, check, expect_none
from localai_deploy.verifier.measures import LEAST_REPEATS, measures

_RATES = ("prompt_n", "prompt_per_second", "predicted_n", "predicted_per_second")


@check("bench", "speed, memory and energy are measured")
def test_bench(bench: Mapping[str, Any], evidence: Evidence) -> None:
    expect_none(bench_problems(bench))
    evidence.update(measures(bench))


def bench_problems(bench: Mapping[str, Any]) -> Iterator[str]:
    """What leaves nothing to calculate with."""
    if bench["error"]:
        yield f"the server cannot be measured: {bench['error']}"
    elif len(bench["windows"]) < LEAST_REPEATS:
        yield f"there are {len(bench['windows'])} repeats; a spread takes {LEAST_REPEATS}"
    elif not all(one[name] > 0 for window in bench["windows"] for one in window for name in _RATES):
        yield "the server tells no tokens per second"
