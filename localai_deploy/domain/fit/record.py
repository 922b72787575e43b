"""What a host records of its fit: what was planned for which question, and what a measured run told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from localai_deploy.domain.facts import CorruptRecord, Record
from localai_deploy.domain.fit.calibration import calibrate, timing_data, timing_from
from localai_deploy.domain.fit.fitted import Fitted
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.fit.speed import Timing, touched
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.spec import HostSpec
from localai_deploy.errors import InputError

SCHEMA = 1
FEWEST_TOKENS = 8
"""A shorter answer measures nothing."""


def fit_record(fitted: Fitted, spec: HostSpec, model: ModelFile, rate: float | None) -> dict[str, Any]:
    """What to record after a run.

    :param rate: measured tokens/s of generation; ``None``: nothing was measured.
    """
    fit, timing = fitted.planned, None
    if rate is not None:
        timing = _timing(fitted, rate)
        fit = replace(fit, basis="measured", tokens_per_second=rate)
    return {
        "schema": SCHEMA,
        "question": _question(spec, model),
        "fit": fit.to_data(),
        "timing": timing_data(timing) if timing else None,
    }


def recorded_fit(record: Record, spec: HostSpec, model: ModelFile, memory_bytes: int) -> PlannedFit | None:
    """The recorded fit, if it answers this very question and the host still has the memory for it."""
    found = _readable(record)
    if not found or found.get("question") != _question(spec, model):
        return None
    try:
        fit = PlannedFit.from_data(found["fit"])
    except (KeyError, TypeError):
        return None
    return fit if fit.devices[-1].total_bytes <= memory_bytes else None


def recorded_timing(record: Record, spec: HostSpec) -> Timing | None:
    """What a run measured on this host with the cards that it still has."""
    found = _readable(record)
    question = found.get("question")
    if not isinstance(question, Mapping) or question.get("devices") != _devices(spec):
        return None
    try:
        return timing_from(found.get("timing"))
    except InputError:
        return None


def _readable(record: Record) -> Mapping[str, Any]:
    if record is None or isinstance(record, CorruptRecord) or record.get("schema") != SCHEMA:
        return {}
    return record


def _question(spec: HostSpec, model: ModelFile) -> dict[str, Any]:
    return {
        "model": model.file_name,
        "sha256": model.sha256,
        "context": spec.context_length,
        "parallel": spec.parallel,
        "gpu_layers": spec.wanted_gpu_layers,
        "cache_types": [spec.cache_type_k, spec.cache_type_v],
        "flash_attention": spec.flash_attention,
        "ubatch": spec.ubatch,
        "devices": _devices(spec),
    }


def _devices(spec: HostSpec) -> list[str]:
    return [spec.variant, *spec.cards]


def _timing(fitted: Fitted, rate: float) -> Timing | None:
    candidate, wish, machine = fitted.option.candidate, fitted.option.wish, fitted.machine
    try:
        return calibrate(touched(candidate.shape, wish, machine.cards, candidate.values), machine, rate)
    except InputError:
        return None
