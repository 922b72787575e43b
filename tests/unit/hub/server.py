"""A small HTTP server on loopback that serves one content with faults, in this process."""

from __future__ import annotations

import contextlib
import hashlib
import re
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """How one answer differs from a sound one; ``cut_after`` counts the body's bytes."""

    status: int = 0
    retry_after: str = ""
    ranges: bool = True
    if_range: bool = True
    etag: str | None = None
    content: bytes | None = None
    announce: int = 0
    length: bool = True
    chunked: bool = False
    cut_after: int | None = None
    stall_after: int | None = None
    stall_s: float = 30.0
    drip_bytes: int = 0
    corrupt_at: int | None = None
    redirect: str = ""
    encoding: str = ""
    content_range: str = ""
    headers: dict[str, str] = field(default_factory=dict)


SOUND = Fault()


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    range: str
    if_range: str
    authorization: str


class FaultServer:
    """Serves ``content`` at every path; ``faults`` are used up one a request, then ``always`` holds.

    Setting ``release`` ends all stalls.
    """

    def __init__(
        self, content: bytes, *, bytes_per_s: float = 0, tls: tuple[Path, Path] | None = None
    ) -> None:
        self.content = content
        self.etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        self.faults: deque[Fault] = deque()
        self.always = SOUND
        self.bytes_per_s = bytes_per_s
        self.seen: list[Seen] = []
        self.sent_bytes = 0
        self.release = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "model.gguf") -> str:
        return f"{self.scheme}://127.0.0.1:{self._server.server_address[1]}/{path}"

    def next_fault(self, _range: str) -> Fault:
        return self.faults.popleft() if self.faults else self.always

    def stalled(self) -> None:
        """An answer with ``stall_after`` has come so far."""

    @property
    def ranges(self) -> list[str]:
        return [seen.range for seen in self.seen]


def _handler(owner: FaultServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        server_state = owner

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FaultServer

    def log_message(self, *_args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        state = self.server_state
        names = ("Range", "If-Range", "Authorization")
        state.seen.append(Seen(self.command, self.path, *(self.headers.get(name, "") for name in names)))
        fault = state.next_fault(self.headers.get("Range", ""))
        self.close_connection = True
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._answer(fault)

    def _answer(self, fault: Fault) -> None:
        if fault.redirect or fault.status:
            self._plain(fault)
            return
        content = self.server_state.content if fault.content is None else fault.content
        etag = self.server_state.etag if fault.etag is None else fault.etag
        start = self._start(fault, etag)
        if start is not None and start >= len(content):
            self._plain(Fault(status=416, headers={"Content-Range": f"bytes */{len(content)}"}))
            return
        self.send_response(200 if start is None else 206)
        if start is not None:
            value = fault.content_range or f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", value)
        body = content[start or 0 :]
        self._describe(fault, etag, len(body))
        if self.command == "GET":
            self._send(fault, body, start or 0)

    def _start(self, fault: Fault, etag: str) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range", ""))
        wanted = self.headers.get("If-Range", etag)
        if not match or not fault.ranges or (fault.if_range and wanted != etag):
            return None
        return int(match[1])

    def _plain(self, fault: Fault) -> None:
        self.send_response(fault.status or 302)
        if fault.redirect:
            self.send_header("Location", fault.redirect)
        if fault.retry_after:
            self.send_header("Retry-After", fault.retry_after)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _describe(self, fault: Fault, etag: str, length: int) -> None:
        if etag:
            self.send_header("ETag", etag)
        if fault.encoding:
            self.send_header("Content-Encoding", fault.encoding)
        if fault.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif fault.length:
            self.send_header("Content-Length", str(fault.announce or length))
        self.send_header("Connection", "close")
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, fault: Fault, body: bytes, start: int) -> None:
        if fault.corrupt_at is not None and fault.corrupt_at >= start:
            at = fault.corrupt_at - start
            body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        stop = fault.stall_after if fault.stall_after is not None else fault.cut_after
        for piece in _pieces(body if stop is None else body[:stop], fault.drip_bytes or 1 << 16):
            self._pace(fault, len(piece))
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if fault.chunked else piece)
            self.server_state.sent_bytes += len(piece)
        if fault.stall_after is not None:
            self.server_state.stalled()
            self.server_state.release.wait(fault.stall_s)
        elif fault.chunked and fault.cut_after is None:
            self.wfile.write(b"0\r\n\r\n")

    def _pace(self, fault: Fault, size: int) -> None:
        rate = self.server_state.bytes_per_s
        if fault.drip_bytes:
            self.server_state.release.wait(0.05)
        elif rate:
            time.sleep(size / rate)


def _pieces(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]
