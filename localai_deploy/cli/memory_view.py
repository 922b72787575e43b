"""Predicted against real memory, by device and part, as the report of ``up`` shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from localai_deploy.domain.fit.estimate import DeviceNeed
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.fit.server_log import DeviceMemory, ServerMemory
from localai_deploy.domain.units import format_bytes
from localai_deploy.verifier.report import Report

_PARTS = (("weights", "weights_bytes"), ("cache", "kv_bytes"), ("compute", "compute_bytes"))


def memory_of(report: Report, host: str) -> ServerMemory | None:
    """What the server told of its memory; ``None``: nothing."""
    found = report.find(host, "offload")
    told = found.evidence.get("memory") if found else None
    return ServerMemory.from_data(dict(told)) if isinstance(told, dict) else None


def memory_data(fit: PlannedFit, memory: ServerMemory) -> list[dict[str, Any]]:
    """One entry for each device: its parts, predicted and real, in bytes."""
    return [
        {
            "kind": need.kind,
            "name": need.name,
            "predicted": {key: getattr(need, key) for _, key in _PARTS},
            "real": {key: getattr(real, key) for _, key in _PARTS},
        }
        for need, real in _pairs(fit, memory)
    ]


def memory_lines(fit: PlannedFit, memory: ServerMemory) -> Iterator[str]:
    """``host: weights 92.1 MiB (predicted 92.1 MiB), …`` of each device."""
    for need, real in _pairs(fit, memory):
        parts = ", ".join(
            f"{name} {format_bytes(getattr(real, key))} (predicted {format_bytes(getattr(need, key))})"
            for name, key in _PARTS
        )
        yield f"{need.name}: {parts}"


def _pairs(fit: PlannedFit, memory: ServerMemory) -> Iterator[tuple[DeviceNeed, DeviceMemory]]:
    """The server's cards in their order stand for the plan's; one that it does not tell of holds nothing."""
    *cards, host = fit.devices
    real = [*memory.cards.values(), *[DeviceMemory()] * len(cards)]
    yield from zip(cards, real, strict=False)
    yield host, memory.host
