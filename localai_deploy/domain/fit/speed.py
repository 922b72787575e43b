"""How fast a model answers: tokens/s, and ranges for prompts and the first token.

A token's time is that of reading what it touches, ``bytes / (efficiency · bandwidth)`` on each device, and
of starting the work, ``seconds a layer`` on cards. Fitted on public measurements of llama.cpp: GDDR cards on
29 rows (3.3 % mean error, 4 % with the card left out of the fit), HBM on 7 rows of one card (3.4 %). Newer
runtimes start work faster (33 to 38 µs a layer on Ada), which is the range's other end. Each further card
costs :data:`CARD_SWITCH_S` a token.

Prompts are computed in batches; the range spans what is measured for values times tokens per second and
multiprocessor. Weights on the host cross PCIe once a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from localai_deploy.domain.fit.cache import cache_bytes
from localai_deploy.domain.fit.estimate import card_shares
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.shape import Block, Shape
from localai_deploy.domain.fit.wish import Card, Wish

Basis = Literal["formula", "calibrated", "measured", "unknown"]
PROMPT_TOKENS = 512
CARD_SWITCH_S = 0.28e-3
_PCIE_BYTES_S = (6e9, 25e9)
_TENSOR_CORE_RATE = (2.4e11, 6e11)
_PLAIN_CORE_RATE = (0.5e11, 3e11)
_HOST_RATE = (0.5e11, 8e11)
"""Slowest and fastest; rates are values of the model times tokens per second, of a multiprocessor or host."""
_EXPERTS_SLOWDOWN = 0.3
_KNOWN_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Timing:
    """What a machine makes of its bandwidths; efficiency and seconds a layer for GDDR and HBM cards."""

    efficiency: float
    stacked_efficiency: float
    layer_s: float
    stacked_layer_s: float
    host_bytes_s: float


LIKELY = Timing(0.90, 0.65, 70e-6, 105e-6, 40e9)
SLOW = Timing(0.85, 0.55, 110e-6, 140e-6, 25e9)
FAST = Timing(0.95, 0.80, 30e-6, 40e-6, 60e9)


@dataclass(frozen=True, slots=True)
class Load:
    """What one device does for a token: bytes it reads, blocks it computes."""

    read_bytes: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Touched:
    """Loads of the cards and of the host.

    :param host_weights_bytes: weights on the host that a batch of a prompt needs on a card.
    :param values: of the model, that a token meets.
    """

    cards: tuple[Load, ...]
    host: Load
    host_weights_bytes: int
    values: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second; ``None`` where a bandwidth is unknown.

    :param generation: with an empty context.
    :param full_context: with a full one.
    :param prompt_range: tokens/s of a prompt of :data:`PROMPT_TOKENS`.
    :param first_token_range_s: the time to its answer's first token.
    """

    basis: Basis
    generation: float | None
    generation_range: tuple[float, float] | None
    full_context: float | None
    prompt_range: tuple[float, float] | None
    first_token_range_s: tuple[float, float] | None


def touched(shape: Shape, wish: Wish, cards: Sequence[Card], values: int) -> Touched:
    """Work out what a token reads where.

    :param values: of the whole model, as its tensor table counts them.
    """
    on_cards = min(wish.gpu_layers, shape.layers) if cards else 0
    shares = card_shares(shape, on_cards, cards)
    begin = min((share.first for share in shares if share.first < share.last), default=len(shape.blocks))
    loads = []
    for share in shares:
        blocks = shape.blocks[share.first : share.last]
        read = sum(_plain_bytes(block) for block in blocks)
        kept = shape.blocks[max(share.first, min(wish.cpu_expert_layers, share.last)) : share.last]
        read += sum(_used_expert_bytes(block) for block in kept)
        loads.append(Load(read + (shape.output_bytes if share.output else 0), len(blocks)))
    behind, aside = shape.blocks[:begin], shape.blocks[begin : max(begin, wish.cpu_expert_layers)]
    host = sum(_plain_bytes(block) + _used_expert_bytes(block) for block in behind)
    host += sum(_used_expert_bytes(block) for block in aside) + (0 if on_cards else shape.output_bytes)
    crossing = sum(block.weights_bytes for block in behind) + sum(block.expert_bytes for block in aside)
    whole = sum(block.weights_bytes for block in shape.blocks) + shape.input_bytes + shape.output_bytes
    read = host + sum(load.read_bytes for load in loads)
    return Touched(
        tuple(loads), Load(host, len(behind)), crossing, values * read / max(whole - shape.tied_bytes, 1)
    )


def _plain_bytes(block: Block) -> int:
    return block.weights_bytes - block.expert_bytes


def _used_expert_bytes(block: Block) -> int:
    return block.expert_bytes * block.experts.used // block.experts.count if block.experts else 0


