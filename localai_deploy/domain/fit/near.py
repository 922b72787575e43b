"""The nearest possible ways next to what does not fit, and what to change of a wish to get them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from localai_deploy.domain.fit.choice import (
    Freedom,
    Option,
    choose,
    largest_context,
    layers_text,
    option_of,
    settled,
)
from localai_deploy.domain.fit.machine import Machine, needed_bytes
from localai_deploy.domain.fit.offer import Candidate
from localai_deploy.domain.fit.speed import Timing
from localai_deploy.domain.fit.wish import ALL_LAYERS, Wish

FIT_FLAGS = {
    "context": "--context",
    "gpu_layers": "--gpu-layers",
    "cpu_expert_layers": "--cpu-moe",
    "cache_type_k": "--cache-type-k",
    "cache_type_v": "--cache-type-v",
}
"""Field of a wish → the option of ``fit`` that changes it."""


def near_lines(near: Sequence[Option], wished: Wish, flags: Mapping[str, str] = FIT_FLAGS) -> list[str]:
    """One line for each option.

    :param flags: field of the wish → the option of the command that changes it.
    """
    lines = []
    for option in near:
        where = layers_text(option) if len(option.estimate.devices) > 1 else "on the host"
        rate = option.speed.generation
        speed = f", about {rate:.3g} tokens/s" if rate else ""
        changed = _changed(wished, option, flags) or option.candidate.name
        lines.append(f"{changed} ({where}{speed})")
    return lines


def _changed(wished: Wish, option: Option, flags: Mapping[str, str]) -> str:
    return " ".join(
        f"{flag} {getattr(option.wish, name)}"
        for name, flag in flags.items()
        if getattr(option.wish, name) != getattr(wished, name)
    )


def nearest(
    candidates: Sequence[Candidate], refused: Option, machine: Machine, timing: Timing | None = None
) -> tuple[Option, ...]:
    """Find what is possible next to an option that does not fit; each differs in one respect.

    Fewer layers, a smaller context, a cache of half the size, another quantisation.
    """
    wish, candidate = refused.wish, refused.candidate
    wishes = [settled(candidate, wish, machine, Freedom())]
    if context := largest_context(candidate, wish, machine):
        wishes.append(replace(wish, context=context))
    if wish.flash_attention and (wish.cache_type_k, wish.cache_type_v) != ("q8_0", "q8_0"):
        wishes.append(replace(wish, cache_type_k="q8_0", cache_type_v="q8_0"))
    found = [option_of(candidate, one, machine, timing) for one in wishes]
    other = [one for one in candidates if one is not candidate and one.size_bytes < candidate.size_bytes]
    smaller = choose(other, wish, machine, Freedom(gpu_layers=False, cpu_expert_layers=False), timing).best
    return tuple(option for option in (*found, smaller) if option and option.fits)


def faster(option: Option, machine: Machine, timing: Timing | None = None) -> tuple[Option, ...]:
    """What puts more of a model on cards than an option that fits in part: a cache of half the size."""
    if not option.fits or option.whole or not machine.cards:
        return ()
    wish = settled(option.candidate, option.wish, machine, Freedom(cache_types=True))
    if wish.cache_type_k == option.wish.cache_type_k:
        return ()
    found = option_of(option.candidate, wish, machine, timing)
    return (found,) if found.fits else ()


def card_for(option: Option, machine: Machine) -> int:
    """Memory of the single card that would take everything of ``option``; in whole GiB, as cards are sold."""
    cards = [replace(machine.cards[0], memory_bytes=1 << 50)] if machine.cards else []
    if not cards:
        return 0
    alone = Machine(tuple(cards), reserve_bytes=machine.reserve_bytes)
    everything = replace(option.wish, gpu_layers=ALL_LAYERS, cpu_expert_layers=0)
    need = option.candidate.estimate(everything, alone.cards).devices[0]
    gib = 1 << 30
    return -(-needed_bytes(need, alone) // gib) * gib
