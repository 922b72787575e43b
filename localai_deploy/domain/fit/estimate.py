"""What a model needs on each device, by part."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from localai_deploy.domain.fit.cache import cache_bytes, cells_of, streams
from localai_deploy.domain.fit.compute import PIPELINE_COPIES, Share, compute_bytes
from localai_deploy.domain.fit.projector import Projector
from localai_deploy.domain.fit.shape import Block, Shape
from localai_deploy.domain.fit.tape import F32
from localai_deploy.domain.fit.wish import UNQUANTISED, Card, Wish
from localai_deploy.errors import InputError

MIB = 1 << 20
_HOST_BATCHES = 3
"""The host holds such a batch as it came, mixed, and once more."""
Confidence = Literal["exact", "close", "bound"]
MARGINS: dict[Confidence, float] = {"exact": 0.01, "close": 0.03, "bound": 0.10}
"""Share of a device's parts that may come on top: dense models, experts and latent attention, the rest."""


@dataclass(frozen=True, slots=True)
class DeviceNeed:
    """What one device needs.

    :param margin_bytes: what may come on top of all parts.
    :param draft_bytes: of a second, small model that guesses tokens ahead; all its parts.
    :param projector_bytes: of what turns pictures or sound into embeddings; all its parts.
    """

    kind: Literal["gpu", "host"]
    name: str
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    context_overhead_bytes: int
    margin_bytes: int
    draft_bytes: int = 0
    projector_bytes: int = 0

    @property
    def parts_bytes(self) -> int:
        """What the runtime itself accounts for of the model."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes

    @property
    def reserved_bytes(self) -> int:
        """The same with what runs beside the model."""
        return self.parts_bytes + self.draft_bytes + self.projector_bytes

    @property
    def total_bytes(self) -> int:
        """All parts without the margin."""
        return self.reserved_bytes + self.context_overhead_bytes


@dataclass(frozen=True, slots=True)
class Estimate:
    """Every device's need; ``gpu_layers`` of ``layers`` are on cards.

    :param prompt_cache_bytes: what the host may come to hold of earlier prompts, on top of its need.
    """

    devices: tuple[DeviceNeed, ...]
    gpu_layers: int
    layers: int
    confidence: Confidence
    prompt_cache_bytes: int = 8 << 30


def estimate(
    shape: Shape,
    wish: Wish,
    cards: Sequence[Card],
    *,
    draft: Shape | None = None,
    projector: Projector | None = None,
) -> Estimate:
    """Add up what ``shape`` needs, started as ``wish`` says, on ``cards`` and the host.

    :param draft: a second model, all of it on cards where the first has layers there, with as long a context.
    :raises InputError: ``fit-wish-impossible``.
    """
    _check(wish)
    on_cards = min(wish.gpu_layers, shape.layers) if cards else 0
    shares = card_shares(shape, on_cards, cards)
    begin = min((share.first for share in shares if share.first < share.last), default=len(shape.blocks))
    pipeline = len(cards) > 1 and on_cards == shape.layers and not wish.cpu_expert_layers
    sure = confidence(shape, pipeline=pipeline)
    needs = [
        _card_need(shape, wish, card, share, sure, pipeline=pipeline)
        for card, share in zip(cards, shares, strict=True)
    ]
    left = Share(0, begin, not on_cards, host=True, alone=not cards, experts=wish.cpu_expert_layers)
    host = _host_need(shape, wish, left, sure, pipeline=pipeline)
    found = Estimate((*needs, host), on_cards, shape.layers, sure)
    if draft:
        found = _with_draft(found, estimate(draft, _draft_wish(wish), cards if on_cards else ()))
    return _with_projector(found, projector, cards) if projector else found


def _draft_wish(wish: Wish) -> Wish:
    plain = Wish(flash_attention=wish.flash_attention, ubatch=wish.ubatch, unified=wish.unified)
    return replace(plain, context=wish.context, parallel=wish.parallel)


def _with_draft(found: Estimate, draft: Estimate) -> Estimate:
    """Add the second model's parts, device by device; the host's are last in both."""
    pairs = [
        *zip(found.devices[:-1], draft.devices[:-1], strict=False),
        (found.devices[-1], draft.devices[-1]),
    ]
    joined = {
        id(need): replace(
            need, draft_bytes=more.parts_bytes, margin_bytes=need.margin_bytes + more.margin_bytes
        )
        for need, more in pairs
    }
    return replace(found, devices=tuple(joined.get(id(need), need) for need in found.devices))


def _with_projector(found: Estimate, projector: Projector, cards: Sequence[Card]) -> Estimate:
    first, *others = found.devices
    with_it = replace(
        first,
        context_overhead_bytes=context_overhead_bytes(cards[0]) if cards else first.context_overhead_bytes,
        projector_bytes=projector.weights_bytes + projector.compute_bytes,
        margin_bytes=first.margin_bytes + projector.margin_bytes,
    )
    return replace(found, devices=(with_it, *others))


def confidence(shape: Shape, *, pipeline: bool = False) -> Confidence:
    """How well the parts are known; with several cards at once, recurrent blocks less so."""
    recurrent = any(block.recurrence for block in shape.blocks)
    if not shape.known or (recurrent and pipeline):
        return "bound"
    return "exact" if shape.dense else "close"


def card_shares(shape: Shape, on_cards: int, cards: Sequence[Card]) -> list[Share]:
    """Give each card its run of the last blocks, by memory; the output layer counts as one more block.

    Source: ``llama_model::load_tensors``: a layer goes to the first card whose share of all memory, added
    up, is above the layer's place among those on cards.
    """
    blocks = len(shape.blocks)
    start = blocks + 1 - on_cards
    total = sum(card.memory_bytes for card in cards) or 1
    bounds = [end / total for end in accumulate(card.memory_bytes for card in cards)]
    places = [
        min(bisect_right(bounds, (layer - start) / on_cards), len(cards) - 1)
        for layer in range(start, blocks + 1)
    ]
    shares = []
    for number in range(len(cards)):
        held = [start + at for at, place in enumerate(places) if place == number]
        first, last = (held[0], held[-1] + 1) if held else (blocks, blocks)
        shares.append(Share(min(first, blocks), min(last, blocks), output=last > blocks, host=False))
    return shares


def context_overhead_bytes(card: Card) -> int:
    """CUDA's own share: a line through 107 MiB at 34 and 555 MiB at 188 multiprocessors, both measured.

    Unknown cards count as the largest of the two.
    """
    if not card.multiprocessors:
        return 555 * MIB
    return round((107 + (card.multiprocessors - 34) * (555 - 107) / (188 - 34)) * MIB)


def host_overhead_bytes(shape: Shape, wish: Wish) -> int:
    """Programs and libraries, the vocabulary, and the logits that are handed out.

    Fitted on two small models' resident memory in the server: 24 MiB and 120 bytes a word.
    """
    return 24 * MIB + 120 * shape.vocabulary + 4 * shape.vocabulary * wish.parallel


def _card_need(
    shape: Shape, wish: Wish, card: Card, share: Share, sure: Confidence, *, pipeline: bool
) -> DeviceNeed:
    blocks = shape.blocks[share.first : share.last]
    aside = shape.blocks[share.first : max(share.first, min(wish.cpu_expert_layers, share.last))]
    weights = sum(block.weights_bytes for block in blocks) - sum(block.expert_bytes for block in aside)
    kv = sum(cache_bytes(shape, block, wish) for block in blocks)
    weights += shape.output_bytes if share.output else 0
    used = weights > 0
    share = replace(share, experts=wish.cpu_expert_layers)
    compute = compute_bytes(shape, wish, share, pipeline=pipeline) if used else 0
    margin = round((weights + kv + compute) * MARGINS[sure])
    margin += _unsettled_bytes(shape, wish, compute, sure, pipeline=pipeline)
    margin += max((block.expert_bytes for block in aside), default=0) + _converted_bytes(shape, wish, blocks)
    return DeviceNeed(
        "gpu", card.name, weights, kv, compute, context_overhead_bytes(card) if used else 0, margin
    )


def _converted_bytes(shape: Shape, wish: Wish, blocks: Sequence[Block]) -> int:
    """CUDA's flash attention turns one block's quantised keys and values into f16, outside all buffers."""
    if {wish.cache_type_k, wish.cache_type_v} <= set(UNQUANTISED):
        return 0
    found = [block.attention for block in blocks if block.attention]
    widest = max(((part.key + part.value) * cells_of(shape, part, wish) for part in found), default=0)
    return 2 * widest * streams(wish)


def _unsettled_bytes(shape: Shape, wish: Wish, compute: int, sure: Confidence, *, pipeline: bool) -> int:
    """What versions of the runtime and kinds of recurrence differ in, as measured.

    Newer ones have room for a batch of given embeddings; recurrent blocks may need half a buffer more, and
    graphs that nobody measured twice the room where several cards work at once.
    """
    given = F32 * shape.input_width * min(wish.ubatch, wish.context)
    states = compute // 2 if any(block.recurrence for block in shape.blocks) else 0
    if not pipeline:
        return given + states
    return (2 * PIPELINE_COPIES + 1) * given + (compute if sure == "bound" else states)


def _host_need(shape: Shape, wish: Wish, share: Share, sure: Confidence, *, pipeline: bool) -> DeviceNeed:
    blocks = shape.blocks[: share.last]
    aside = shape.blocks[share.last : max(share.last, wish.cpu_expert_layers)]
    weights = shape.input_bytes + sum(block.weights_bytes for block in blocks)
    weights += sum(block.expert_bytes for block in aside)
    if share.output:
        weights += shape.output_bytes - shape.tied_bytes + shape.repacked_bytes
    kv = sum(cache_bytes(shape, block, wish) for block in blocks)
    compute = compute_bytes(shape, wish, share, pipeline=pipeline)
    margin = round((weights + kv + compute) * MARGINS[sure])
    margin += _HOST_BATCHES * _unsettled_bytes(shape, wish, compute, sure, pipeline=pipeline)
    return DeviceNeed("host", "host", weights, kv, compute, host_overhead_bytes(shape, wish), margin)


def _check(wish: Wish) -> None:
    if wish.cache_type_v not in UNQUANTISED and not wish.flash_attention:
        raise _impossible("a quantised value cache needs flash attention")
    for name in ("context", "ubatch", "parallel"):
        if getattr(wish, name) < 1:
            raise _impossible(f"{name} is {getattr(wish, name)}; it must be 1 or more")
    for name in ("gpu_layers", "cpu_expert_layers"):
        if getattr(wish, name) < 0:
            raise _impossible(f"{name} is {getattr(wish, name)}; it must be 0 or more")


def _impossible(why: str) -> InputError:
    return InputError("fit-wish-impossible", "a server cannot be started like this", why=why)
