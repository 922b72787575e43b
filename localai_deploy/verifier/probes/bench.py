"""Measures of a running server: speed, time to the first token, memory and energy, over repeated windows."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import time
from dataclasses import dataclass
from typing import Any

from localai_deploy.verifier.probes import endpoint, service
from localai_deploy.verifier.probes.api_key import read_keys, redact
from localai_deploy.verifier.probes.card_samples import CardSamples
from localai_deploy.verifier.probes.energy import EnergyMeter
from localai_deploy.verifier.probes.isolated import call
from localai_deploy.verifier.probes.libraries import CallFailed
from localai_deploy.verifier.probes.memory import resident
from localai_deploy.verifier.probes.nvml import Nvml

WORDS = ("river", "stone", "light", "paper", "green", "winter", "music", "table", "apple", "cloud", "horse")
WARM_UP_TOKENS = 8
LIMIT_S = 3400.0


@dataclass
class Moment:
    """A point in time with the cards' energy by UUID, in joules."""

    at: float
    joules: dict[str, float]


def gather(request: dict[str, Any]) -> dict[str, Any]:
    """Evidence of ``repeats`` windows.

    :param request: ``unit``, ``nvml``, ``host``, ``port``, ``api_key_file``, ``alias``, ``answer_timeout_s``,
        ``prompt_tokens`` and ``generated_tokens`` of a question, ``repeats``, ``window_s`` (each window asks
        until it is over; without a card one question), ``idle_s`` (before the first; with a card only).
    """
    keys = read_keys(request["api_key_file"])
    measured = call(measure, {**request, "key": keys[0] if keys else ""}, LIMIT_S)
    running = service.read(request["unit"])
    evidence = {
        "error": "",
        "nvml_error": "",
        "methods": {},
        "idle": {"seconds": 0.0, "cards": {}},
        "windows": [],
        **measured,
        "service": running,
        "resident": resident(running["pids"]),
    }
    redacted: dict[str, Any] = redact(evidence, keys)
    return redacted


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """An idle span, a warm-up, and the windows; without NVML speed alone, and why."""
    with contextlib.ExitStack() as stack:
        nvml, reason = None, ""
        try:
            nvml = stack.enter_context(Nvml(request["nvml"]))
        except CallFailed as failure:
            reason = str(failure)
        with CardSamples(nvml) as idle:
            time.sleep(request["idle_s"] if nvml else 0.0)
        meter = stack.enter_context(EnergyMeter(nvml))
        question(request, meter, WARM_UP_TOKENS)
        window_s = request["window_s"] if nvml else 0.0
        windows = [window(request, meter, window_s) for _ in range(request["repeats"])]
        return {
            "error": next((one["error"] for found in windows for one in found if one["error"]), ""),
            "nvml_error": reason,
            "methods": meter.methods(),
            "idle": idle.data(),
            "windows": windows,
        }


def window(request: dict[str, Any], meter: EnergyMeter, window_s: float) -> list[dict[str, Any]]:
    """Questions one after the other until the time is over, at least one; a failed one ends it."""
    ends = time.monotonic() + window_s
    found: list[dict[str, Any]] = []
    while not found or (time.monotonic() < ends and not found[-1]["error"]):
        found.append(question(request, meter, request["generated_tokens"]))
    return found


def question(request: dict[str, Any], meter: EnergyMeter, tokens: int) -> dict[str, Any]:
    """One streamed answer of exactly ``tokens`` tokens to a prompt that no cache has."""
    words = " ".join(random.choices(WORDS, k=request["prompt_tokens"]))  # noqa: S311 - no secret
    body = {
        **endpoint.chat(request["alias"]),
        "messages": [{"role": "user", "content": words}],
        "max_tokens": tokens,
        "ignore_eos": True,
        "cache_prompt": False,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    connection = http.client.HTTPConnection(
        request["host"], request["port"], timeout=request["answer_timeout_s"]
    )
    try:
        return _stream(connection, request["key"], body, meter)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return {"error": str(error) or type(error).__name__}
    finally:
        connection.close()


def _stream(
    connection: http.client.HTTPConnection, key: str, body: dict[str, Any], meter: EnergyMeter
) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    began = _moment(meter)
    connection.request("POST", "/v1/chat/completions", body=json.dumps(body).encode(), headers=headers)
    answer = connection.getresponse()
    if answer.status != 200:
        return {"error": f"status {answer.status}: {answer.read(500).decode('utf-8', 'replace')}"}
    first: Moment | None = None
    timings: dict[str, Any] = {}
    for line in iter(answer.readline, b""):
        event = line.decode("utf-8", "replace").strip()
        if event == "data: [DONE]":
            break
        if event.startswith("data:"):
            data = json.loads(event[len("data:") :])
            timings = data.get("timings") or timings
            first = first or (_moment(meter) if _has_text(data) else None)
    if first is None or not timings:
        return {"error": "the stream had no text, or told no timings at its end"}
    return {"error": "", **_figures(timings, began, first, _moment(meter))}


def _figures(timings: dict[str, Any], began: Moment, first: Moment, ended: Moment) -> dict[str, Any]:
    names = ("prompt_n", "prompt_per_second", "predicted_n", "predicted_per_second")
    return {
        **{name: timings.get(name) or 0 for name in names},
        "first_token_s": round(first.at - began.at, 4),
        "decode_s": round(ended.at - first.at, 4),
        "prefill_j": _between(began, first),
        "decode_j": _between(first, ended),
    }


def _has_text(data: dict[str, Any]) -> bool:
    deltas = [choice.get("delta") or {} for choice in data.get("choices") or []]
    return any(one.get("content") or one.get("reasoning_content") for one in deltas)


def _moment(meter: EnergyMeter) -> Moment:
    return Moment(time.monotonic(), meter.read())


def _between(one: Moment, other: Moment) -> dict[str, float]:
    return {uuid: round(joules - one.joules[uuid], 4) for uuid, joules in other.joules.items()}
