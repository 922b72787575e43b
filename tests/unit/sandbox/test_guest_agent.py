"""The guest agent's client against a scripted socket."""

from __future__ import annotations

import base64
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.sandbox.body import AgentRefused, AgentSilent
from localai_deploy.sandbox.guest_agent import GuestAgent

Script = Callable[[str, dict[str, Any]], Any]


class ScriptedAgent:
    """Answers ``guest-sync-delimited`` as the agent does and all else with the script."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.script: Script = lambda command, arguments: {}
        self.before_sync = b""
        self.chunk_bytes = 1 << 20
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                try:
                    for line in lines:
                        self._answer(connection, line)
                except OSError:
                    continue

    def _answer(self, connection: socket.socket, line: bytes) -> None:
        question = json.loads(line.lstrip(b"\xff"))
        command, arguments = question["execute"], question.get("arguments", {})
        if command == "guest-sync-delimited":
            data = self.before_sync + b"\xff" + json.dumps({"return": arguments["id"]}).encode() + b"\n"
        else:
            self.seen.append((command, arguments))
            answer = self.script(command, arguments)
            if answer is None:
                return
            is_error = isinstance(answer, dict) and "error" in answer
            data = json.dumps(answer if is_error else {"return": answer}).encode() + b"\n"
        for start in range(0, len(data), self.chunk_bytes):
            connection.sendall(data[start : start + self.chunk_bytes])


@pytest.fixture
def scripted() -> Iterator[ScriptedAgent]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        agent = ScriptedAgent(Path(folder, "qga"))
        yield agent
        agent.close()


def client(scripted: ScriptedAgent, **times: float) -> GuestAgent:
    return GuestAgent(lambda: scripted.path, **times)


def test_a_plain_command_is_named_as_the_agent_names_it(scripted: ScriptedAgent) -> None:
    scripted.script = lambda command, arguments: {"host-name": "box"}
    assert client(scripted).call("get-host-name", {}) == {"host-name": "box"}
    assert scripted.seen == [("guest-get-host-name", {})]


def test_what_was_left_of_an_older_answer_is_skipped(scripted: ScriptedAgent) -> None:
    scripted.before_sync = b'"half": 1}\n\xff{"return": 7}\n'
    assert client(scripted).call("ping", {}) == {}


def test_answers_may_come_in_pieces(scripted: ScriptedAgent) -> None:
    scripted.chunk_bytes = 3
    scripted.script = lambda command, arguments: {"host-name": "bœuf" * 50}
    assert client(scripted).call("get-host-name", {}) == {"host-name": "bœuf" * 50}


def test_exec_gives_the_process_and_its_status_as_the_api_words_it(scripted: ScriptedAgent) -> None:
    text = base64.b64encode("grün".encode()).decode()
    answers = {
        "guest-exec": {"pid": 12},
        "guest-exec-status": {"exited": True, "exitcode": 0, "out-data": text},
    }
    scripted.script = lambda command, arguments: answers[command]
    agent = client(scripted)
    assert agent.call("exec", {"command": ["id", "-u"], "input-data": "x"}) == 12
    assert agent.call("exec-status", {"pid": 12}) == {"exited": 1, "exitcode": 0, "out-data": "grÃ¼n"}
    assert scripted.seen == [
        ("guest-exec", {"path": "id", "arg": ["-u"], "capture-output": True, "input-data": "eA=="}),
        ("guest-exec-status", {"pid": 12}),
    ]


def test_a_file_is_read_to_its_end_and_closed(scripted: ScriptedAgent) -> None:
    parts = iter([{"buf-b64": "YWI=", "eof": False}, {"buf-b64": "Yw==", "eof": True}])
    scripted.script = lambda command, arguments: {
        "guest-file-open": lambda: 1000,
        "guest-file-read": lambda: next(parts),
        "guest-file-close": dict,
    }[command]()
    assert client(scripted).call("file-read", {"file": "/etc/x"}) == b"abc"
    assert scripted.seen[0] == ("guest-file-open", {"path": "/etc/x", "mode": "r"})
    assert scripted.seen[-1] == ("guest-file-close", {"handle": 1000})


def test_a_file_is_written_and_closed(scripted: ScriptedAgent) -> None:
    scripted.script = lambda command, arguments: 3 if command == "guest-file-open" else {}
    client(scripted).call("file-write", {"file": "/x", "content": b"\x00\xff"})
    assert scripted.seen[1] == ("guest-file-write", {"handle": 3, "buf-b64": "AP8="})
    assert scripted.seen[2] == ("guest-file-close", {"handle": 3})


def test_a_password_travels_encoded(scripted: ScriptedAgent) -> None:
    client(scripted).call("set-user-password", {"username": "u", "password": "p", "crypted": None})
    assert scripted.seen == [
        ("guest-set-user-password", {"username": "u", "password": "cA==", "crypted": False})
    ]


def test_an_error_keeps_its_text(scripted: ScriptedAgent) -> None:
    text = "failed to open file '/x' (mode: 'r'): No such file or directory"
    scripted.script = lambda command, arguments: {"error": {"class": "GenericError", "desc": text}}
    with pytest.raises(AgentRefused, match="No such file"):
        client(scripted).call("file-read", {"file": "/x"})


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(AgentSilent):
        GuestAgent(lambda: tmp_path / "none").call("ping", {})
    with pytest.raises(AgentSilent):
        GuestAgent(lambda: None).call("ping", {})


def test_a_socket_that_takes_words_and_says_nothing() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as mute:
        path = Path(folder, "mute")
        mute.bind(str(path))
        mute.listen()
        began = time.monotonic()
        with pytest.raises(AgentSilent):
            GuestAgent(lambda: path, greeting_s=0.2).call("ping", {})
        assert 0.15 < time.monotonic() - began < 2


def test_a_command_without_an_end(scripted: ScriptedAgent) -> None:
    scripted.script = lambda command, arguments: None
    with pytest.raises(AgentSilent):
        client(scripted, timeout_s=0.2).call("ping", {})


def test_a_guest_that_goes_away_in_the_middle(scripted: ScriptedAgent) -> None:
    def dies(command: str, arguments: dict[str, Any]) -> Any:
        raise OSError

    scripted.script = dies
    with pytest.raises(AgentSilent):
        client(scripted).call("ping", {})
