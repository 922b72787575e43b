"""Verified HTTPS sessions with one node, lent to one thread at a time."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from proxmoxer import ProxmoxAPI
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.errors import InputError, LocalaiError

CONNECT_TIMEOUT_S = 10
_HOST = re.compile(
    r"\[[0-9A-Fa-f:.]+\](:\d+)?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*|[^\s/@:?#\[\]]+(:\d+)?"
)


class SessionPool:
    """Sessions of one connection: a thread takes an idle one or opens its own, and gives it back."""

    def __init__(self, connection: NodeConnection, timeout_s: float) -> None:
        if not _HOST.fullmatch(connection.host):
            raise InputError(
                "pve-host-invalid",
                f"{connection.host!r} is no host",
                why="a name or address is expected, with a port where it is not 8006",
                hint="leave out https:// and any path",
            )
        self._connection = connection
        self._timeouts_s = (min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
        self._idle: list[ProxmoxAPI] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self) -> Iterator[ProxmoxAPI]:
        """A session for one call."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        session = session or self._open()
        try:
            yield session
        finally:
            with self._lock:
                self._idle.append(session)

    def _open(self) -> ProxmoxAPI:
        connection = self._connection
        unverified = bool(connection.fingerprint) or connection.insecure
        api = ProxmoxAPI(
            connection.host,
            user=connection.token.user,
            token_name=connection.token.name,
            token_value=connection.token.secret,
            verify_ssl=False if unverified else connection.ca_file or True,
            timeout=self._timeouts_s,
        )
        store = api._store  # noqa: SLF001 - proxmoxer offers no other way
        store["serializer"] = _Answers()
        session: requests.Session = store["session"]
        session.max_redirects = 0
        if connection.fingerprint:
            session.mount("https://", _PinnedCertificate(connection.fingerprint))
        return api


class _PinnedCertificate(HTTPAdapter):
    """Accepts the one certificate with this SHA-256 fingerprint, whoever signed it, also behind a proxy."""

    def __init__(self, fingerprint: str) -> None:
        self._pinned: dict[str, Any] = {
            "assert_fingerprint": fingerprint,
            "ssl_context": create_urllib3_context(cert_reqs=ssl.CERT_NONE),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Let urllib3 compare the fingerprint before anything is sent.

        With a context of our own it loads none of the system's authorities, which takes a while each time.
        """
        super().init_poolmanager(*args, **{**kwargs, **self._pinned})

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Likewise through ``HTTPS_PROXY``."""
        return super().proxy_manager_for(proxy, **{**kwargs, **self._pinned})


class _Answers:
    """Reads bodies; what is not the API's JSON is told, never guessed."""

    def get_accept_types(self) -> str:
        return "application/json"

    def loads(self, response: requests.Response) -> Any:  # noqa: ANN401 - decoded JSON
        try:
            return json.loads(response.content)["data"]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise LocalaiError(
                "pve-answer-unreadable",
                "the answer is not one of the Proxmox API",
                why=f"{response.headers.get('Content-Type', 'no type')}: {response.text[:80]!r}",
                hint="check that host and port are those of a Proxmox node, with nothing in between",
            ) from error

    def loads_errors(self, response: requests.Response) -> dict[str, str]:
        try:
            errors = json.loads(response.content).get("errors")
        except (ValueError, AttributeError):
            return {}
        return {str(key): str(value) for key, value in errors.items()} if isinstance(errors, dict) else {}
