"""Paths that are asked without a key and with a wrong one: what inference servers are known to serve.

A server that has a path not listed here is still judged by those that are, so add what a release adds.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Question: TypeAlias = tuple[Literal["GET", "POST"], str]

MUST_REFUSE: tuple[Question, ...] = (
    ("GET", "/v1/models"),
    ("GET", "/props"),
    ("GET", "/metrics"),
    ("GET", "/slots"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/completion"),
    ("POST", "/tokenize"),
)
"""Served by llama-server; each must say 401, whatever the record lists as open."""

ALSO_ASKED: tuple[Question, ...] = (
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/v1/health"),
    ("GET", "/index.html"),
    ("GET", "/models"),
    ("GET", "/v1/models/"),
    ("GET", "//v1/models"),
    ("GET", "/api/tags"),
    ("GET", "/api/version"),
    ("GET", "/version"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/lora-adapters"),
    ("GET", "/tools"),
    ("GET", "/cors-proxy"),
    ("GET", "/models/sse"),
    ("GET", "/v1/stream"),
    ("GET", "/sw.js"),
    ("POST", "/props"),
    ("POST", "/api/show"),
    ("POST", "/api/chat"),
    ("POST", "/api/generate"),
    ("POST", "/completions"),
    ("POST", "/chat/completions"),
    ("POST", "/chat/completions/input_tokens"),
    ("POST", "/v1/chat/completions/input_tokens"),
    ("POST", "/v1/chat/completions/control"),
    ("POST", "/v1/streams/lookup"),
    ("POST", "/v1/systemone"),
    ("POST", "/predict"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/responses"),
    ("POST", "/responses"),
    ("POST", "/v1/responses/input_tokens"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/infill"),
    ("POST", "/embedding"),
    ("POST", "/embeddings"),
    ("POST", "/rerank"),
    ("POST", "/reranking"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/reranking"),
    ("POST", "/detokenize"),
    ("POST", "/apply-template"),
    ("POST", "/lora-adapters"),
    ("POST", "/slots/0"),
    ("POST", "/models/load"),
    ("POST", "/models/unload"),
)

QUESTIONS = MUST_REFUSE + ALSO_ASKED


GATEWAY_HEALTH_PATH = "/health/liveliness"
"""Of the gateway: the one path that answers without a key."""

GATEWAY_MUST_REFUSE: tuple[Question, ...] = (
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
)
"""All that the gateway serves; each must say 401 without a key."""

GATEWAY_MUST_BE_ABSENT: tuple[Question, ...] = (
    ("GET", "/"),
    ("GET", "/ui/"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/health"),
    ("GET", "/model/info"),
    ("GET", "/v1/model/info"),
    ("GET", "/get/config/callbacks"),
    ("GET", "/mcp-rest/tools/list"),
    ("POST", "/key/generate"),
    ("POST", "/config/update"),
    ("POST", "/model/new"),
    ("POST", "/health/test_connection"),
    ("POST", "/mcp-rest/test/connection"),
)
"""What LiteLLM has for administrators, and the gateway has not."""


def name_of(question: Question) -> str:
    """``GET /props``, as evidence names it."""
    return " ".join(question)
