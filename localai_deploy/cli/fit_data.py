"""What ``fit -o json`` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from localai_deploy.domain.fit.choice import Choice, Option, layers_text
from localai_deploy.domain.fit.estimate import DeviceNeed
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.offer import Candidate
from localai_deploy.domain.fit.speed import LIKELY, PROMPT_TOKENS, Speed
from localai_deploy.domain.fit.wish import Wish
from localai_deploy.workflow.second_opinion import SecondOpinion

CONVERTED = (
    "these are safetensors, which no runtime of this program serves: the figures are those of a GGUF made "
    "from them; publishers keep one in a repository named …-GGUF"
)


def option_data(option: Option, machine: Machine) -> dict[str, Any]:
    """One way to serve a model: devices, layers, speed."""
    there = [card.memory_bytes for card in machine.cards] + [machine.ram_bytes]
    return {
        "fits": option.fits,
        "model": _model_data(option.candidate),
        "wish": wish_data(option.wish, option.estimate.gpu_layers),
        "devices": [
            _device_data(need, size) for need, size in zip(option.estimate.devices, there, strict=True)
        ],
        "gpu_layers": option.estimate.gpu_layers,
        "layers": option.estimate.layers,
        "cpu_expert_layers": option.wish.cpu_expert_layers,
        "confidence": option.estimate.confidence,
        "tokens_per_second": _rounded(option.speed.generation),
        "basis": option.speed.basis,
        "speed": _speed_data(option.speed),
    }


def _model_data(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "architecture": candidate.shape.architecture,
        "quantization": candidate.quantization,
        "size_bytes": candidate.size_bytes,
        "parameters": candidate.values,
        "bits_per_weight": round(candidate.bits_per_weight, 2),
        "trained_context": candidate.trained_context,
        "header_read": candidate.exact,
    }


def wish_data(wish: Wish, gpu_layers: int) -> dict[str, Any]:
    """How the server is started."""
    return {
        "context": wish.context,
        "gpu_layers": gpu_layers,
        "flash_attention": wish.flash_attention,
        "ubatch": wish.ubatch,
        "cache_type_k": wish.cache_type_k,
        "cache_type_v": wish.cache_type_v,
        "parallel": wish.parallel,
        "cpu_expert_layers": wish.cpu_expert_layers,
    }


def _device_data(need: DeviceNeed, memory_bytes: int) -> dict[str, Any]:
    return {
        "kind": need.kind,
        "name": need.name,
        "weights_bytes": need.weights_bytes,
        "kv_bytes": need.kv_bytes,
        "compute_bytes": need.compute_bytes,
        "context_overhead_bytes": need.context_overhead_bytes,
        "draft_bytes": need.draft_bytes,
        "projector_bytes": need.projector_bytes,
        "margin_bytes": need.margin_bytes,
        "total_bytes": need.total_bytes,
        "memory_bytes": memory_bytes or None,
    }


def _speed_data(speed: Speed) -> dict[str, Any]:
    return {
        "generation_range": _range(speed.generation_range),
        "generation_full_context": _rounded(speed.full_context),
        "prompt_range": _range(speed.prompt_range),
        "first_token_range_s": _range(speed.first_token_range_s, 3),
        "prompt_tokens": PROMPT_TOKENS,
    }


def choice_data(choice: Choice) -> list[dict[str, Any]]:
    """What was not chosen, and why."""
    return [
        {
            "name": one.option.candidate.name,
            "quantization": one.option.candidate.quantization,
            "size_bytes": one.option.candidate.size_bytes,
            "gpu_layers": one.option.estimate.gpu_layers,
            "tokens_per_second": _rounded(one.option.speed.generation),
            "why_not": one.why,
        }
        for one in choice.rejected
    ]


def near_data(option: Option) -> dict[str, Any]:
    """A possible way next to one that is not."""
    return {
        "name": option.candidate.name,
        "quantization": option.candidate.quantization,
        "wish": wish_data(option.wish, option.estimate.gpu_layers),
        "layers": layers_text(option),
        "tokens_per_second": _rounded(option.speed.generation),
    }


def opinion_data(opinion: SecondOpinion) -> dict[str, Any]:
    """What the runtime's own dry run says."""
    return {"skipped": opinion.skipped, "devices": [asdict(told) for told in opinion.devices]}


def assumptions(machine: Machine, *, converted: bool = False) -> list[str]:
    """What figures rest on that nobody looked at.

    :param converted: the repository holds original weights.
    """
    found = [CONVERTED] if converted else []
    if not machine.host_bandwidth_bytes_s:
        found.append(
            f"host memory reads {LIKELY.host_bytes_s / 1e9:g} GB/s (25 to 60 in the range): --host-bandwidth"
        )
    if not machine.ram_bytes:
        found.append("the host has memory enough: --ram")
    found += [
        f"the bandwidth of {card.name} is unknown, so its speed is: --gpu NAME or --bandwidth"
        for card in machine.cards
        if not card.bandwidth_bytes_s
    ]
    found += [
        f"{card.name} is taken for one of 188 multiprocessors in CUDA's own share"
        for card in machine.cards
        if not card.multiprocessors
    ]
    return [*found, "the server's prompt cache may take up to 8 GiB more of the host as it is used"]


def _range(pair: tuple[float, float] | None, digits: int = 1) -> list[float] | None:
    return None if pair is None else [round(one, digits) for one in pair]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
