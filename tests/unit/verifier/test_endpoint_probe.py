"""The questions to the API, asked of a small server that behaves as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.verifier.probes import endpoint
from localai_deploy.verifier.questions import MUST_REFUSE, QUESTIONS, name_of

KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
QUICK_S = 5


class Behaviour:
    """What the double does; tests change one thing."""

    def __init__(self) -> None:
        self.asks_for_key = True
        self.accepted = KEY
        self.stream = b'data: {"x": 1}\n\ndata: [DONE]\n\n'
        self.completion: Any = {
            "model": "small",
            "choices": [{"finish_reason": "stop", "message": {"content": "Paris."}}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2},
            "timings": {"predicted_per_second": 10.0},
        }
        self.loading_answers = 0
        self.seen: list[tuple[str, str, str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    """llama-server's manners as far as they are asked about."""

    server: Server

    def do_GET(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: Any) -> None:
        behaviour = self.server.behaviour
        key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        behaviour.seen.append((self.command, self.path, key, body))
        if self.path == "/health":
            behaviour.loading_answers -= 1
            self.send(503 if behaviour.loading_answers >= 0 else 200, b'{"status": "?"}')
        elif behaviour.asks_for_key and key != behaviour.accepted:
            self.send(401, b'{"error": "no"}')
        elif self.path == "/v1/chat/completions" and body.get("stream"):
            self.send(200, behaviour.stream)
        else:
            found = self.pages().get(self.path)
            self.send(200 if found is not None else 404, json.dumps(found).encode())

    def pages(self) -> dict[str, Any]:
        return {
            "/v1/chat/completions": self.server.behaviour.completion,
            "/v1/models": {"data": [{"id": "small", "meta": {"n_params": 1}}]},
            "/props": {"build_info": "b1-x", "total_slots": 1, "chat_template": "long"},
            "/slots": [{"id": 0, "n_ctx": 4096, "prompt": "somebody's secret question"}],
            "/metrics": "x",
            "/completion": {},
            "/tokenize": {},
        }

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Carries the behaviour to the handlers."""

    behaviour: Behaviour


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[dict[str, Any]]:
    server = Server(("127.0.0.1", 0), Handler)
    server.behaviour = behaviour
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield {
            "host": "127.0.0.1",
            "port": server.server_port,
            "health_path": "/health",
            "alias": "small",
            "questions": [list(question) for question in QUESTIONS],
            "answer_timeout_s": QUICK_S,
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    (tmp_path / "api-key").write_text(KEY + "\n")
    return str(tmp_path / "api-key")


def gather(behaviour: Behaviour, key_file: str) -> dict[str, Any]:
    with serving(behaviour) as request:
        return endpoint.gather({**request, "api_key_file": key_file})


def test_a_server_that_asks_for_its_key(key_file: str) -> None:
    behaviour = Behaviour()
    found = gather(behaviour, key_file)
    assert found["health"]["status"] == 200
    assert found["has_key"] is True
    for answers in (found["without_key"], found["wrong_key"]):
        assert {answers[name_of(question)] for question in MUST_REFUSE} == {401}
        assert answers["GET /health"] == 200
    assert found["models"] == {"status": 200, "models": [{"id": "small", "meta": {"n_params": 1}}]}
    assert found["props"]["build_info"] == "b1-x"
    assert found["slots"] == {"status": 200, "context_lengths": [4096]}
    assert found["completion"]["text"] == "Paris."
    assert found["stream"] == {"status": 200, "events": 2, "last": "[DONE]", "error": ""}


def test_neither_the_key_nor_a_users_prompt_comes_back(key_file: str) -> None:
    behaviour = Behaviour()
    behaviour.completion["choices"][0]["message"]["content"] = f"Your key is {KEY}."
    found = gather(behaviour, key_file)
    assert KEY not in json.dumps(found)
    assert "secret question" not in json.dumps(found)
    assert found["completion"]["text"] == "Your key is [redacted]."


def test_the_wrong_key_is_nearly_the_right_one(key_file: str) -> None:
    behaviour = Behaviour()
    gather(behaviour, key_file)
    wrong = {key for _, _, key, _ in behaviour.seen} - {"", KEY}
    assert wrong == {KEY[:-1] + "a"}


def test_a_server_that_compares_only_the_beginning_is_seen(key_file: str) -> None:
    behaviour = Behaviour()
    behaviour.accepted = KEY[:-1] + "a"
    found = gather(behaviour, key_file)
    assert found["without_key"]["GET /v1/models"] == 401
    assert found["wrong_key"]["GET /v1/models"] == 200
    assert found["models"] == {"status": 401, "models": []}


def test_a_server_without_a_key_is_seen_and_not_harmed(key_file: str) -> None:
    behaviour = Behaviour()
    behaviour.asks_for_key = False
    found = gather(behaviour, key_file)
    assert {found["without_key"][name] for name in ("GET /v1/models", "GET /props", "GET /slots")} == {200}
    asked = [body for method, _, key, body in behaviour.seen if method == "POST" and key != KEY]
    assert asked
    assert all(body["max_tokens"] == 1 and body["n_predict"] == 1 for body in asked)


def test_the_question_is_always_the_same(key_file: str) -> None:
    behaviour = Behaviour()
    gather(behaviour, key_file)
    first, second = [body for _, path, key, body in behaviour.seen if "chat" in path and key == KEY]
    assert first["temperature"] == second["temperature"] == 0
    assert first["seed"] == second["seed"]
    assert second["stream"] is True


def test_a_model_that_is_being_loaded_is_waited_for(key_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "LOADING_POLL_S", 0)
    behaviour = Behaviour()
    behaviour.loading_answers = 3
    assert gather(behaviour, key_file)["health"]["status"] == 200


def test_a_model_that_is_never_loaded_is_not_waited_for_long(
    key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "LOADING_POLL_S", 0)
    monkeypatch.setattr(endpoint, "LOADING_WAIT_S", 0.1)
    behaviour = Behaviour()
    behaviour.loading_answers = 1_000_000
    assert gather(behaviour, key_file)["health"]["status"] == 503


@pytest.mark.parametrize(
    ("stream", "last"),
    [
        (b'data: {"x": 1}\n\n', '{"x": 1}'),
        (b"", ""),
        (b"no events at all", ""),
    ],
)
def test_a_stream_that_does_not_end_well(key_file: str, stream: bytes, last: str) -> None:
    behaviour = Behaviour()
    behaviour.stream = stream
    assert gather(behaviour, key_file)["stream"]["last"] == last


@pytest.mark.parametrize("completion", [[], "text", {"choices": []}, {"choices": [{}]}, {}])
def test_a_strange_completion_has_no_text(key_file: str, completion: Any) -> None:
    behaviour = Behaviour()
    behaviour.completion = completion
    assert not gather(behaviour, key_file)["completion"].get("text")


def test_nobody_there(key_file: str) -> None:
    with serving(Behaviour()) as request:
        pass
    assert endpoint.gather({**request, "api_key_file": key_file}) == {
        "error": "[Errno 111] Connection refused"
    }


def test_no_key_to_read(tmp_path: Path) -> None:
    found = gather(Behaviour(), str(tmp_path / "none"))
    assert found["has_key"] is False
    assert found["models"]["status"] == 401
