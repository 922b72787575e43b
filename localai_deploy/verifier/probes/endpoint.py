"""What the API answers on the bound address, with and without the key, asked from the host itself."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

from localai_deploy.verifier.probes.api_key import read_keys, redact

SHORT_TIMEOUT_S = 15.0
LOADING_WAIT_S = 60.0
LOADING_POLL_S = 1.0
BODY_LIMIT_BYTES = 4 << 20
QUESTION = "What is the capital of France? Answer in one sentence."
MAX_TOKENS = 48
STREAM_TOKENS = 8
HARMLESS_BODY = {
    "model": "none",
    "messages": [{"role": "user", "content": "x"}],
    "prompt": "x",
    "input": "x",
    "content": "x",
    "tokens": [1],
    "n_predict": 1,
    "max_tokens": 1,
}


@dataclass(frozen=True)
class Server:
    """Where the API listens; one connection per question, because refusals close theirs."""

    host: str
    port: int

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str = "",
        body: object = None,
        timeout_s: float = SHORT_TIMEOUT_S,
    ) -> tuple[int, str]:
        """Status and text; status 0 and the reason when there was no answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            answer = self._send(connection, method, path, key, body)
            return answer.status, answer.read(BODY_LIMIT_BYTES).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return 0, str(error) or type(error).__name__
        finally:
            connection.close()

    def ask_stream(self, path: str, *, key: str, body: object, timeout_s: float) -> dict[str, Any]:
        """Number and last one of the events that the answer streams."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        try:
            answer = self._send(connection, "POST", path, key, body)
            lines = answer.read(BODY_LIMIT_BYTES).decode("utf-8", "replace").splitlines()
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return {"status": 0, "events": 0, "last": "", "error": str(error) or type(error).__name__}
        finally:
            connection.close()
        events = [line[len("data:") :].strip() for line in lines if line.startswith("data:")]
        last = events[-1] if events else ""
        return {"status": answer.status, "events": len(events), "last": last[:200], "error": ""}

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, key: str, body: object
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, body=data, headers=headers)
        return connection.getresponse()


def gather(request: dict[str, Any]) -> dict[str, Any]:
    """Ask everything that the checks need.

    :param request: ``host`` and ``port`` to connect to, ``health_path``, ``api_key_file``, ``alias``,
        ``questions`` (pairs of method and path), ``answer_timeout_s`` (for a completion).
    :returns: with an ``error`` when nothing answers at all; then nothing else is asked.
    """
    server = Server(request["host"], request["port"])
    health = ask_health(server, request["health_path"])
    if health["status"] == 0:
        return {"error": health["text"]}
    keys = read_keys(request["api_key_file"])
    key = keys[0] if keys else ""
    answers = {
        "error": "",
        "has_key": bool(keys),
        "health": health,
        "without_key": ask_all(server, request["questions"], ""),
        "wrong_key": ask_all(server, request["questions"], wrong_key(key)),
        "models": ask_models(server, key),
        "props": ask_props(server, key),
        "slots": ask_slots(server, key),
        "metrics_status": server.ask("GET", "/metrics", key=key)[0],
        "completion": ask_completion(server, key, request["alias"], request["answer_timeout_s"]),
        "stream": ask_stream(server, key, request["alias"], request["answer_timeout_s"]),
    }
    redacted: dict[str, Any] = redact(answers, keys)
    return redacted


def wrong_key(key: str) -> str:
    """The real key but for its last character; a made-up one when there is none."""
    return key[:-1] + ("a" if key[-1] != "a" else "b") if len(key) > 1 else "not-the-key"


def ask_health(server: Server, path: str) -> dict[str, Any]:
    """Health without a key; a model that is still being loaded (503) is waited for."""
    deadline = time.monotonic() + LOADING_WAIT_S
    while True:
        status, text = server.ask("GET", path)
        if status != 503 or time.monotonic() > deadline:
            return {"status": status, "text": text[:500]}
        time.sleep(LOADING_POLL_S)


def ask_all(server: Server, questions: list[list[str]], key: str) -> dict[str, int]:
    """``"GET /props"`` → status, 0 for no answer."""
    return {
        f"{method} {path}": server.ask(
            method, path, key=key, body=HARMLESS_BODY if method == "POST" else None
        )[0]
        for method, path in questions
    }


def ask_models(server: Server, key: str) -> dict[str, Any]:
    """Id and meta of every model listed."""
    status, data = _json(server.ask("GET", "/v1/models", key=key))
    listed = data.get("data") if isinstance(data, dict) else None
    return {
        "status": status,
        "models": [{"id": str(one.get("id")), "meta": one.get("meta") or {}} for one in listed or []],
    }


def ask_props(server: Server, key: str) -> dict[str, Any]:
    """The server's build, model and slots; not its templates and defaults."""
    status, data = _json(server.ask("GET", "/props", key=key))
    data = data if isinstance(data, dict) else {}
    wanted = ("build_info", "model_path", "model_alias", "total_slots")
    return {"status": status, **{name: data.get(name) for name in wanted}}


def ask_slots(server: Server, key: str) -> dict[str, Any]:
    """Context length of each slot; what the slots are working on stays on the host."""
    status, data = _json(server.ask("GET", "/slots", key=key))
    slots = data if isinstance(data, list) else []
    return {"status": status, "context_lengths": [slot.get("n_ctx") for slot in slots]}


def ask_completion(server: Server, key: str, alias: str, timeout_s: float) -> dict[str, Any]:
    """A chat completion with a fixed seed and temperature 0."""
    started = time.monotonic()
    body = {**chat(alias), "max_tokens": MAX_TOKENS, "cache_prompt": False}
    status, text = server.ask("POST", "/v1/chat/completions", key=key, body=body, timeout_s=timeout_s)
    wall_s = round(time.monotonic() - started, 3)
    _, data = _json((status, text))
    if status != 200 or not isinstance(data, dict):
        return {"status": status, "wall_s": wall_s, "error": text[:500]}
    choices = data.get("choices") or [{}]
    message = choices[0].get("message") or {}
    return {
        "status": status,
        "wall_s": wall_s,
        "error": "",
        "model": data.get("model"),
        "text": str(message.get("content") or message.get("reasoning_content") or ""),
        "finish_reason": choices[0].get("finish_reason"),
        "usage": data.get("usage") or {},
        "timings": data.get("timings") or {},
    }


def ask_stream(server: Server, key: str, alias: str, timeout_s: float) -> dict[str, Any]:
    """The same question as a stream of few tokens."""
    body = {**chat(alias), "max_tokens": STREAM_TOKENS, "stream": True}
    return server.ask_stream("/v1/chat/completions", key=key, body=body, timeout_s=timeout_s)


def chat(alias: str) -> dict[str, Any]:
    """The fixed question."""
    return {
        "model": alias,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "seed": 1,
    }


def _json(answer: tuple[int, str]) -> tuple[int, Any]:
    """Status and decoded body; None for a body that is no JSON."""
    try:
        return answer[0], json.loads(answer[1])
    except ValueError:
        return answer[0], None
