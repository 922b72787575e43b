"""The real proxmoxer over real TLS: what is sent, what answers become, what is asked again."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.proxmox.client import PAUSES_S, RETRY_FOR_S, PveClient
from tests.unit.proxmox.tls_server import Pem, TlsServer, make_pem, serving

TOKEN = ApiToken("tool@pve", "prov", "s3cret-value")
ONCE_AGAIN = ["pve-timeout", "pve-interrupted", "pve-node-offline", "pve-overloaded"]


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Pem:
    return make_pem(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(pem: Pem) -> Iterator[TlsServer]:
    with serving(pem) as server:
        yield server


@pytest.fixture
def connection(server: TlsServer, pem: Pem) -> NodeConnection:
    return NodeConnection("pve1", server.host, TOKEN, ca_file=str(pem.certificate))


class Patient(PveClient):
    """A client whose pauses pass at once, and are written down."""

    def __init__(self, connection: NodeConnection, timeout_s: float = 5.0, per_call_s: float = 0.0) -> None:
        self.now = 0.0
        self.paused: list[float] = []
        self.told: list[str] = []
        self._per_call_s = per_call_s
        super().__init__(
            connection, timeout_s, on_retry=self.told.append, sleep=self._pause, clock=self._clock_of_test
        )

    def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now += seconds

    def _clock_of_test(self) -> float:
        self.now += self._per_call_s
        return self.now


def failure(call: Any, *arguments: Any, **parameters: Any) -> LocalaiError:
    with pytest.raises(LocalaiError) as caught:
        call(*arguments, **parameters)
    assert "s3cret" not in f"{caught.value.what} {caught.value.why} {caught.value.hint}"
    return caught.value


def test_version_and_token(server: TlsServer, connection: NodeConnection) -> None:
    assert str(PveClient(connection).version()) == "9.2.11"
    assert server.requests == [("GET", "/api2/json/version", {}, "PVEAPIToken=tool@pve!prov=s3cret-value")]


def test_parameters_are_sent_as_the_server_wants_them(server: TlsServer, connection: NodeConnection) -> None:
    PveClient(connection).post(
        "nodes/pve1/qemu", vmid=100, onboot=True, agent=False, pool=None, check_node="x"
    )
    assert server.requests[0][2] == {"vmid": ["100"], "onboot": ["1"], "agent": ["0"], "check-node": ["x"]}


# What answers become


def test_400_keeps_the_fields(server: TlsServer, connection: NodeConnection) -> None:
    errors = {"memory": "type check ('integer') failed"}
    server.answer = (400, "Parameter verification failed.", {"data": None, "errors": errors})
    error = failure(PveClient(connection).post, "nodes/pve1/qemu", memory="lots")
    assert error.error_id == "pve-bad-parameter"
    assert "memory: type check" in error.why


def test_reason_with_dashes_and_braces_stays_whole(server: TlsServer, connection: NodeConnection) -> None:
    reason = "unable to create VM 320 - VM 320 already exists on node 'pve1' - {really}"
    server.answer = (500, reason, {"data": None, "errors": {}})
    error = failure(PveClient(connection).post, "nodes/pve1/qemu", vmid=320)
    assert (error.error_id, error.what) == ("pve-vmid-taken", f"POST /nodes/pve1/qemu: {reason}")


def test_reason_in_utf8(server: TlsServer, connection: NodeConnection) -> None:
    server.answer = (500, "Gerät „ä“ fehlt", {"data": None})
    assert "Gerät „ä“ fehlt" in failure(PveClient(connection).post, "x").why


def test_empty_401_that_comes_late(server: TlsServer, connection: NodeConnection) -> None:
    server.answer = (401, "Authentication failed!", None)
    client = Patient(connection)
    assert failure(client.get, "version").error_id == "pve-auth-failed"
    assert len(server.requests) == 1, "the server counts failed logins: they are not repeated"


@pytest.mark.parametrize(
    "body",
    [b"<html>router</html>", b"", b"[1]", b"null", b'{"success": 1}', b'"text"', b"\xff\xfe", b'{"data": '],
)
def test_200_of_something_else(body: bytes, server: TlsServer, connection: NodeConnection) -> None:
    server.answer = (200, "OK", body)
    assert failure(PveClient(connection).get, "version").error_id == "pve-answer-unreadable"


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b"null", b'{"errors": 7}', b'{"errors": ["x"]}'])
def test_500_of_something_else(body: bytes, server: TlsServer, connection: NodeConnection) -> None:
    server.answer = (500, "Oops", body)
    assert failure(PveClient(connection).post, "version").error_id == "pve-failed"


def test_404_is_no_answer_of_a_node(server: TlsServer, connection: NodeConnection) -> None:
    server.answer = (404, "Not Found", b"<html>")
    assert failure(PveClient(connection).get, "version").error_id == "pve-answer-unreadable"


@pytest.mark.parametrize("data", [None, {}, [], "9.2"])
def test_a_version_that_is_none(data: Any, server: TlsServer, connection: NodeConnection) -> None:
    server.answer = (200, "OK", {"data": data})
    assert failure(PveClient(connection).version).error_id == "pve-answer-unreadable"


def test_a_redirect_is_not_followed(server: TlsServer, connection: NodeConnection) -> None:
    server.answer = (301, "Moved Permanently", None)
    error = failure(PveClient(connection).get, "version")
    assert (error.error_id, error.why) == ("pve-redirected", "to https://192.0.2.1:8006/elsewhere")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "host", ["https://pve1:8006", "root@pve1", "pve1/api2", "", "pve 1", "pve1:port", "[::1", "a:b:c.d.e:x"]
)
def test_a_host_that_is_none(host: str, connection: NodeConnection) -> None:
    with pytest.raises(InputError) as caught:
        PveClient(replace(connection, host=host))
    assert caught.value.error_id == "pve-host-invalid"


@pytest.mark.parametrize(
    "host", ["pve1", "pve1.example:8007", "192.0.2.1", "[2001:db8::1]:8006", "2001:db8::1"]
)
def test_hosts(host: str, connection: NodeConnection) -> None:
    PveClient(replace(connection, host=host))


# What is asked again

PASSING = [
    ((503, "Service Unavailable", None), "pve-overloaded"),
    ((595, "Connection refused", None), "pve-node-offline"),
    ((596, "Broken pipe", None), "pve-node-offline"),
    ((597, "Connection reset by peer", None), "pve-node-offline"),
    ("reset", "pve-interrupted"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "pve-interrupted"),
    ("silence", "pve-timeout"),
]
KINDS = [str(told)[:18] for told, _ in PASSING]


@pytest.mark.parametrize(("told", "error_id"), PASSING, ids=KINDS)
def test_reads_are_asked_again(
    told: Any, error_id: str, server: TlsServer, connection: NodeConnection
) -> None:
    server.script = [told, told]
    client = Patient(connection, timeout_s=0.3)
    assert client.get("version") == {"version": "9.2.11"}
    assert client.paused == [0.5, 1.0]
    assert len(client.told) == 2
    assert all(line.endswith(" s") for line in client.told)


@pytest.mark.parametrize(("told", "error_id"), PASSING, ids=KINDS)
def test_reads_are_given_up_in_the_end(
    told: Any, error_id: str, server: TlsServer, connection: NodeConnection
) -> None:
    server.answer = told
    client = Patient(connection, timeout_s=0.2)
    assert failure(client.get, "version").error_id == error_id
    assert client.paused == list(PAUSES_S)
    assert len(server.requests) == len(PAUSES_S) + 1


@pytest.mark.parametrize("method", ["post", "put", "delete"])
@pytest.mark.parametrize(("told", "error_id"), PASSING, ids=KINDS)
def test_changes_are_sent_once(
    method: str, told: Any, error_id: str, server: TlsServer, connection: NodeConnection
) -> None:
    server.script = [told]
    client = Patient(connection, timeout_s=0.2)
    error = failure(getattr(client, method), "nodes/pve1/qemu/100")
    assert error.error_id == error_id
    assert len(server.requests) == 1
    assert client.told == []
    if error_id in {"pve-timeout", "pve-interrupted"}:
        assert "may have been carried out" in error.hint


@pytest.mark.parametrize(
    "told",
    [
        (500, "VM is locked (backup)", {"data": None}),
        (403, "Permission check failed", {"data": None}),
        (401, "No ticket", None),
        (400, "Parameter verification failed.", {"errors": {}}),
        (501, "Method 'GET /x' not implemented", {"data": None}),
        (301, "Moved", None),
        (200, "OK", b"<html>"),
    ],
    ids=lambda told: str(told[0]),
)
def test_refusals_are_not_asked_again(told: Any, server: TlsServer, connection: NodeConnection) -> None:
    server.script = [told]
    client = Patient(connection)
    failure(client.get, "x")
    assert (len(server.requests), client.paused) == (1, [])


def test_slow_failures_are_not_repeated_for_ever(server: TlsServer, connection: NodeConnection) -> None:
    server.answer = (503, "Service Unavailable", None)
    client = Patient(connection, per_call_s=RETRY_FOR_S / 2)
    failure(client.get, "version")
    assert client.paused == [0.5]


def test_a_host_that_never_answered_is_asked_once(connection: NodeConnection) -> None:
    client = Patient(replace(connection, host="127.0.0.1:1"))
    error = failure(client.get, "version")
    assert (error.error_id, client.paused) == ("pve-unreachable", [])


def test_a_name_that_nobody_knows(connection: NodeConnection) -> None:
    error = failure(Patient(replace(connection, host="nosuch.invalid")).get, "version")
    assert error.error_id == "pve-unreachable"


def test_a_host_that_has_answered_may_be_away_for_a_moment(pem: Pem) -> None:
    with serving(pem) as first:
        first.script = [b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{"data": {}}']
        client = Patient(NodeConnection("pve1", first.host, TOKEN, ca_file=str(pem.certificate)))
        client.get("version")
    assert failure(client.get, "version").error_id == "pve-unreachable"
    assert client.paused == list(PAUSES_S)


# Threads and warnings


def test_threads_share_a_client(server: TlsServer, connection: NodeConnection) -> None:
    client = PveClient(connection)
    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(20):
            answer = client.post(f"nodes/n{number}/echo", turn=turn)
            if answer != {"version": "9.2.11"}:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(server.requests) == 160
    assert server.connections <= 8, "sessions are lent again"
    sent = {(path, parameters["turn"][0]) for _, path, parameters, _ in server.requests}
    assert sent == {(f"/api2/json/nodes/n{n}/echo", str(turn)) for n in range(8) for turn in range(20)}


def test_one_slow_call_holds_up_no_other(server: TlsServer, connection: NodeConnection) -> None:
    server.script = ["silence"]
    client = PveClient(connection, timeout_s=8)
    slow = threading.Thread(target=lambda: failure(client.post, "slow"))
    slow.start()
    while not server.requests:
        time.sleep(0.01)
    begun = time.monotonic()
    assert client.get("version") == {"version": "9.2.11"}
    assert time.monotonic() - begun < 4
    server.stopping.set()
    slow.join()


PROGRAM = """
import logging, sys
logging.basicConfig(level=logging.WARNING)
from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.proxmox.client import PveClient
client = PveClient(NodeConnection("pve1", sys.argv[1], ApiToken("a@pam", "b", "c"), insecure=True))
for _ in range(3):
    client.get("version")
client.post("nodes/pve1/qemu", vmid=100)
print("done")
"""


def test_insecure_calls_print_nothing(server: TlsServer, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, server.host], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("done\n", "", 0)
    assert [method for method, *_ in server.requests] == ["GET", "GET", "GET", "POST"]
