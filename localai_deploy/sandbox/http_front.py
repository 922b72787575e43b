"""HTTPS: requests in, answers out, and the faults of the wire."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import weakref
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from localai_deploy.sandbox.answers import ApiError, died
from localai_deploy.sandbox.certificate import Certificate
from localai_deploy.sandbox.dispatch import Request, answer
from localai_deploy.sandbox.multipart import parse_multipart
from localai_deploy.sandbox.site import Site

PREFIXES = ("/api2/json", "/api2/extjs")
_BODY_LIMIT = 1 << 30


class Front(ThreadingHTTPServer):
    """The listening server; `stopping` ends handlers that hold a connection open."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, site: Site, address: tuple[str, int], certificate: Certificate) -> None:
        super().__init__(address, _Handler)
        self.site = site
        self.stopping = threading.Event()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._context = certificate.context()

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        """A connection; its TLS handshake happens later, in the thread of its handler."""
        plain, address = self.socket.accept()
        plain.settimeout(60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def close_all(self) -> None:
        """Stop listening and drop every connection that is still open."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"
    server_version = "pve-api-daemon"
    sys_version = "/3.0"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The site keeps its own log of requests."""

    def _any(self) -> None:
        site = self.server.site
        path = unquote(urlsplit(self.path).path)
        name = f"{self.command} {_below_prefix(path)}"
        values, upload = self._values()
        if site.faults.hit(name, "reset-before"):
            return self._reset()
        status, reason, body = self._answer(site, name, path, values, upload)
        site.note_request(self.command, _below_prefix(path), status)
        fault = (
            site.faults.hit(name, "timeout-after-success", "reset-after-success") if status == 200 else None
        )
        if fault == "reset-after-success":
            return self._reset()
        if fault == "timeout-after-success":
            self.server.stopping.wait(120)
            return self._reset()
        return self._send(status, reason, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _any  # noqa: N815

    def _answer(
        self, site: Site, name: str, path: str, values: dict[str, list[str]], upload: bytes | None
    ) -> tuple[int, str, dict[str, Any] | None]:
        try:
            refusal = site.faults.refusal(name)
            if refusal is not None:
                raise refusal
            if not path.startswith(PREFIXES):
                raise ApiError(501, f"no such file '{path}'", bare=True)
            headers = {key.lower(): value for key, value in self.headers.items()}
            request = Request(self.command, _below_prefix(path), headers, values, upload)
            return 200, "OK", {"data": answer(site, request)}
        except ApiError as error:
            return _refused(error, site.cluster.release.major)
        except Exception as error:  # noqa: BLE001
            return _refused(died(f"internal error of the sandbox: {error!r}"), 9)

    def _values(self) -> tuple[dict[str, list[str]], bytes | None]:
        pairs = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        length = min(int(self.headers.get("Content-Length") or 0), _BODY_LIMIT)
        body = self.rfile.read(length) if length else b""
        upload = None
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            fields, upload = parse_multipart(kind, body)
            pairs += fields
        elif kind.startswith("application/json") and body:
            pairs += _json_pairs(json.loads(body))
        elif body:
            pairs += parse_qsl(body.decode(), keep_blank_values=True)
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name, []).append(value)
        return values, upload

    def _send(self, status: int, reason: str, body: dict[str, Any] | None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response_only(status, reason.replace("\n", " "))
        self.send_header("Cache-Control", "max-age=0")
        self.send_header("Server", self.version_string())
        if body is not None:
            self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        socket.socket.close(self.connection)


def _below_prefix(path: str) -> str:
    for prefix in PREFIXES:
        if path.startswith(prefix):
            return path.removeprefix(prefix).rstrip("/") or "/"
    return path


def _json_pairs(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, str(int(item) if isinstance(item, bool) else item))
        for name, value in document.items()
        for item in (value if isinstance(value, list) else [value])
    ]


def _refused(error: ApiError, major: int) -> tuple[int, str, dict[str, Any] | None]:
    if error.bare:
        return error.status, error.reason, None
    body: dict[str, Any] = {"data": None}
    if major > 7:
        body["message"] = error.reason + ("\n" if error.newline else "")
    if error.errors is not None:
        body["errors"] = error.errors
    return error.status, error.reason, body
