"""Figures of a bench run: medians with their spread, memory by part, energy above idle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from localai_deploy.domain.fit.server_log import buffers, load_seconds
from localai_deploy.verifier.report import JSON

LEAST_REPEATS = 3


def spread(values: Sequence[float]) -> dict[str, JSON]:
    """``{"median", "least", "most", "repeats"}``."""
    return {
        "median": round(median(values), 4),
        "least": round(min(values), 4),
        "most": round(max(values), 4),
        "repeats": len(values),
    }


def measures(data: Mapping[str, Any]) -> dict[str, JSON]:
    """Figures of the ``bench`` probe's evidence without an error; each repeat is one window's mean or sum."""
    windows, log = data["windows"], tuple((at, line) for at, line in data["service"]["log"]["lines"])
    held = buffers(line for _, line in log)
    questions = [one for window in windows for one in window]
    return {
        "prompt_tokens_per_s": spread([_rate(window, "prompt") for window in windows]),
        "generation_tokens_per_s": spread([_rate(window, "predicted") for window in windows]),
        "first_token_s": spread([median(one["first_token_s"] for one in window) for window in windows]),
        "load_s": load_seconds(log),
        "prompt_tokens": round(median(one["prompt_n"] for one in questions)),
        "generated_tokens": round(median(one["predicted_n"] for one in questions)),
        "buffers": [{"device": name, "part": part, "bytes": size} for (name, part), size in held.items()],
        "resident": dict(data["resident"]),
        "energy": list(energy(data)),
        "no_energy": data["nvml_error"],
    }


def energy(data: Mapping[str, Any]) -> Iterator[dict[str, JSON]]:
    """For each card: joules per token of prompt and answer, with the idle watts taken off."""
    for uuid, method in data["methods"].items():
        idle = data["idle"]["cards"].get(uuid, {})
        idle_w = _idle_watts(idle, data["idle"]["seconds"])
        held = idle.get("processes", {})
        own = [held[str(pid)] for pid in data["service"]["pids"] if held.get(str(pid)) is not None]
        yield {
            "uuid": uuid,
            "by": method,
            "idle_w": round(idle_w, 2),
            "window_s": round(median(sum(map(_seconds, window)) for window in data["windows"]), 1),
            "held_bytes": sum(own) if own else None,
            "joules_per_generated_token": spread(
                [_joules(window, uuid, idle_w, "decode", "predicted_n") for window in data["windows"]]
            ),
            "joules_per_prompt_token": spread(
                [_joules(window, uuid, idle_w, "prefill", "prompt_n") for window in data["windows"]]
            ),
        }


def _rate(window: Sequence[Mapping[str, Any]], part: str) -> float:
    """Tokens per second of a window by the server's own timings."""
    tokens = sum(one[f"{part}_n"] for one in window)
    seconds = sum(one[f"{part}_n"] / one[f"{part}_per_second"] for one in window)
    return float(tokens / seconds)


def _joules(window: Sequence[Mapping[str, Any]], uuid: str, idle_w: float, part: str, tokens: str) -> float:
    seconds = sum(one["decode_s" if part == "decode" else "first_token_s"] for one in window)
    joules = sum(one[f"{part}_j"][uuid] for one in window)
    return float((joules - idle_w * seconds) / sum(one[tokens] for one in window))


def _seconds(one: Mapping[str, Any]) -> float:
    return float(one["first_token_s"] + one["decode_s"])


def _idle_watts(idle: Mapping[str, Any], seconds: float) -> float:
    if idle.get("energy_j") is not None and seconds > 0:
        return float(idle["energy_j"] / seconds)
    return float(idle.get("power_w") or 0.0)
