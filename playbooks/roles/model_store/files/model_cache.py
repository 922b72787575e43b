#!/usr/bin/env python3
"""Give the models of this host's store to other hosts, for as long as they ask.

One file, as it is copied to hosts alone: standard library only, Python 3.9 or later; started as a transient
systemd unit with a runtime directory. There it writes ``offer.json`` (address, port and the certificate that
clients pin) before it reports itself ready. It ends when nobody asked for IDLE_S.

Models are named by their SHA-256: ``GET /SHA256``, with ranges. A request bears one of two keys of the run:
the open one, or the one that only who has the hub's token can make; the arguments hold the keys' SHA-256.
With the open key a model is given only if its origin gives it without a token, too: it is asked.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request

IDLE_S = 600.0
CLIENT_TIMEOUT_S = 60.0
ORIGIN_TIMEOUT_S = 10.0
MOST_CLIENTS = 64
CHUNK_BYTES = 1 << 20
SHA256 = re.compile(r"/([0-9a-f]{64})")
RANGE = re.compile(r"bytes=(\d{1,15})-")


class Gate:
    """Who may have which model; an origin is asked once a run."""

    def __init__(self, open_key_sha256: str, gated_key_sha256: str) -> None:
        self._open, self._gated = open_key_sha256, gated_key_sha256
        self._origins: dict[str, bool] = {}
        self._lock = threading.Lock()

    def lets_in(self, authorization: str) -> bool:
        """Whether the request is of this run."""
        return self._bears(authorization, self._open) or self._bears(authorization, self._gated)

    def allows(self, authorization: str, record: dict[str, Any]) -> bool:
        """Whether who is let in may have the model of ``record``."""
        if self._bears(authorization, self._gated) or not str(record.get("reference")).startswith("hf:"):
            return True
        url = str(record.get("url"))
        with self._lock:
            if url not in self._origins:
                self._origins[url] = is_open(url)
            return self._origins[url]

    @staticmethod
    def _bears(authorization: str, key_sha256: str) -> bool:
        given = hashlib.sha256(authorization.encode().removeprefix(b"Bearer ")).hexdigest()
        return bool(key_sha256) and hmac.compare_digest(given, key_sha256)


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: the origin did not ask for a token."""

    def redirect_request(self, *_details: object) -> None:
        """Return nothing, so that the redirect itself is the answer."""


def is_open(url: str) -> bool:
    """Whether the origin gives the file without a token; what cannot be asked is not open."""
    if not url.startswith(("https://", "http://")):
        return False
    request = Request(url, method="HEAD", headers={"User-Agent": "localai-deploy"})  # noqa: S310
    try:
        with urllib.request.build_opener(NoRedirects()).open(request, timeout=ORIGIN_TIMEOUT_S):
            return True
    except urllib.error.HTTPError as error:
        with error:
            return 300 <= error.code < 400
    except (OSError, http.client.HTTPException):
        return False


