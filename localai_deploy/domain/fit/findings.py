"""What a fit says against a plan: an impossible wish with the nearest possible ones, a partial offload."""

from __future__ import annotations

from collections.abc import Iterator

from localai_deploy.domain.fit.choice import shortage_text
from localai_deploy.domain.fit.fitted import Fitted
from localai_deploy.domain.fit.machine import Shortage
from localai_deploy.domain.fit.near import FIT_FLAGS, card_for, near_lines, nearest
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.spec import HostSpec
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import LocalaiError

_FLAGS = {name: flag for name, flag in FIT_FLAGS.items() if name != "cpu_expert_layers"}
"""What of a wish the options of ``up`` change."""


def shortage_findings(fitted: Fitted, spec: HostSpec) -> Iterator[Finding]:
    """Devices that are too small: a blocker beyond all their memory, a warning within margin and reserve."""
    option = fitted.option
    if not option.shortages:
        return
    surely = [short for short in option.shortages if short.least_bytes > short.there_bytes]
    name = option.candidate.name
    if surely:
        yield Finding(
            "fit-does-not-fit",
            Severity.BLOCKER,
            f"{name} does not fit on {spec.name} as wished",
            _why(tuple(surely)),
            _possible(fitted),
        )
    else:
        yield Finding(
            "fit-tight",
            Severity.WARNING,
            f"{name} leaves {spec.name} less memory free than it should",
            _why(option.shortages),
            _possible(fitted),
        )


def _why(shortages: tuple[Shortage, ...]) -> str:
    return "; ".join(map(shortage_text, shortages))


def _possible(fitted: Fitted) -> str:
    """The nearest ways that are possible, one a line."""
    option = fitted.option
    found = nearest([option.candidate, *fitted.others], option, fitted.machine, fitted.timing)
    near = near_lines(found, option.wish, _FLAGS)
    if card := card_for(option, fitted.machine):
        near.append(f"a card of {format_bytes(card)} holds everything as wished")
    host = next((one for one in option.shortages if one.kind == "host"), None)
    if host:
        near.append(f"{format_bytes(host.needed_bytes)} of memory on the host")
    return "possible: " + "\n".join(near) if near else "take a smaller model"


def partial_findings(fit: PlannedFit, spec: HostSpec) -> Iterator[Finding]:
    """What is said of a host whose cards do not hold everything."""
    if not fit.has_cards or (fit.gpu_layers == fit.layers and not fit.cpu_expert_layers):
        return
    yield Finding(
        "fit-partial",
        Severity.WARNING,
        f"{spec.name}: {offload_text(fit)}",
        "the cards hold no more of this model with this context",
        "a smaller model, quantisation, context or cache (--cache-type-k q8_0 --cache-type-v q8_0) answers "
        "faster: localai-deploy fit shows what fits",
    )


def offload_text(fit: PlannedFit) -> str:
    """``17 of 47 layers on the card, about 6 tokens/s instead of 38``."""
    if not fit.has_cards:
        return f"all on the host{_rate(fit)}"
    text = f"{fit.gpu_layers} of {fit.layers} layers on the card"
    if fit.cpu_expert_layers:
        text += f", the experts of {fit.cpu_expert_layers} on the host"
    return text + _rate(fit)


def _rate(fit: PlannedFit) -> str:
    if fit.tokens_per_second is None:
        return ""
    whole = fit.whole_tokens_per_second
    instead = f" instead of {whole:.2g}" if whole else ""
    return f", about {fit.tokens_per_second:.2g} tokens/s{instead}"


def no_card_finding(spec: HostSpec) -> Finding:
    """Layers are asked for where there is no card that the runtime uses."""
    return Finding(
        "fit-no-card",
        Severity.BLOCKER,
        f"{spec.name} has no card for {spec.wanted_gpu_layers} layers",
        f"its runtime is the {spec.variant} build",
        "leave --gpu-layers at auto, or name a host with a card",
    )


def unknown_finding(spec: HostSpec, model: str, error: LocalaiError) -> Finding:
    """The header could not be read, so nobody knows what the model needs, or how much of it a card takes."""
    undecided = bool(spec.cards) and spec.wanted_gpu_layers == "auto"
    return Finding(
        "fit-unknown",
        Severity.BLOCKER if undecided else Severity.WARNING,
        f"whether {model} fits on {spec.name} is not known",
        f"its header cannot be read: {error.what}" + (f" ({error.why})" if error.why else ""),
        "say how many layers its card is to take: --gpu-layers N"
        if undecided
        else "the server's start will tell",
    )
