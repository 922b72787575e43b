"""A TLS server of a few lines that answers as it is told, and certificates of all kinds."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
VERSION = (200, "OK", {"data": {"version": "9.2.11"}})


@dataclass(frozen=True)
class Pem:
    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()


def make_pem(
    directory: Path,
    *,
    address: str = "127.0.0.1",
    begins: datetime.datetime = NOW - DAY,
    ends: datetime.datetime = NOW + DAY,
) -> Pem:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pve1")])
    alternatives = [x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("pve1.example")]
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begins, ends)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(exist_ok=True)
    pem = Pem(directory / "server.pem", directory / "server.key")
    pem.certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    pem.key.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    return pem


class TlsServer(http.server.ThreadingHTTPServer):
    """``script`` is used up first, then every call gets ``answer``.

    An entry is (status, reason, body), ``"reset"``, ``"silence"``, or bytes that are sent as they are.
    """

    daemon_threads = True

    def __init__(self, pem: Pem | None) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        if pem is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem.certificate, pem.key)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.requests: list[tuple[str, str, dict[str, list[str]], str]] = []
        self.script: list[Any] = []
        self.answer: Any = VERSION
        self.stopping = threading.Event()
        self.connections = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A refused handshake is what some tests are about."""


class Answers(http.server.BaseHTTPRequestHandler):
    server: TlsServer
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        parameters = parse_qs(url.query or self.rfile.read(length).decode(), keep_blank_values=True)
        self.server.requests.append(
            (self.command, url.path, parameters, self.headers.get("Authorization", ""))
        )
        told = self.server.script.pop(0) if self.server.script else self.server.answer
        if told == "reset":
            return self._reset()
        if told == "silence":
            self.server.stopping.wait(20)
            return self._reset()
        if isinstance(told, bytes):
            self.close_connection = True
            self.wfile.write(told)
            return None
        return self._send(*told)

    def _send(self, status: int, reason: str, body: Any) -> None:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.wfile.write(f"HTTP/1.1 {status} ".encode() + reason.replace("\n", " ").encode() + b"\r\n")
        self.send_header("Content-Length", str(len(content)))
        if 300 <= status < 400:
            self.send_header("Location", "https://192.0.2.1:8006/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        socket.socket.close(self.connection)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(pem: Pem | None) -> Iterator[TlsServer]:
    server = TlsServer(pem)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
