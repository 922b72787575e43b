"""What a measured run tells about its machine, for the next estimate there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace

from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.shape import Shape
from localai_deploy.domain.fit.speed import LIKELY, Speed, Timing, Touched, speed_of, token_seconds, touched
from localai_deploy.domain.fit.wish import Wish
from localai_deploy.errors import InputError

_MOST_TOKENS_S = 1e6
_HOST_RANGE_BYTES_S = (1e7, 2e12)
_MOST_LAYER_S = 0.1


def calibrate(load: Touched, machine: Machine, tokens_per_second: float) -> Timing:
    """Find the timing under which ``load`` takes as long as it was measured to.

    The part that the formula knows least is corrected: the host's bandwidth when reading there takes most
    of the time, else the time to start a layer's work, and where that would be negative the efficiencies.

    :raises InputError: ``fit-measurement-invalid``.
    """
    if not 0 < tokens_per_second <= _MOST_TOKENS_S:
        raise _invalid(f"{tokens_per_second:g} tokens/s were never measured")
    timing = replace(LIKELY, host_bytes_s=machine.host_bandwidth_bytes_s or LIKELY.host_bytes_s)
    predicted = token_seconds(load, machine, timing)
    if predicted is None:
        raise _invalid("the card's bandwidth is unknown, so there is nothing to correct")
    host = load.host.read_bytes / timing.host_bytes_s
    missing = 1 / tokens_per_second - predicted
    if host > predicted / 2 and host + missing > 0:
        return replace(timing, host_bytes_s=load.host.read_bytes / (host + missing))
    return _of_cards(load, machine, timing, missing)


def _of_cards(load: Touched, machine: Machine, timing: Timing, missing: float) -> Timing:
    blocks = sum(one.blocks for one in load.cards) or 1
    stacked = any(card.stacked_memory for card in machine.cards)
    before = timing.stacked_layer_s if stacked else timing.layer_s
    layer_s = before + missing / blocks
    if layer_s >= 0:
        return replace(timing, layer_s=layer_s, stacked_layer_s=layer_s)
    bare = replace(timing, layer_s=0.0, stacked_layer_s=0.0)
    reading = token_seconds(load, machine, bare) or 1.0
    factor = reading / max(reading + layer_s * blocks, reading / 10)
    return replace(
        bare,
        efficiency=timing.efficiency * factor,
        stacked_efficiency=timing.stacked_efficiency * factor,
    )


def measured(shape: Shape, wish: Wish, machine: Machine, values: int, tokens_per_second: float) -> Speed:
    """Say how fast the very model is that was measured on this machine.

    :raises InputError: ``fit-measurement-invalid``.
    """
    timing = calibrate(touched(shape, wish, machine.cards, values), machine, tokens_per_second)
    speed = speed_of(shape, wish, machine, values, timing)
    exact = (tokens_per_second, tokens_per_second)
    return replace(speed, basis="measured", generation=tokens_per_second, generation_range=exact)


def timing_data(timing: Timing) -> dict[str, float]:
    """Write a timing as data."""
    return asdict(timing)


def timing_from(data: object) -> Timing:
    """Read what :func:`timing_data` wrote.

    :raises InputError: ``fit-measurement-invalid``.
    """
    names = [field.name for field in fields(Timing)]
    if not isinstance(data, Mapping) or set(data) != set(names):
        raise _invalid(f"a calibration has exactly {', '.join(names)}")
    values = {name: data[name] for name in names}
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()):
        raise _invalid("a calibration's values are numbers")
    timing = Timing(**values)
    layers = (timing.layer_s, timing.stacked_layer_s)
    shares = (timing.efficiency, timing.stacked_efficiency)
    low, high = _HOST_RANGE_BYTES_S
    if not (all(0 <= one <= _MOST_LAYER_S for one in layers) and all(0 < one <= 10 for one in shares)):
        raise _invalid("a calibration's layer times or efficiencies are out of range")
    if not low <= timing.host_bytes_s <= high:
        raise _invalid("a calibration's host bandwidth is out of range")
    return timing


def _invalid(why: str) -> InputError:
    return InputError(
        "fit-measurement-invalid",
        "the measured speed cannot be used",
        why=why,
        hint="give the tokens/s of generation that the server's log shows, as in --measured 38.2",
    )
