#!/usr/bin/env python3
"""LiteLLM's proxy with keys from systemd's credentials, and with no path but those of inference.

Started by the unit, with LiteLLM's Python and the words of its own command line. ``CREDENTIALS_DIRECTORY``
holds ``api-key`` (the clients' keys, one a line) and ``replica-keys`` (JSON: a replica's name to its key).
LiteLLM reads those of replicas as ``os.environ/LOCALAI_KEY_OF_NAME``; they are put there by this process
alone, so that neither the command line nor ``/proc/PID/environ`` shows them.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    from fastapi import Request
    from litellm.proxy._types import UserAPIKeyAuth

OPEN_PATHS = frozenset({"/health/liveliness"})
INFERENCE_PATHS = frozenset({"/v1/models", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"})
KEY_VARIABLE = "LOCALAI_KEY_OF_"
CONNECT_TIMEOUT_S = 3.0
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""A replica that vanished while it worked on an answer is given up after 25 s."""
_NOT_FOUND = b'{"error": {"message": "the gateway serves no such path", "type": "not_found", "code": "404"}}'

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class OnlyInference:
    """ASGI middleware: LiteLLM's pages, documentation and management do not exist."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is served; answer 404 to any other request."""
        is_served = scope["type"] == "http" and scope["path"] in OPEN_PATHS | INFERENCE_PATHS
        if is_served or scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": _NOT_FOUND})
        else:
            await send({"type": "websocket.close", "code": 1008})


async def user_api_key_auth(request: Request, api_key: str | None) -> UserAPIKeyAuth:
    """LiteLLM's hook ``custom_auth``: a client's key opens what is served, with no rights beyond it."""
    from fastapi import HTTPException
    from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

    del request
    if not is_client_key(api_key or "", client_keys()):
        raise HTTPException(status_code=401, detail="the key is not one of this gateway's")
    return UserAPIKeyAuth(user_id="client", user_role=LitellmUserRoles.INTERNAL_USER)


def is_client_key(given: str, keys: tuple[str, ...]) -> bool:
    """Whether ``given`` is one of ``keys``; how long that takes tells nothing of them."""
    word = given.encode("utf-8", "surrogatepass")
    return sum(secrets.compare_digest(word, key.encode()) for key in keys) > 0


@lru_cache(maxsize=1)
def client_keys() -> tuple[str, ...]:
    """Keys of the clients; without one nobody is let in."""
    return tuple(credential("api-key").split())


def credential(name: str) -> str:
    """Text of one of the unit's credentials."""
    return (Path(os.environ["CREDENTIALS_DIRECTORY"]) / name).read_text(encoding="utf-8")


def client_of_replicas() -> httpx.AsyncClient:
    """What LiteLLM reaches replicas with: it tells one that is gone from one that is busy.

    A machine that is up takes connections at once, however long its server has to do with earlier requests.
    One that takes none within :data:`CONNECT_TIMEOUT_S` is down, as if it had refused: LiteLLM's own look at
    its health would pass over a timeout.
    """
    import httpx

    class Transport(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            times = {**request.extensions.get("timeout", {}), "connect": CONNECT_TIMEOUT_S}
            request.extensions = {**request.extensions, "timeout": times}
            try:
                return await super().handle_async_request(request)
            except httpx.ConnectTimeout as error:
                raise httpx.ConnectError(f"no connection within {CONNECT_TIMEOUT_S:.0f} s") from error

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(transport=Transport(limits=limits, socket_options=KEEPALIVE), trust_env=False)


def main() -> None:
    """Serve until SIGTERM."""
    # LiteLLM wants one: whoever has it may manage the proxy, so nobody does.
    os.environ["LITELLM_MASTER_KEY"] = f"sk-{secrets.token_urlsafe(32)}"
    for replica, key in json.loads(credential("replica-keys")).items():
        os.environ[f"{KEY_VARIABLE}{replica}"] = key
    import litellm
    from litellm.proxy.proxy_cli import run_server
    from litellm.proxy.proxy_server import app

    litellm.aclient_session = client_of_replicas()
    app.add_middleware(OnlyInference)
    run_server(sys.argv[1:])


if __name__ == "__main__":
    main()
