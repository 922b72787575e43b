"""A client of the gateway on a lab host."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass

GATEWAY_PORT = 4000
ANSWER_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Answered:
    """One request through the gateway; times are of the monotonic clock."""

    began: float
    ended: float
    status: int
    replica: str
    text: str = ""
    error: str = ""


def ask(address: str, key: str, model: str, *, tokens: int = 4) -> Answered:
    """One completion."""
    body = {"model": model, "max_tokens": tokens, "messages": [{"role": "user", "content": "Count to ten."}]}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(address, GATEWAY_PORT, timeout=ANSWER_TIMEOUT_S)
    began = time.monotonic()
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        replica = answer.getheader("x-litellm-model-id") or ""
        if answer.status != 200:
            return Answered(began, time.monotonic(), answer.status, replica, error=text[:300])
        said = json.loads(text)["choices"][0]["message"]["content"]
        return Answered(began, time.monotonic(), answer.status, replica, said)
    except OSError as error:
        return Answered(began, time.monotonic(), 0, "", error=repr(error))
    finally:
        connection.close()