def token_seconds(load: Touched, machine: Machine, timing: Timing) -> float | None:
    """Time of one token with an empty context; ``None`` when a card's bandwidth is unknown."""
    seconds = load.host.read_bytes / timing.host_bytes_s
    used = 0
    for card, one in zip(machine.cards, load.cards, strict=True):
        if not one.read_bytes:
            continue
        if not card.bandwidth_bytes_s:
            return None
        stacked = card.stacked_memory
        efficiency = timing.stacked_efficiency if stacked else timing.efficiency
        seconds += one.read_bytes / (efficiency * card.bandwidth_bytes_s)
        seconds += one.blocks * (timing.stacked_layer_s if stacked else timing.layer_s)
        used += 1
    return seconds + max(used - 1, 0) * CARD_SWITCH_S


def speed_of(
    shape: Shape, wish: Wish, machine: Machine, values: int, calibrated: Timing | None = None
) -> Speed:
    """Say how fast ``shape`` answers when it is started as ``wish`` says.

    :param calibrated: what a measured run on this machine gave (:mod:`…fit.calibration`).
    """
    load = touched(shape, wish, machine.cards, values)
    timings = [_of_host(timing, machine) for timing in (SLOW, LIKELY, FAST)]
    slow, likely, fast = timings if calibrated is None else (calibrated,) * 3
    seconds = [token_seconds(load, machine, timing) for timing in (slow, likely, fast)]
    batch = _batch_seconds(shape, wish, machine, load)
    basis: Basis = "formula" if calibrated is None else "calibrated"
    if seconds[0] is None or seconds[1] is None or seconds[2] is None:
        return Speed("unknown", None, None, None, None, None)
    spread = _KNOWN_SPREAD if calibrated else 0.0
    low, high = (1 - spread) / seconds[0], (1 + spread) / seconds[2]
    full = seconds[1] + _cache_seconds(shape, wish, machine, likely)
    if not batch:
        return Speed(basis, 1 / seconds[1], (low, high), 1 / full, None, None)
    tokens, asked = _batch_tokens(wish), min(PROMPT_TOKENS, wish.context)
    prompt = (tokens / batch[1], tokens / batch[0])
    first = (asked / prompt[1] + 1 / high, asked / prompt[0] + 1 / low)
    return Speed(basis, 1 / seconds[1], (low, high), 1 / full, prompt, first)


def _of_host(timing: Timing, machine: Machine) -> Timing:
    if not machine.host_bandwidth_bytes_s:
        return timing
    spread = timing.host_bytes_s / LIKELY.host_bytes_s
    factor = max(1 - _KNOWN_SPREAD, min(spread, 1 + _KNOWN_SPREAD))
    return replace(timing, host_bytes_s=machine.host_bandwidth_bytes_s * factor)


def _cache_seconds(shape: Shape, wish: Wish, machine: Machine, timing: Timing) -> float:
    """Time that reading one slot's full cache adds to a token."""
    on_cards = min(wish.gpu_layers, shape.layers) if machine.cards else 0
    host = len(shape.blocks) + 1 - on_cards if on_cards else len(shape.blocks)
    sizes = [cache_bytes(shape, block, wish) / wish.parallel for block in shape.blocks]
    seconds = sum(sizes[:host]) / timing.host_bytes_s
    used = [card for card in machine.cards if card.bandwidth_bytes_s]
    if used:
        slowest = min(card.bandwidth_bytes_s for card in used)
        seconds += sum(sizes[host:]) / (timing.efficiency * slowest)
    return seconds


def _batch_tokens(wish: Wish) -> int:
    return min(wish.ubatch, wish.context, PROMPT_TOKENS)


def _batch_seconds(shape: Shape, wish: Wish, machine: Machine, load: Touched) -> tuple[float, float] | None:
    """Shortest and longest time of one batch of a prompt; ``None`` when a card's size is unknown."""
    work = load.values * _batch_tokens(wish)
    slow_experts = _EXPERTS_SLOWDOWN if any(block.experts for block in shape.blocks) else 1.0
    used = [card for card, one in zip(machine.cards, load.cards, strict=True) if one.read_bytes]
    if not used:
        return work / _HOST_RATE[1], work / (_HOST_RATE[0] * slow_experts)
    if not all(card.multiprocessors for card in used):
        return None
    low, high = (sum(card.multiprocessors * _rate(card)[end] for card in used) / len(used) for end in (0, 1))
    slowest, fastest = (load.host_weights_bytes / speed for speed in _PCIE_BYTES_S)
    return work / high + fastest, work / (low * slow_experts) + slowest


def _rate(card: Card) -> tuple[float, float]:
    return _TENSOR_CORE_RATE if card.tensor_cores else _PLAIN_CORE_RATE
