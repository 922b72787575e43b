"""What a card does when idle and while the model answers, beside the service's own log."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from localai_deploy.verifier.probes import endpoint, service
from localai_deploy.verifier.probes.api_key import read_keys, redact
from localai_deploy.verifier.probes.card_samples import CardSamples
from localai_deploy.verifier.probes.isolated import call
from localai_deploy.verifier.probes.libraries import CallFailed
from localai_deploy.verifier.probes.nvml import Nvml

NOTHING: dict[str, Any] = {"seconds": 0.0, "cards": {}}


def gather(request: dict[str, Any]) -> dict[str, Any]:
    """Evidence of one stretch of work.

    :param request: ``unit``, ``nvml`` (names), ``host``, ``port``, ``api_key_file``, ``alias``,
        ``answer_timeout_s``, ``idle_s`` and ``busy_s``: completions follow each other until it is over.
    """
    keys = read_keys(request["api_key_file"])
    limit_s = request["idle_s"] + request["busy_s"] + request["answer_timeout_s"] + 60.0
    watched = call(watch, {**request, "key": keys[0] if keys else ""}, limit_s)
    evidence = {
        "error": "",
        "idle": NOTHING,
        "busy": NOTHING,
        "completion": {"status": 0, "error": "none was asked for", "wall_s": 0.0},
        **watched,
        "service": service.read(request["unit"]),
    }
    redacted: dict[str, Any] = redact(evidence, keys)
    return redacted


def watch(request: dict[str, Any]) -> dict[str, Any]:
    """Sample an idle and a busy span; without NVML the reason is the ``error`` and only the work is done."""
    with contextlib.ExitStack() as stack:
        error, nvml = "", None
        try:
            nvml = stack.enter_context(Nvml(request["nvml"]))
        except CallFailed as failure:
            error = str(failure)
        with CardSamples(nvml) as idle:
            time.sleep(request["idle_s"])
        with CardSamples(nvml) as busy:
            completion = work(request)
    return {"error": error, "idle": idle.data(), "busy": busy.data(), "completion": completion}


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Completions until ``busy_s`` are over, at least one; the first one's answer."""
    server = endpoint.Server(request["host"], request["port"])
    ends = time.monotonic() + request["busy_s"]
    first: dict[str, Any] = {}
    while not first or (time.monotonic() < ends and first["status"] == 200):
        answer = endpoint.ask_completion(
            server, request["key"], request["alias"], request["answer_timeout_s"]
        )
        first = first or answer
    return first
