"""Which certificates are believed; to any other nothing is sent, the token least of all."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from tests.unit.proxmox.tls_server import DAY, NOW, Pem, TlsServer, make_pem, serving

TOKEN = ApiToken("tool@pve", "prov", "s3cret-value")
PIN = "00" * 32


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pem]:
    at = tmp_path_factory.mktemp("tls")
    return {
        "good": make_pem(at / "good"),
        "other": make_pem(at / "other"),
        "wrong-name": make_pem(at / "wrong-name", address="192.0.2.7"),
        "expired": make_pem(at / "expired", begins=NOW - 3 * DAY, ends=NOW - DAY),
        "early": make_pem(at / "early", begins=NOW + DAY, ends=NOW + 3 * DAY),
    }


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "good"))


@pytest.fixture
def server(pems: dict[str, Pem], kind: str) -> Iterator[TlsServer]:
    with serving(pems[kind]) as server:
        yield server


@pytest.fixture
def connection(server: TlsServer, pems: dict[str, Pem], kind: str) -> NodeConnection:
    return NodeConnection("pve1", server.host, TOKEN, ca_file=str(pems[kind].certificate))


def refused(connection: NodeConnection, server: TlsServer) -> LocalaiError:
    with pytest.raises(LocalaiError) as caught:
        PveClient(connection, 5, sleep=lambda _: None).get("version")
    assert server.requests == [], "nothing may be sent"
    assert caught.value.hint
    return caught.value


def test_by_ca(connection: NodeConnection) -> None:
    assert PveClient(connection).get("version")


@pytest.mark.parametrize("kind", ["good", "wrong-name", "expired", "early"], indirect=True)
def test_a_pinned_certificate_needs_no_ca_and_no_date(
    connection: NodeConnection, pems: dict[str, Pem], kind: str
) -> None:
    pinned = replace(connection, ca_file="", fingerprint=pems[kind].fingerprint)
    assert PveClient(pinned).get("version")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("kind", ["good", "wrong-name", "expired"], indirect=True)
def test_insecure_only_when_asked_for(connection: NodeConnection, server: TlsServer) -> None:
    unknown = replace(connection, ca_file="")
    assert refused(unknown, server).error_id in {"tls-untrusted", "tls-expired", "tls-wrong-name"}
    assert PveClient(replace(unknown, insecure=True)).get("version")


def test_another_fingerprint(connection: NodeConnection, server: TlsServer, pems: dict[str, Pem]) -> None:
    error = refused(replace(connection, ca_file="", fingerprint=PIN), server)
    assert error.error_id == "tls-fingerprint-mismatch"
    assert pems["good"].fingerprint in error.why.replace(":", "").lower()


def test_a_fingerprint_outweighs_insecure(connection: NodeConnection, server: TlsServer) -> None:
    error = refused(replace(connection, fingerprint=PIN, insecure=True), server)
    assert error.error_id == "tls-fingerprint-mismatch"


def test_another_ca(connection: NodeConnection, server: TlsServer, pems: dict[str, Pem]) -> None:
    error = refused(replace(connection, ca_file=str(pems["other"].certificate)), server)
    assert error.error_id == "tls-untrusted"


@pytest.mark.parametrize(
    ("kind", "error_id"),
    [("wrong-name", "tls-wrong-name"), ("expired", "tls-expired"), ("early", "tls-expired")],
    indirect=["kind"],
)
def test_a_certificate_that_does_not_hold(
    connection: NodeConnection, server: TlsServer, error_id: str
) -> None:
    assert refused(connection, server).error_id == error_id


@pytest.mark.parametrize("content", [None, "", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_ca_file_that_is_none(
    content: str | None, connection: NodeConnection, server: TlsServer, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    error = refused(replace(connection, ca_file=str(file)), server)
    assert error.error_id == "tls-ca-unreadable"
    assert str(file) in error.what


@pytest.mark.parametrize("trust", [{}, {"fingerprint": PIN}, {"insecure": True}], ids=str)
def test_plain_http(trust: dict[str, object]) -> None:
    with serving(None) as server:
        connection = NodeConnection("pve1", server.host, TOKEN, **trust)  # type: ignore[arg-type]
        assert refused(connection, server).error_id == "tls-missing"


def test_a_server_that_hangs_up_in_the_handshake() -> None:
    class Closing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closing) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        connection = NodeConnection("pve1", f"127.0.0.1:{server.server_address[1]}", TOKEN)
        with pytest.raises(LocalaiError) as caught:
            PveClient(connection, 5, sleep=lambda _: None).get("version")
        server.shutdown()
    assert caught.value.error_id == "pve-interrupted"


class Tunnel(socketserver.BaseRequestHandler):
    """A proxy that leads every CONNECT to one server, whatever was asked for."""

    target = ("127.0.0.1", 0)

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(self.target) as other:
            threading.Thread(target=self._copy, args=(other, self.request), daemon=True).start()
            self._copy(self.request, other)

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while content := source.recv(65536):
                target.sendall(content)
        except OSError:
            pass


def test_the_pin_holds_behind_a_proxy(
    connection: NodeConnection, server: TlsServer, pems: dict[str, Pem], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(Tunnel, "target", ("127.0.0.1", server.server_port))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        behind = replace(connection, host="192.0.2.9:8006", ca_file="")
        assert refused(replace(behind, fingerprint=PIN), server).error_id == "tls-fingerprint-mismatch"
        assert PveClient(replace(behind, fingerprint=pems["good"].fingerprint)).get("version")
        proxy.shutdown()
