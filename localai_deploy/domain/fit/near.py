"""The nearest possible ways, in words: what to change of a wish, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localai_deploy.domain.fit.choice import Option, layers_text
from localai_deploy.domain.fit.wish import Wish

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
