"""The real proxmoxer over real TLS against a server of a few lines."""

from __future__ import annotations

import hashlib
import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient, server_fingerprint

TOKEN = ApiToken("tool@pve", "prov", "s3cret-value")


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.requests: list[tuple[str, str, dict[str, list[str]], str]] = []
        self.answer: tuple[int, str, Any] = (200, "OK", {"data": {"version": "9.2.11"}})

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A refused handshake is what some tests are about."""


class Answers(http.server.BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        parameters = parse_qs(url.query or self.rfile.read(length).decode(), keep_blank_values=True)
        self.server.requests.append(
            (self.command, url.path, parameters, self.headers.get("Authorization", ""))
        )
        status, reason, body = self.server.answer
        content = json.dumps(body).encode() if body is not None else b""
        self.send_response(status, reason)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "server.pem", directory / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2", "-subj", "/CN=pve1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[Server]:
    server = Server(*certificate)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def connection(server: Server, certificate: tuple[Path, Path]) -> NodeConnection:
    return NodeConnection("pve1", f"127.0.0.1:{server.server_port}", TOKEN, ca_file=str(certificate[0]))


def fingerprint(certificate: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).hexdigest()


def test_verified_by_ca(server: Server, connection: NodeConnection) -> None:
    assert str(PveClient(connection).version()) == "9.2.11"
    assert server.requests == [("GET", "/api2/json/version", {}, "PVEAPIToken=tool@pve!prov=s3cret-value")]


def test_pinned_fingerprint(connection: NodeConnection, certificate: tuple[Path, Path]) -> None:
    pinned = replace(connection, ca_file="", fingerprint=fingerprint(certificate[0]))
    assert PveClient(pinned).get("version") == {"version": "9.2.11"}


def test_wrong_fingerprint_sends_nothing(server: Server, connection: NodeConnection) -> None:
    with pytest.raises(LocalaiError) as caught:
        PveClient(replace(connection, ca_file="", fingerprint="00" * 32)).get("version")
    assert caught.value.error_id == "tls-fingerprint-mismatch"
    assert server.requests == []


def test_untrusted_certificate_sends_nothing(server: Server, connection: NodeConnection) -> None:
    with pytest.raises(LocalaiError) as caught:
        PveClient(replace(connection, ca_file="")).get("version")
    assert caught.value.error_id == "tls-untrusted"
    assert server.requests == []


def test_insecure_is_possible_when_asked_for(connection: NodeConnection) -> None:
    assert PveClient(replace(connection, ca_file="", insecure=True)).get("version")


def test_offered_fingerprint_can_be_shown(server: Server, certificate: tuple[Path, Path]) -> None:
    assert server_fingerprint("127.0.0.1", server.server_port) == fingerprint(certificate[0])


def test_parameters_are_sent_as_the_server_wants_them(server: Server, connection: NodeConnection) -> None:
    PveClient(connection).post(
        "nodes/pve1/qemu", vmid=100, onboot=True, agent=False, pool=None, check_node="x"
    )
    assert server.requests[0][2] == {"vmid": ["100"], "onboot": ["1"], "agent": ["0"], "check-node": ["x"]}


def test_400_keeps_the_fields(server: Server, connection: NodeConnection) -> None:
    server.answer = (
        400,
        "Parameter verification failed.",
        {"data": None, "errors": {"memory": "type check ('integer') failed"}},
    )
    with pytest.raises(LocalaiError) as caught:
        PveClient(connection).post("nodes/pve1/qemu", memory="lots")
    assert caught.value.error_id == "pve-bad-parameter"
    assert "memory: type check" in caught.value.why


def test_reason_with_a_dash_stays_whole(server: Server, connection: NodeConnection) -> None:
    server.answer = (500, "unable to create VM 320 - VM 320 already exists on node 'pve1'", {"data": None})
    with pytest.raises(LocalaiError) as caught:
        PveClient(connection).post("nodes/pve1/qemu", vmid=320)
    assert caught.value.error_id == "pve-vmid-taken"
    assert "VM 320 already exists on node 'pve1'" in caught.value.what


def test_empty_401(server: Server, connection: NodeConnection) -> None:
    server.answer = (401, "Authentication failed!", None)
    with pytest.raises(LocalaiError) as caught:
        PveClient(connection).get("version")
    assert caught.value.error_id == "pve-auth-failed"
    assert "s3cret" not in str(caught.value)


def test_closed_port(connection: NodeConnection) -> None:
    with pytest.raises(LocalaiError) as caught:
        PveClient(replace(connection, host="127.0.0.1:1")).get("version")
    assert caught.value.error_id == "pve-unreachable"