def find_model(directory: Path, sha256: str) -> tuple[Path, dict[str, Any]] | None:
    """Return the model of this hash and its record, if it is untouched since it was checked."""
    for path in directory.glob("*.json"):
        model, record = path.with_suffix(""), read_json(path)
        if record.get("sha256") == sha256 and model.is_file():
            stat = model.stat()
            if (stat.st_size, stat.st_mtime_ns) == (record.get("size_bytes"), path.stat().st_mtime_ns):
                return model, record
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Object in a JSON file; empty when absent or damaged."""
    with contextlib.suppress(OSError, ValueError):
        data = json.loads(path.read_text(encoding="utf-8"))
        return data if isinstance(data, dict) else {}
    return {}


class Server(ThreadingHTTPServer):
    """Serves ``directory`` over TLS, every client in a thread of its own."""

    daemon_threads = True
    timeout = 5.0

    def __init__(self, address: str, port: int, tls: ssl.SSLContext, directory: Path, gate: Gate) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Handler)
        self.directory, self.gate = directory, gate
        self._tls, self._clients, self._last = tls, 0, time.monotonic()
        self._lock = threading.Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a client; its handshake is done by its own thread."""
        client, address = super().get_request()
        client.settimeout(CLIENT_TIMEOUT_S)
        return self._tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False), address

    def verify_request(self, _request: object, _client_address: object) -> bool:
        """Turn clients away when there are too many."""
        return self._clients < MOST_CLIENTS

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve one client, counted."""
        self._count(1)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._clients, self._last = self._clients + change, time.monotonic()

    def handle_error(self, _request: object, _client_address: object) -> None:
        """Say nothing of clients that hang up or speak no TLS."""

    def serve_while_asked(self) -> None:
        """Serve until nobody asked for a while."""
        while self._clients or time.monotonic() - self._last < IDLE_S:
            self.handle_request()


class Handler(BaseHTTPRequestHandler):
    """One client."""

    server: Server
    server_version = "localai-deploy"
    sys_version = ""
    timeout = CLIENT_TIMEOUT_S

    def log_message(self, *_details: object) -> None:
        """Keep requests out of the journal."""

    def do_GET(self) -> None:
        """Give a model, or the rest of it."""
        authorization = self.headers.get("Authorization", "")
        if not self.server.gate.lets_in(authorization):
            return self.send_error(http.client.UNAUTHORIZED)
        name = SHA256.fullmatch(self.path)
        found = find_model(self.server.directory, name[1]) if name else None
        if found is None:
            return self.send_error(http.client.NOT_FOUND)
        if not self.server.gate.allows(authorization, found[1]):
            return self.send_error(http.client.FORBIDDEN)
        return self._send(found[0])

    def _send(self, path: Path) -> None:
        asked = RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if asked and start >= size:
                self.send_response(http.client.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                return self.end_headers()
            self.send_response(http.client.PARTIAL_CONTENT if asked else http.client.OK)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            stream.seek(start)
            while data := stream.read(CHUNK_BYTES):
                self.wfile.write(data)
        return None


def own_address() -> str:
    """Address of this host towards others; nothing is sent to find it out."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def is_own(address: str) -> bool:
    """Whether other hosts can reach this host at ``address``, as far as it can tell."""
    with contextlib.suppress(ValueError, OSError):
        given = ipaddress.ip_address(address)
        family = socket.AF_INET6 if given.version == 6 else socket.AF_INET
        with socket.socket(family) as probe:
            probe.bind((address, 0))
        return not given.is_loopback and not given.is_unspecified
    return False


def make_certificate(folder: Path) -> tuple[str, ssl.SSLContext]:
    """Make a key and its own certificate; returns that one and the context. The key stays in memory."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localai-deploy model cache"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    key.unlink()
    return certificate.read_text(encoding="ascii"), context


def report_ready() -> None:
    """Tell systemd, if it started us."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(f"\0{place[1:]}" if place.startswith("@") else place)
            channel.send(b"READY=1")


def main() -> int:
    """Serve; returns the exit code."""
    parser = argparse.ArgumentParser(description="Give this host's models to other hosts.")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--runtime-dir", type=Path, required=True)
    parser.add_argument("--address", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--open-key-sha256", required=True)
    parser.add_argument("--gated-key-sha256", default="")
    given = parser.parse_args()
    certificate, tls = make_certificate(given.runtime_dir)
    address = given.address if is_own(given.address) else own_address()
    gate = Gate(given.open_key_sha256, given.gated_key_sha256)
    with Server(address, given.port, tls, given.dir, gate) as server:
        offer = {"address": address, "port": server.server_address[1], "certificate": certificate}
        (given.runtime_dir / "offer.json").write_text(json.dumps(offer), encoding="utf-8")
        report_ready()
        server.serve_while_asked()
    return 0


if __name__ == "__main__":
    sys.exit(main())
