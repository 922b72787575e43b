"""What the gateway answers, with and without its key, asked from its own host."""

from __future__ import annotations

import http.client
import json
import os
import stat
from typing import Any

from localai_deploy.verifier.probes.api_key import key_file, read_keys, redact
from localai_deploy.verifier.probes.endpoint import MAX_TOKENS, Server, ask_all, chat, wrong_key

REPLICA_HEADER = "x-litellm-model-id"


def gather(request: dict[str, Any]) -> dict[str, Any]:
    """Ask everything that the checks need.

    :param request: ``host`` and ``port`` to connect to, ``health_path``, ``api_key_file``,
        ``replica_keys_file``, ``models``, ``questions`` (pairs of method and path), ``answer_timeout_s``.
    :returns: with an ``error`` when nothing answers at all; then nothing else is asked.
    """
    server = Server(request["host"], request["port"])
    health, text = server.ask("GET", request["health_path"])
    if health == 0:
        return {"error": text}
    keys = read_keys(request["api_key_file"])
    key = keys[0] if keys else ""
    answers = {
        "error": "",
        "health_status": health,
        "key_file": key_file(request["api_key_file"]),
        "replica_keys_mode": mode_of(request["replica_keys_file"]),
        "without_key": ask_all(server, request["questions"], ""),
        "wrong_key": ask_all(server, request["questions"], wrong_key(key)),
        "models": ask_models(server, key),
        "completions": [
            ask_completion(request, key, model, request["answer_timeout_s"]) for model in request["models"]
        ],
    }
    redacted: dict[str, Any] = redact(answers, keys)
    return redacted


def mode_of(path: str) -> str:
    """Octal mode, ``0600``; empty when there is no such file."""
    try:
        return f"{stat.S_IMODE(os.lstat(path).st_mode):04o}"
    except OSError:
        return ""


def ask_models(server: Server, key: str) -> dict[str, Any]:
    """Names of the models that are listed."""
    status, text = server.ask("GET", "/v1/models", key=key)
    try:
        listed = [str(one["id"]) for one in json.loads(text)["data"]] if status == 200 else []
    except (ValueError, KeyError, TypeError):
        listed = []
    return {"status": status, "names": sorted(listed)}


def ask_completion(request: dict[str, Any], key: str, model: str, timeout_s: float) -> dict[str, Any]:
    """A chat completion, and the replica that gave it."""
    connection = http.client.HTTPConnection(request["host"], request["port"], timeout=timeout_s)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    body = {**chat(model), "max_tokens": MAX_TOKENS}
    found: dict[str, Any] = {"model": model, "status": 0, "replica": "", "text": "", "error": ""}
    try:
        connection.request("POST", "/v1/chat/completions", body=json.dumps(body).encode(), headers=headers)
        answer = connection.getresponse()
        text = answer.read(1 << 20).decode("utf-8", "replace")
        found |= {"status": answer.status, "replica": answer.getheader(REPLICA_HEADER) or ""}
        if answer.status != 200:
            return found | {"error": text[:500]}
        message = json.loads(text)["choices"][0]["message"]
        return found | {"text": str(message.get("content") or message.get("reasoning_content") or "")}
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
        return found | {"error": str(error) or type(error).__name__}
    finally:
        connection.close()
