"""The lab's mirror: a threaded HTTP(S) server of real content, with faults and a request log.

Its control lies under ``/-/``, for clients on this machine only: ``GET /-/requests[?client=A]`` (the log),
``DELETE /-/requests``, ``POST /-/faults`` (a :class:`Fault` as JSON), ``DELETE /-/faults[?client=A]``.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.lab.mirror_answer import Answer, Request, not_found
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_faults import Fault, FaultTable
from tests.lab.mirror_routes import MirrorContent, routes_of
from tests.lab.mirror_transfer import Transfer, make_transfer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_LOG_ENTRIES = 20_000


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One line of the request log.

    :param range: the Range header, empty when there was none.
    :param authorized: it carried an Authorization header.
    :param sent_bytes: so much of the body was handed to the socket.
    """

    client: str
    method: str
    path: str
    range: str
    authorized: bool
    status: int
    sent_bytes: int


class Mirror:
    """Serves ``content`` on one or more addresses until :meth:`close`; a context manager."""

    def __init__(self, content: MirrorContent) -> None:
        self.faults = FaultTable()
        self.log: deque[LoggedRequest] = deque(maxlen=_LOG_ENTRIES)
        self._routes = routes_of(content)
        self._servers: list[_Server] = []

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def listen(self, address: str, port: int = 0, tls: ssl.SSLContext | None = None) -> str:
        """Serve on one more address (port 0: any free one); returns the base URL."""
        server = _Server((address, port), self)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return f"{'https' if tls else 'http'}://{address}:{server.server_port}"

    def client(self) -> MirrorClient:
        """Control over the first address."""
        host, port = self._servers[0].server_address[:2]
        return MirrorClient(f"http://{host!s}:{port}")

    def close(self) -> None:
        """Stop listening; connections in progress end with their threads."""
        while self._servers:
            server = self._servers.pop()
            server.shutdown()
            server.server_close()

    def answer(self, request: Request) -> Answer:
        """The whole answer of the route that the path names."""
        prefix, _, rest = request.path.partition("/")
        route = self._routes.get(prefix)
        return not_found() if route is None else route(Request(request.method, rest, request.headers))

    def control(self, method: str, url: str, body: bytes) -> Answer:
        """One request to ``/-/…``."""
        parts = urlsplit(url)
        client = parse_qs(parts.query).get("client", [""])[0]
        match method, parts.path:
            case "GET", "/-/requests":
                return _json([asdict(r) for r in list(self.log) if client in ("", r.client)])
            case "DELETE", "/-/requests":
                self.log.clear()
            case "POST", "/-/faults":
                self.faults.add(Fault.from_data(json.loads(body)))
            case "DELETE", "/-/faults":
                self.faults.clear(client)
            case _:
                return not_found()
        return _json({})


def _json(data: Any) -> Answer:
    return Answer(body=json.dumps(data).encode(), content_type="application/json")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], mirror: Mirror) -> None:
        super().__init__(address, _Handler)
        self.mirror = mirror

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up in the middle is everyday here."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "lab-mirror"
    timeout = 60

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The request log takes this place."""

    def _serve(self) -> None:
        if self.path.startswith("/-/"):
            self._serve_control()
        elif self.command in ("GET", "HEAD"):
            self._serve_content()
        else:
            self.send_error(405)

    def _serve_control(self) -> None:
        if self.client_address[0] not in ("127.0.0.1", self.server.server_address[0]):
            self.send_error(403)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self.server.mirror.control(self.command, self.path, body)
        except (TypeError, ValueError) as error:
            answer = Answer(400, str(error).encode(), "text/plain")
        self._send(make_transfer(Request(self.command, "", {}), answer, {}), lambda _: None)

    def _serve_content(self) -> None:
        mirror, path = self.server.mirror, unquote(urlsplit(self.path).path)
        request = Request(self.command, path.lstrip("/"), self.headers)
        faults = mirror.faults.take(self.command, path, self.client_address[0])
        transfer = make_transfer(request, mirror.answer(request), faults)

        def log(sent_bytes: int) -> None:
            mirror.log.append(self._logged(path, transfer.status, sent_bytes))

        self._send(transfer, log)

    def _logged(self, path: str, status: int, sent_bytes: int) -> LoggedRequest:
        return LoggedRequest(
            client=self.client_address[0],
            method=self.command,
            path=path,
            range=self.headers.get("Range", ""),
            authorized="Authorization" in self.headers,
            status=status,
            sent_bytes=sent_bytes,
        )

    def _send(self, transfer: Transfer, log: Callable[[int], None]) -> None:
        """Send it; what was sent is logged before the client can have all of it."""
        self.send_response(transfer.status)
        for name, value in transfer.headers.items():
            self.send_header(name, value)
        self.close_connection = self.close_connection or transfer.ends_early
        total = 0 if self.command == "HEAD" else transfer.body_bytes
        if not total:
            log(0)
        self.end_headers()
        if total:
            self._send_body(transfer, total, log)

    def _send_body(self, transfer: Transfer, total: int, log: Callable[[int], None]) -> None:
        sent, logged = 0, False
        try:
            for chunk in transfer.chunks():
                if sent + len(chunk) == total:
                    logged = True
                    log(total)
                self.wfile.write(chunk)
                sent += len(chunk)
        except OSError:
            self.close_connection = True
            if not logged:
                log(sent)
