"""Which quantisation, layers and context a machine takes, and why not the others. Pure: `up` plans by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from localai_deploy.domain.fit.estimate import Estimate, card_shares
from localai_deploy.domain.fit.machine import Machine, Shortage, shortages
from localai_deploy.domain.fit.offer import USUAL_BITS, Candidate
from localai_deploy.domain.fit.speed import Speed, Timing, speed_of, touched
from localai_deploy.domain.fit.wish import ALL_LAYERS, Wish
from localai_deploy.domain.units import format_bytes

LEAST_BITS = 3.4
"""Fewer bits a weight are not chosen by themselves: answers get visibly worse."""
FAIR_BITS = 4.0
"""At least so many where not all layers are on cards anyway."""
MOST_BITS = 9.0
"""More keep nothing that is seen in answers."""
CONTEXT_STEP = 256
_LONGEST_CONTEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Freedom:
    """What of a wish may be chosen; the rest is taken as it is.

    :param cache_types: q8_0 for keys and values where that brings something; only with flash attention.
    """

    gpu_layers: bool = True
    cpu_expert_layers: bool = True
    context: bool = False
    cache_types: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """One way to serve a candidate, and what comes of it; it fits when nothing is short."""

    candidate: Candidate
    wish: Wish
    estimate: Estimate
    speed: Speed
    shortages: tuple[Shortage, ...]

    @property
    def fits(self) -> bool:
        """Whether every device is large enough."""
        return not self.shortages

    @property
    def whole(self) -> bool:
        """Whether cards hold all layers with all experts."""
        experts = any(block.experts for block in self.candidate.shape.blocks[: self.wish.cpu_expert_layers])
        return self.estimate.gpu_layers == self.estimate.layers and not experts


@dataclass(frozen=True, slots=True)
class Rejected:
    """What was not chosen, and why."""

    option: Option
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The best option, ``None`` when nothing fits, and every other candidate with its reason."""

    best: Option | None
    rejected: tuple[Rejected, ...]


def option_of(candidate: Candidate, wish: Wish, machine: Machine, timing: Timing | None = None) -> Option:
    """Work out what comes of ``wish``.

    :raises InputError: ``fit-wish-impossible``.
    """
    found = candidate.estimate(wish, machine.cards)
    speed = speed_of(candidate.shape, wish, machine, candidate.values, timing)
    return Option(candidate, wish, found, speed, shortages(found, machine))


def choose(
    candidates: Sequence[Candidate],
    wish: Wish,
    machine: Machine,
    freedom: Freedom = Freedom(),
    timing: Timing | None = None,
) -> Choice:
    """Choose among the quantisations of one model.

    All layers on cards with the most bits up to :data:`MOST_BITS` is best; else what is nearest to Q4_K_M
    and not under :data:`FAIR_BITS`; else the most bits that fit at all.

    :raises InputError: ``fit-wish-impossible``.
    """
    options = [option_of(one, settled(one, wish, machine, freedom), machine, timing) for one in candidates]
    best = _best([option for option in options if option.fits], machine)
    others = (option for option in options if option is not best)
    return Choice(best, tuple(Rejected(option, _why_not(option, best)) for option in others))


def _best(fitting: list[Option], machine: Machine) -> Option | None:
    def bits(option: Option) -> float:
        return option.candidate.bits_per_weight

    whole = [one for one in fitting if one.whole and LEAST_BITS <= bits(one) <= MOST_BITS]
    if whole and machine.cards:
        return max(whole, key=bits)
    fair = [one for one in fitting if FAIR_BITS <= bits(one) <= MOST_BITS]
    if fair:
        return min(fair, key=lambda one: abs(bits(one) - USUAL_BITS))
    return min(fitting, key=lambda one: abs(bits(one) - USUAL_BITS), default=None)


def _why_not(option: Option, best: Option | None) -> str:
    if option.shortages:
        return shortage_text(option.shortages[0])
    bits = option.candidate.bits_per_weight
    if bits > MOST_BITS:
        return f"{bits:.1f} bits a weight keep nothing that is seen in answers"
    if bits < LEAST_BITS:
        return f"{bits:.1f} bits a weight: answers get visibly worse"
    if not option.whole and option.estimate.gpu_layers:
        few = f"under {FAIR_BITS:g} bits a weight, and " if bits < FAIR_BITS else ""
        rate = option.speed.generation
        speed = f", about {rate:.2g} tokens/s" if rate else ""
        return f"{few}not whole on the card: {layers_text(option)}{speed}"
    kept = best.candidate.bits_per_weight if best else 0
    if kept > bits and best:
        return f"fits too; {best.candidate.label} keeps more ({kept:.1f} bits a weight against {bits:.1f})"
    return f"fits too; slower and larger ({bits:.1f} bits a weight)"


def shortage_text(shortage: Shortage) -> str:
    """Say what is too small."""
    where = "the host" if shortage.kind == "host" else shortage.name
    return f"{where} needs {format_bytes(shortage.needed_bytes)} and has {format_bytes(shortage.there_bytes)}"


def layers_text(option: Option) -> str:
    """Say how much is on cards, in layers and experts."""
    found, aside = option.estimate, option.wish.cpu_expert_layers
    text = f"{found.gpu_layers} of {found.layers} layers on the card"
    return f"{text}, the experts of {aside} on the host" if aside and not option.whole else text


