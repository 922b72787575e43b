"""Measures of ``verify --bench`` as lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localai_deploy.domain.units import format_bytes
from localai_deploy.verifier.report import Outcome, Report

_LABEL_WIDTH = 13


def bench_lines(report: Report, host: str) -> Iterator[str]:
    """Lines of a host that was measured; nothing where it was not, or not to the end."""
    found = report.find(host, "bench")
    if found is None or found.outcome is not Outcome.PASS:
        return
    figures: Mapping[str, Any] = found.evidence
    yield f"{host}: measured"
    for label, text in _lines(figures):
        yield f"  {label:<{_LABEL_WIDTH}}{text}"


def _lines(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    prompt, generated = figures["prompt_tokens"], figures["generated_tokens"]
    yield "prompt", f"{_spread(figures['prompt_tokens_per_s'], 'tokens/s')} of {prompt} tokens"
    yield "generation", f"{_spread(figures['generation_tokens_per_s'], 'tokens/s')} of {generated} tokens"
    yield "first token", _spread(figures["first_token_s"], "s")
    load_s = figures["load_s"]
    yield "load", "the service's log does not tell" if load_s is None else f"{load_s:.1f} s from the start"
    yield "memory", _resident(figures["resident"])
    for device, text in _buffers(figures["buffers"]):
        yield "", f"{device}: {text}"
    for card in figures["energy"]:
        yield from _energy(card)
    if not figures["energy"]:
        yield "energy", f"not measured: {figures['no_energy'] or 'NVML shows no card'}"


def _spread(figure: Mapping[str, Any], unit: str) -> str:
    """``80.5 tokens/s (78.2 to 81.0, 3 repeats)``."""
    least, most = f"{figure['least']:.4g}", f"{figure['most']:.4g}"
    return f"{figure['median']:.4g} {unit} ({least} to {most}, {figure['repeats']} repeats)"


def _resident(parts: Mapping[str, int]) -> str:
    own, mapped = format_bytes(parts["anonymous_bytes"]), format_bytes(parts["file_bytes"])
    return f"{own} of its own and {mapped} of mapped files in main memory"


def _buffers(buffers: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    by_device: dict[str, list[str]] = defaultdict(list)
    for one in buffers:
        by_device[one["device"]].append(f"{one['part']} {format_bytes(one['bytes'])}")
    for device, parts in by_device.items():
        yield device, ", ".join(parts)


def _energy(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "energy", f"{card['uuid']} by {card['by']}, {card['idle_w']:.4g} W idle subtracted"
    for name, label in (("joules_per_generated_token", "answer"), ("joules_per_prompt_token", "prompt")):
        yield "", f"{_spread(card[name], 'J')} per token of {label}, windows of {card['window_s']:.0f} s"
