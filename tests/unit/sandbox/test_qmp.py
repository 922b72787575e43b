"""QEMU's control channel against a socket that plays a script."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from localai_deploy.sandbox.qmp import Qmp, QmpError, QmpLost, connect

GREETING = {"QMP": {"version": {}, "capabilities": []}}
DELETED = {"event": "DEVICE_DELETED", "data": {"device": "scsi1"}}


class Script:
    """QEMU's side: after each command it sends the next messages."""

    def __init__(self, *turns):
        self.ours, self.theirs = socket.socketpair()
        self.turns = turns
        self.heard = []
        threading.Thread(target=self.play, daemon=True).start()

    def play(self):
        self.say(GREETING)
        stream = self.theirs.makefile("r")
        for turn in ([{"return": {}}], *self.turns):
            self.heard.append(json.loads(stream.readline()))
            for message in turn:
                self.say(message)

    def say(self, message):
        data = json.dumps(message).encode() + b"\r\n"
        self.theirs.sendall(data[:7])
        self.theirs.sendall(data[7:])


def opened(*turns):
    script = Script(*turns)
    qmp = Qmp(script.ours)
    qmp.greet()
    return script, qmp


def test_commands_and_results():
    script, qmp = opened([{"return": {"status": "running"}}], [{"return": {}}])
    assert qmp.execute("query-status") == {"status": "running"}
    assert qmp.execute("device_del", {"id": "scsi1"}) == {}
    assert script.heard == [
        {"execute": "qmp_capabilities"},
        {"execute": "query-status"},
        {"execute": "device_del", "arguments": {"id": "scsi1"}},
    ]


def test_a_refusal_has_its_class_and_text():
    _, qmp = opened([{"error": {"class": "DeviceNotFound", "desc": "Device 'net9' not found"}}])
    with pytest.raises(QmpError, match="Device 'net9' not found") as caught:
        qmp.execute("device_del", {"id": "net9"})
    assert caught.value.kind == "DeviceNotFound"


def test_events_before_and_after_the_answer():
    _, qmp = opened([DELETED, {"return": {}}], [{"return": {}}, {"event": "STOP"}])
    qmp.execute("device_del", {"id": "scsi1"})
    assert qmp.wait_for("DEVICE_DELETED", lambda e: e["data"]["device"] == "scsi1", 1) == DELETED
    assert qmp.wait_for("DEVICE_DELETED", lambda e: True, 0.05) is None
    qmp.execute("stop")
    assert qmp.wait_for("STOP", lambda e: True, 1) == {"event": "STOP"}
    assert qmp.events == []


def test_an_event_that_does_not_fit_is_kept():
    _, qmp = opened([DELETED, {"return": {}}])
    qmp.execute("device_del", {"id": "scsi1"})
    assert qmp.wait_for("DEVICE_DELETED", lambda e: e["data"]["device"] == "net0", 0.05) is None
    assert qmp.events == [DELETED]


def test_qemu_that_ends_is_lost():
    script, qmp = opened()
    script.theirs.shutdown(socket.SHUT_RDWR)
    with pytest.raises(QmpLost):
        qmp.execute("quit")


def test_qemu_that_says_nothing_is_lost():
    ours, theirs = socket.socketpair()
    with pytest.raises(QmpLost, match="does not answer to query-status"):
        Qmp(ours).execute("query-status", timeout_s=0.05)
    theirs.close()


def test_connecting_to_a_socket_with_a_long_name(tmp_path: Path, monkeypatch):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.chdir(folder)
    server = socket.socket(socket.AF_UNIX)
    server.bind("qmp.sock")
    server.listen()

    def serve():
        connection, _ = server.accept()
        connection.sendall(json.dumps(GREETING).encode() + b"\n")
        connection.recv(1000)
        connection.sendall(b'{"return": {}}\n')

    threading.Thread(target=serve, daemon=True).start()
    connect(folder / "qmp.sock", lambda: True, 5).close()


def test_no_socket_and_no_process(tmp_path: Path):
    with pytest.raises(QmpLost, match="no control channel"):
        connect(tmp_path / "qmp.sock", lambda: False, 5)
