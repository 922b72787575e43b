"""The QEMU guest agent over a unix socket: one JSON object a line, commands named as the node's API does."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localai_deploy.sandbox.body import AgentRefused, AgentSilent, Result

_DELIMITER = b"\xff"
_CHUNK_BYTES = 1 << 16
_READ_BYTES = 1 << 20
_FILE_LIMIT_BYTES = 64 << 20


@dataclass
class GuestAgent:
    """The agent behind a socket; calls of several threads take turns, as the agent has one channel.

    :param socket_path: asked at each call, since it may move from boot to boot; None while there is no guest.
    :param greeting_s: how long the agent may take to show that it is there.
    :param timeout_s: how long a command may take after that.
    """

    socket_path: Callable[[], Path | None]
    greeting_s: float = 3.0
    timeout_s: float = 10.0
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def call(self, command: str, arguments: dict[str, Any]) -> Result:
        """The result of a command of the API; raises AgentSilent, AgentRefused.

        exec: the number of the process; file-read: bytes; exec-status: as the API answers it.
        """
        with self._turn, _Channel(self.socket_path(), self.greeting_s) as channel:
            channel.allow(self.timeout_s)
            special = _COMMANDS.get(command)
            return special(channel, arguments) if special else channel.execute(f"guest-{command}", arguments)


class _Channel:
    """One connection, synchronised."""

    def __init__(self, path: Path | None, greeting_s: float) -> None:
        if path is None:
            raise AgentSilent
        self._received = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self.allow(greeting_s)
        try:
            self._socket.settimeout(greeting_s)
            self._socket.connect(str(path))
            self._synchronise()
        except OSError as error:
            self._socket.close()
            raise AgentSilent from error
        except AgentSilent:
            self._socket.close()
            raise

    def __enter__(self) -> _Channel:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def allow(self, seconds: float) -> None:
        """Set how long what follows may take."""
        self._deadline = time.monotonic() + seconds

    def _synchronise(self) -> None:
        """Make the agent forget half a command and skip answers to those before us."""
        number = time.monotonic_ns() & 0x7FFFFFFF
        question = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        self._send(_DELIMITER + json.dumps(question).encode() + b"\n")
        while True:
            self._until(_DELIMITER)
            if self._answer() == {"return": number}:
                return

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Result:
        """One command by the agent's own name; raises AgentSilent, AgentRefused."""
        question = {"execute": command} | ({"arguments": arguments} if arguments else {})
        try:
            self._send(json.dumps(question).encode() + b"\n")
            answer = self._answer()
        except OSError as error:
            raise AgentSilent from error
        if "error" in answer:
            raise AgentRefused(str(answer["error"].get("desc", "")))
        return answer.get("return")

    def _send(self, data: bytes) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def _answer(self) -> dict[str, Any]:
        try:
            answer = json.loads(self._until(b"\n"))
        except ValueError as error:
            raise AgentSilent from error
        if not isinstance(answer, dict):
            raise AgentSilent
        return answer

    def _until(self, mark: bytes) -> bytes:
        """What comes before the mark."""
        while mark not in self._received:
            self._socket.settimeout(self._left())
            chunk = self._socket.recv(_CHUNK_BYTES)
            if not chunk:
                raise AgentSilent
            self._received += chunk
        found, _, self._received = self._received.partition(mark)
        return found

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _exec(channel: _Channel, arguments: dict[str, Any]) -> int:
    path, *words = arguments["command"]
    question: dict[str, Any] = {"path": path, "arg": words, "capture-output": True}
    if arguments.get("input-data") is not None:
        question["input-data"] = _encoded(arguments["input-data"].encode())
    number: int = channel.execute("guest-exec", question)["pid"]
    return number


def _exec_status(channel: _Channel, arguments: dict[str, Any]) -> dict[str, Any]:
    status = channel.execute("guest-exec-status", {"pid": arguments["pid"]})
    return {key: _shown(key, value) for key, value in status.items()}


def _shown(key: str, value: Result) -> Result:
    if key in {"out-data", "err-data"}:
        return base64.b64decode(value).decode("latin-1")
    return int(value) if isinstance(value, bool) else value


def _file_read(channel: _Channel, arguments: dict[str, Any]) -> bytes:
    handle = channel.execute("guest-file-open", {"path": arguments["file"], "mode": "r"})
    content, at_end = b"", False
    while not at_end and len(content) < _FILE_LIMIT_BYTES:
        part = channel.execute("guest-file-read", {"handle": handle, "count": _READ_BYTES})
        content += base64.b64decode(part["buf-b64"])
        at_end = part["eof"]
    channel.execute("guest-file-close", {"handle": handle})
    return content


def _file_write(channel: _Channel, arguments: dict[str, Any]) -> None:
    handle = channel.execute("guest-file-open", {"path": arguments["file"], "mode": "w"})
    channel.execute("guest-file-write", {"handle": handle, "buf-b64": _encoded(arguments["content"])})
    channel.execute("guest-file-close", {"handle": handle})


def _set_user_password(channel: _Channel, arguments: dict[str, Any]) -> Result:
    question = {
        "username": arguments["username"],
        "password": _encoded(arguments["password"].encode()),
        "crypted": bool(arguments.get("crypted")),
    }
    return channel.execute("guest-set-user-password", question)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


_COMMANDS: dict[str, Callable[[_Channel, dict[str, Any]], Result]] = {
    "exec": _exec,
    "exec-status": _exec_status,
    "file-read": _file_read,
    "file-write": _file_write,
    "set-user-password": _set_user_password,
}
