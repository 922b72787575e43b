"""What ``fit`` prints for people: a bar and a row of parts for each device, speed, and reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import click

from localai_deploy.domain.fit.choice import Choice, Option, layers_text, option_of, shortage_text
from localai_deploy.domain.fit.dry_run import TOOL, difference_text
from localai_deploy.domain.fit.estimate import MARGINS, DeviceNeed
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.speed import PROMPT_TOKENS, Speed
from localai_deploy.domain.fit.wish import ALL_LAYERS, Wish
from localai_deploy.domain.units import format_bytes
from localai_deploy.workflow.second_opinion import SecondOpinion

BAR = 24
_PARTS = (
    ("weights", "█"),
    ("cache", "▓"),
    ("compute", "▒"),
    ("CUDA", "░"),
    ("draft", "▚"),
    ("projector", "▞"),
)
_ALWAYS = 4
"""So many parts are shown also where they are nothing."""
GIB = 1 << 30
_NOT_EXACT = "sizes follow from another quantisation's header"


def option_lines(option: Option, machine: Machine) -> Iterator[str]:
    """One way to serve a model."""
    candidate = option.candidate
    size = f"{candidate.values / 1e9:.1f}e9 values, {candidate.bits_per_weight:.1f} bits each"
    head = click.style(candidate.name, bold=True)
    yield f"{head}  {candidate.shape.architecture}, {size}, {format_bytes(candidate.size_bytes)}"
    yield f"  {started_text(option.wish, option.estimate.gpu_layers)}"
    if candidate.trained_context and option.wish.context > candidate.trained_context:
        yield f"  ! it was trained for {candidate.trained_context} tokens"
    yield ""
    yield from device_lines(option, machine)
    yield ""
    if not option.fits:
        return
    yield f"  {layers_text(option)}" if machine.cards else "  no card: everything on the host"
    for line in speed_lines(option, machine):
        yield f"  {line}"
    margin = MARGINS[option.estimate.confidence]
    note = "" if candidate.exact else f"; {_NOT_EXACT}"
    yield f"  confidence: {option.estimate.confidence}, parts within {margin:.0%}{note}"


def started_text(wish: Wish, gpu_layers: int) -> str:
    """How the server is started, in its own words."""
    words = [f"-c {wish.context}", f"-ngl {gpu_layers}", f"-ub {wish.ubatch}", f"-np {wish.parallel}"]
    words.append(f"-fa {'on' if wish.flash_attention else 'off'}")
    words.append(f"-ctk {wish.cache_type_k} -ctv {wish.cache_type_v}")
    if wish.cpu_expert_layers:
        words.append(f"--n-cpu-moe {wish.cpu_expert_layers}")
    return " ".join(words)


def device_lines(option: Option, machine: Machine) -> Iterator[str]:
    """A bar and a row of parts for each device, in GiB."""
    names = [*(card.name for card in machine.cards), "host"]
    there = [*(card.memory_bytes for card in machine.cards), machine.ram_bytes]
    width = max(map(len, names))
    needs = option.estimate.devices
    parts = [at for at in range(len(_PARTS)) if at < _ALWAYS or any(_parts(need)[at] for need in needs)]
    heads = [*(" ".join(_PARTS[at]) for at in parts), "margin", "of GiB"]
    yield f"  {'':<{width}}  {'':<{BAR}} {'GiB':>6}  " + "".join(f"{head:>11}" for head in heads)
    for name, need, size in zip(names, needs, there, strict=True):
        row = "".join(
            f"{one / GIB:>11.2f}" for one in (*(_parts(need)[at] for at in parts), need.margin_bytes)
        )
        of = f"{size / GIB:>11.2f}" if size else f"{'?':>11}"
        yield f"  {name:<{width}}  {_bar(need, size)} {need.total_bytes / GIB:>6.2f}  {row}{of}"


def _parts(need: DeviceNeed) -> list[int]:
    own = [need.weights_bytes, need.kv_bytes, need.compute_bytes, need.context_overhead_bytes]
    return [*own, need.draft_bytes, need.projector_bytes]


def _bar(need: DeviceNeed, memory_bytes: int) -> str:
    """``BAR`` columns for the memory there is; a need beyond it ends in ``>``."""
    whole = memory_bytes or need.total_bytes or 1
    drawn, reached = "", 0
    for (_, mark), size in zip(_PARTS, _parts(need), strict=True):
        reached += size
        drawn += mark * (round(reached / whole * BAR) - len(drawn))
    return drawn[: BAR - 1] + ">" if len(drawn) > BAR else f"{drawn:·<{BAR}}"


def opinion_lines(option: Option, opinion: SecondOpinion) -> Iterator[str]:
    """The runtime's own dry run, and how it differs."""
    if opinion.skipped:
        yield f"second opinion: none: {opinion.skipped}"
        return
    yield f"second opinion: {TOOL}; in brackets its difference; its compute is for a whole batch of answers"
    for need, told in zip(option.estimate.devices, opinion.devices, strict=True):
        yield f"  {difference_text(need, told)}"


def speed_lines(option: Option, machine: Machine) -> Iterator[str]:
    """Tokens per second with their ranges and basis."""
    speed = option.speed
    if speed.generation is None or speed.generation_range is None:
        yield "speed: unknown, as the card's bandwidth is (--gpu NAME or --bandwidth GB/s)"
        return
    low, high = speed.generation_range
    instead = _instead(option, machine)
    spread = f"{low:.3g} to {high:.3g}; {speed.basis}"
    yield f"generation: about {speed.generation:.3g} tokens/s{instead} ({spread})"
    if speed.full_context is not None:
        yield f"            about {speed.full_context:.3g} tokens/s once the context is full"
    yield from _prompt_lines(speed)


def _prompt_lines(speed: Speed) -> Iterator[str]:
    if speed.prompt_range is None or speed.first_token_range_s is None:
        yield "prompt:     unknown, as the card's multiprocessors are"
        return
    low, high = speed.prompt_range
    first, last = speed.first_token_range_s
    yield f"prompt:     {low:.0f} to {high:.0f} tokens/s (formula)"
    yield f"            first token after {first:.2f} to {last:.2f} s for {PROMPT_TOKENS} tokens"


def _instead(option: Option, machine: Machine) -> str:
    """What the same cards would reach if they held everything."""
    if option.whole or not machine.cards:
        return ""
    wish = replace(option.wish, gpu_layers=ALL_LAYERS, cpu_expert_layers=0)
    whole = option_of(option.candidate, wish, machine).speed.generation
    return f" instead of {whole:.3g}" if whole else ""


def rejected_lines(choice: Choice) -> Iterator[str]:
    """The other quantisations with reasons."""
    if not choice.rejected:
        return
    yield "not chosen:"
    width = max(len(one.option.candidate.label) for one in choice.rejected)
    for one in choice.rejected:
        size = format_bytes(one.option.candidate.size_bytes)
        yield f"  {one.option.candidate.label:<{width}}  {size:>10}  {one.why}"


def shortage_lines(option: Option) -> str:
    """What is too small, on one line."""
    return "; ".join(map(shortage_text, option.shortages))