def settled(candidate: Candidate, wish: Wish, machine: Machine, freedom: Freedom) -> Wish:
    """Fill in what ``wish`` leaves free, as the cards take it best; host memory is not looked at.

    All layers; else all with as few experts on the host as will do, or as many layers as will do, whichever
    leaves the host less to read for a token.

    :raises InputError: ``fit-wish-impossible``.
    """
    if freedom.cache_types:
        return _with_cache(candidate, wish, machine, replace(freedom, cache_types=False))
    if freedom.context:
        wish = replace(wish, context=_longest(candidate, wish, machine, freedom))
    if not freedom.gpu_layers:
        return _with_experts_aside(candidate, wish, machine) if freedom.cpu_expert_layers else wish
    if not machine.cards:
        return replace(wish, gpu_layers=0)
    everything = replace(wish, gpu_layers=ALL_LAYERS)
    if on_cards(candidate, everything, machine):
        return everything
    ways = [_most_layers(candidate, wish, machine)]
    if freedom.cpu_expert_layers and any(block.experts for block in candidate.shape.blocks):
        ways.append(_all_layers_or_most(candidate, everything, machine))
    return min(ways, key=_host_reads(candidate, machine))


def _with_cache(candidate: Candidate, wish: Wish, machine: Machine, freedom: Freedom) -> Wish:
    """The cache as wished; in half the size where cards then hold more, or a context is longer."""
    plain = settled(candidate, wish, machine, freedom)
    if not wish.flash_attention or not machine.cards:
        return plain
    small = settled(candidate, replace(wish, cache_type_k="q8_0", cache_type_v="q8_0"), machine, freedom)
    reads = _host_reads(candidate, machine)
    return small if small.context > plain.context or reads(small) < reads(plain) else plain


def _all_layers_or_most(candidate: Candidate, everything: Wish, machine: Machine) -> Wish:
    """All layers without the experts of some blocks; where that does not fit, as many layers without any."""
    aside = _with_experts_aside(candidate, everything, machine)
    if on_cards(candidate, aside, machine):
        return aside
    return _most_layers(
        candidate, replace(everything, cpu_expert_layers=len(candidate.shape.blocks)), machine
    )


def on_cards(candidate: Candidate, wish: Wish, machine: Machine) -> bool:
    """Whether every card is large enough; the weights alone are looked at first."""
    if _weights_alone_exceed(candidate, wish, machine):
        return False
    found = candidate.estimate(wish, machine.cards)
    return not any(one.kind == "gpu" for one in shortages(found, machine))


def _weights_alone_exceed(candidate: Candidate, wish: Wish, machine: Machine) -> bool:
    shape, cards = candidate.shape, machine.cards
    shares = card_shares(shape, min(wish.gpu_layers, shape.layers), cards)
    for card, share in zip(cards, shares, strict=True):
        blocks = shape.blocks[share.first : share.last]
        aside = shape.blocks[share.first : max(share.first, min(wish.cpu_expert_layers, share.last))]
        weights = sum(block.weights_bytes for block in blocks) - sum(block.expert_bytes for block in aside)
        if weights + (shape.output_bytes if share.output else 0) > card.memory_bytes:
            return True
    return False


def _host_reads(candidate: Candidate, machine: Machine) -> Callable[[Wish], int]:
    def reads(wish: Wish) -> int:
        return touched(candidate.shape, wish, machine.cards, 0).host.read_bytes

    return reads


def _most_layers(candidate: Candidate, wish: Wish, machine: Machine) -> Wish:
    def fits(layers: int) -> bool:
        return on_cards(candidate, replace(wish, gpu_layers=layers), machine)

    return replace(wish, gpu_layers=_largest(0, candidate.shape.layers, fits))


def _with_experts_aside(candidate: Candidate, wish: Wish, machine: Machine) -> Wish:
    blocks = len(candidate.shape.blocks)
    if not any(block.experts for block in candidate.shape.blocks):
        return wish

    def fits(kept: int) -> bool:
        return on_cards(candidate, replace(wish, cpu_expert_layers=blocks - kept), machine)

    return replace(wish, cpu_expert_layers=blocks - _largest(0, blocks, fits))


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """Give the largest number up to ``high`` that fits; ``low`` when none does."""
    if fits(high):
        return high
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _longest(candidate: Candidate, wish: Wish, machine: Machine, freedom: Freedom) -> int:
    """Find the largest context with all layers on cards, or on the host alone; else the smallest."""
    everything = replace(wish, gpu_layers=ALL_LAYERS if machine.cards else 0)
    tried = everything if freedom.gpu_layers else wish
    return largest_context(candidate, tried, machine) or CONTEXT_STEP


def largest_context(candidate: Candidate, wish: Wish, machine: Machine) -> int:
    """Find the largest context that fits with all else as wished, at most what the model was trained for.

    :returns: tokens, a multiple of :data:`CONTEXT_STEP`; 0 when none fits.
    """
    most = (candidate.trained_context or _LONGEST_CONTEXT) // CONTEXT_STEP

    def fits(steps: int) -> bool:
        context = replace(wish, context=steps * CONTEXT_STEP)
        return not steps or not shortages(candidate.estimate(context, machine.cards), machine)

    return _largest(0, max(most, 1), fits) * CONTEXT_STEP
