"""One node's API over HTTPS: verified TLS, an API token, the server's errors as ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests
from proxmoxer import ResourceException

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.version import PveVersion, parse_version
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.answers import Refusal, error_of
from localai_deploy.proxmox.session import SessionPool
from localai_deploy.proxmox.wire import error_of_wire

TIMEOUT_S = 35
"""Longer than the server's own 30 s for work it does while we wait; a 401 takes it 3 s."""

PAUSES_S = (0.5, 1.0, 2.0)
RETRY_FOR_S = 60
TRANSIENT = ("pve-timeout", "pve-unreachable", "pve-interrupted", "pve-node-offline", "pve-overloaded")
"""What may be gone a moment later."""


class PveClient:
    """Calls of the API; every answer is the ``data`` of the server's JSON. Several threads may use one.

    A GET is asked again after a failure that passes, at most as often as :data:`PAUSES_S` has pauses and
    not once :data:`RETRY_FOR_S` are over; calls that change something are sent once. A host that never
    answered is not asked again.

    :param on_retry: hears what is about to be asked again, and why.
    :raises LocalaiError: ``pve-*`` from every call, ``tls-*`` when the certificate is not trusted.
    """

    def __init__(
        self,
        connection: NodeConnection,
        timeout_s: float = TIMEOUT_S,
        *,
        on_retry: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self.node = connection.node
        self._sessions = SessionPool(connection, timeout_s)
        self._on_retry = on_retry
        self._sleep = sleep
        self._clock = clock
        self._has_answered = False

    def get(self, path: str, /, **parameters: Any) -> Any:  # noqa: ANN401
        """``GET path``."""
        until = self._clock() + RETRY_FOR_S
        for pause in PAUSES_S:
            try:
                return self._call("get", path, parameters)
            except LocalaiError as error:
                if not self._is_worth_retrying(error) or self._clock() >= until:
                    raise
                self._on_retry(f"{error.what}: asked again in {pause:g} s")
            self._sleep(pause)
        return self._call("get", path, parameters)

    def post(self, path: str, /, **parameters: Any) -> Any:  # noqa: ANN401
        """``POST path``."""
        return self._call("post", path, parameters)

    def put(self, path: str, /, **parameters: Any) -> Any:  # noqa: ANN401
        """``PUT path``."""
        return self._call("put", path, parameters)

    def delete(self, path: str, /, **parameters: Any) -> Any:  # noqa: ANN401
        """``DELETE path``."""
        return self._call("delete", path, parameters)

    def version(self) -> PveVersion:
        """The server's version; an old one is refused."""
        answer = self.get("version")
        if not isinstance(answer, dict) or "version" not in answer:
            raise LocalaiError("pve-answer-unreadable", "GET /version: the answer names no version")
        return parse_version(str(answer["version"]))

    def _is_worth_retrying(self, error: LocalaiError) -> bool:
        if error.error_id == "pve-unreachable":
            return self._has_answered
        return error.error_id in TRANSIENT

    def _call(self, method: str, path: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
        call = f"{method.upper()} /{path}"
        try:
            with self._sessions.lend() as api:
                answer = getattr(api(path), method)(**_plain(parameters))
        except ResourceException as error:
            self._has_answered = True
            fields = error.errors if isinstance(error.errors, dict) else {}
            raise error_of(Refusal(call, error.status_code, _text(error.content), fields)) from error
        except (requests.exceptions.RequestException, OSError) as error:
            raise error_of_wire(call, self.connection, error) from error
        self._has_answered = True
        return answer


def _text(reason: object) -> str:
    """The status line is Latin-1 to Python, the server writes UTF-8."""
    text = str(reason)
    try:
        return text.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Booleans as 1 and 0 (the server refuses ``True``); ``None`` left out; ``_`` in names as ``-``."""
    return {
        name.replace("_", "-"): int(value) if isinstance(value, bool) else value
        for name, value in parameters.items()
        if value is not None
    }
