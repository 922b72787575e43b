"""Fit a model to the host of a spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from localai_deploy.domain.fit.choice import Freedom, Option, option_of, settled
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.offer import Candidate
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.fit.speed import Timing
from localai_deploy.domain.fit.wish import ALL_LAYERS, Wish
from localai_deploy.domain.spec import HostSpec

ALL_FROM = 99
"""So many layers are how people write all of them, also of models that have more."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model that was fitted to a host.

    :param others: the same model's other quantisations, as far as they are known.
    """

    option: Option
    machine: Machine
    others: tuple[Candidate, ...] = ()
    timing: Timing | None = None

    @property
    def planned(self) -> PlannedFit:
        """What of it a plan shows."""
        option = self.option
        return PlannedFit(
            devices=option.estimate.devices,
            gpu_layers=option.estimate.gpu_layers,
            layers=option.estimate.layers,
            confidence=option.estimate.confidence,
            basis=option.speed.basis,
            tokens_per_second=option.speed.generation,
            whole_tokens_per_second=self._whole_rate(),
            cpu_expert_layers=option.wish.cpu_expert_layers if not option.whole else 0,
        )

    def _whole_rate(self) -> float | None:
        if self.option.whole or not self.machine.cards:
            return None
        wish = replace(self.option.wish, gpu_layers=ALL_LAYERS, cpu_expert_layers=0)
        return option_of(self.option.candidate, wish, self.machine, self.timing).speed.generation


def wish_of(spec: HostSpec) -> tuple[Wish, Freedom]:
    """How the server of ``spec`` is started, and what of it may be chosen."""
    wanted = spec.wanted_gpu_layers
    layers = wanted if isinstance(wanted, int) and wanted < ALL_FROM else ALL_LAYERS
    wish = Wish(
        context=spec.context_length,
        gpu_layers=layers,
        flash_attention=spec.flash_attention,
        ubatch=spec.ubatch,
        cache_type_k=spec.cache_type_k,
        cache_type_v=spec.cache_type_v,
        parallel=spec.parallel,
    )
    free = wanted == "auto"
    return wish, Freedom(gpu_layers=free, cpu_expert_layers=free)


def fit_to(
    candidate: Candidate,
    spec: HostSpec,
    machine: Machine,
    others: Sequence[Candidate] = (),
    timing: Timing | None = None,
) -> Fitted:
    """Fit a model to the host of ``spec``; the result may not fit, see :attr:`Option.shortages`.

    :raises InputError: ``fit-wish-impossible``.
    """
    wish, freedom = wish_of(spec)
    chosen = settled(candidate, wish, machine, freedom)
    return Fitted(option_of(candidate, chosen, machine, timing), machine, tuple(others), timing)


def with_layers(spec: HostSpec, fit: PlannedFit) -> HostSpec:
    """The spec with what the fit decides."""
    return replace(
        spec,
        gpu_layers=fit.gpu_layers,
        cpu_expert_layers=fit.cpu_expert_layers,
        gpu_memory_bytes=fit.gpu_memory_bytes,
    )


def with_layers_asked_for(spec: HostSpec) -> HostSpec:
    """The spec with as many layers on its cards as somebody named; for a model of which nobody knows more."""
    if not spec.cards or spec.wanted_gpu_layers == "auto":
        return spec
    wanted = spec.wanted_gpu_layers
    return replace(spec, gpu_layers=wanted if isinstance(wanted, int) else ALL_FROM)
