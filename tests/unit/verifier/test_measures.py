"""Measures: the figures out of what was seen, the probe against a server, and the lines that tell them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fake_libraries import build
from gpu_samples import BENCH, MIB, UUID
from verifier_doubles import changed, verdicts

from localai_deploy.cli.bench_view import bench_lines
from localai_deploy.verifier.measures import measures
from localai_deploy.verifier.probes import bench
from localai_deploy.verifier.report import CheckResult, Outcome, Report

TOKENS = 12


def test_speed_is_the_windows_and_its_spread() -> None:
    found: dict[str, Any] = dict(measures(BENCH))
    assert found["prompt_tokens_per_s"] == {"median": 5120, "least": 5120, "most": 5120, "repeats": 3}
    assert found["generation_tokens_per_s"]["median"] == 200
    assert found["first_token_s"]["median"] == 0.1
    assert found["load_s"] == 1.24
    assert {"device": "CUDA0", "part": "KV", "bytes": 90 * MIB} in found["buffers"]


def test_energy_is_that_above_idle() -> None:
    """60 J in 0.5 s at 20 W idle: 50 J for 100 tokens."""
    found: dict[str, Any] = dict(measures(BENCH))
    (card,) = found["energy"]
    assert card["idle_w"] == 20.0
    assert card["joules_per_generated_token"] == {
        "median": 0.6,
        "least": 0.5,
        "most": 0.7,
        "repeats": 3,
    }
    assert card["joules_per_prompt_token"]["median"] == round(18 / 512, 4)
    assert card["held_bytes"] == 702 * MIB


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("error", "status 503: loading", "cannot be measured: status 503"),
        ("windows", BENCH["windows"][:2], "there are 2 repeats; a spread takes 3"),
        ("windows/1/0/predicted_per_second", 0, "tells no tokens per second"),
    ],
)
def test_what_cannot_be_measured_is_a_failure(path: str, value: Any, words: str) -> None:
    outcome, detail = verdicts(bench=changed(BENCH, path, value))["bench"]
    assert outcome == "fail"
    assert words in detail


class Streaming(BaseHTTPRequestHandler):
    """A server that streams as llama-server does."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["stream"]
        assert body["ignore_eos"]
        self.send_response(200)
        self.end_headers()
        time.sleep(0.05)
        self.event({"choices": [{"delta": {"role": "assistant", "content": None}}]})
        for _ in range(3):
            self.event({"choices": [{"delta": {"content": "a "}}]})
            time.sleep(0.02)
        words = len(body["messages"][0]["content"].split())
        timings = {
            "prompt_n": words,
            "prompt_per_second": words / 0.05,
            "predicted_n": body["max_tokens"],
            "predicted_per_second": body["max_tokens"] / 0.06,
        }
        self.event({"choices": [], "timings": timings})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, data: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Streaming) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def request(port: int, names: list[str]) -> dict[str, Any]:
    return {
        "unit": "localai-no-such.service",
        "nvml": names,
        "host": "127.0.0.1",
        "port": port,
        "api_key_file": "/nowhere/key",
        "alias": "small",
        "answer_timeout_s": 5.0,
        "prompt_tokens": 20,
        "generated_tokens": TOKENS,
        "repeats": 3,
        "window_s": 0.3,
        "idle_s": 0.2,
    }


def test_a_host_without_a_card_is_measured_in_speed_alone(port: int) -> None:
    found = bench.gather(request(port, ["/nowhere/libnvidia-ml.so.1"]))
    assert found["error"] == ""
    assert [len(window) for window in found["windows"]] == [1, 1, 1]
    figures: dict[str, Any] = dict(measures(found))
    assert figures["energy"] == []
    assert "cannot open shared object file" in figures["no_energy"]
    assert (figures["prompt_tokens"], figures["generated_tokens"]) == (20, TOKENS)
    assert figures["first_token_s"]["least"] >= 0.05


@pytest.mark.parametrize(("fault", "method"), [("", "energy counter"), ("no-energy", "power polling")])
def test_energy_by_the_counter_or_by_polling(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, method: str
) -> None:
    """The stand-in always draws 21.5 W, so that nothing is left above idle."""
    monkeypatch.setenv("FAKE_NVML", fault)
    library = str(build(tmp_path, "fake_nvml.c", "libnvidia-ml.so"))
    found = bench.gather(request(port, [library]))
    assert found["methods"] == {UUID: method}
    assert all(len(window) > 1 for window in found["windows"])
    joules = sum(one["decode_j"][UUID] for window in found["windows"] for one in window)
    seconds = sum(one["decode_s"] for window in found["windows"] for one in window)
    assert joules / seconds == pytest.approx(21.5, rel=0.5)


def test_a_server_that_is_not_there_is_told() -> None:
    found = bench.gather(request(1, ["/nowhere/libnvidia-ml.so.1"]))
    assert "Connection refused" in found["error"]


def test_the_lines() -> None:
    figures = measures(BENCH)
    result = CheckResult("alpha", "bench", "measured", Outcome.PASS, "", figures)
    assert list(bench_lines(Report((result,)), "alpha")) == [
        "alpha: measured",
        "  prompt       5120 tokens/s (5120 to 5120, 3 repeats) of 512 tokens",
        "  generation   200 tokens/s (200 to 200, 3 repeats) of 100 tokens",
        "  first token  0.1 s (0.1 to 0.1, 3 repeats)",
        "  load         1.2 s from the start",
        "  memory       300.0 MiB of its own and 95.0 MiB of mapped files in main memory",
        "               CPU_Mapped: model 28.7 MiB",
        "               CUDA0: model 92.1 MiB, KV 90.0 MiB, compute 97.0 MiB",
        "               CUDA_Host: output 389.1 KiB, compute 9.5 MiB",
        f"  energy       {UUID} by energy counter, 20 W idle subtracted",
        "               0.6 J (0.5 to 0.7, 3 repeats) per token of answer, windows of 1 s",
        "               0.0352 J (0.0352 to 0.0352, 3 repeats) per token of prompt, windows of 1 s",
    ]


def test_no_lines_without_measures() -> None:
    failed = CheckResult("alpha", "bench", "measured", Outcome.FAIL, "no answer")
    assert list(bench_lines(Report((failed,)), "alpha")) == []
    assert list(bench_lines(Report(()), "alpha")) == []
