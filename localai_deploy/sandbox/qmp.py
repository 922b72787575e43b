"""QEMU's control channel (QMP) over a unix socket: commands with their results, and events."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Event = dict[str, Any]
_CHUNK_BYTES = 1 << 16
_COMMAND_TIMEOUT_S = 30.0
_POLL_S = 0.02


class QmpError(Exception):
    """QEMU refused a command; the text is its own."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class QmpLost(Exception):  # noqa: N818
    """QEMU has gone, or does not answer."""


@dataclass
class Qmp:
    """One connection; calls of several threads take turns. `events` holds what nobody has waited for yet."""

    connection: socket.socket
    events: list[Event] = field(default_factory=list)
    _received: bytes = b""
    _turn: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def greet(self) -> None:
        """Read QEMU's greeting and leave negotiation mode; raises QmpLost."""
        self._answer("the connection", time.monotonic() + _COMMAND_TIMEOUT_S)
        self.execute("qmp_capabilities")

    def execute(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        timeout_s: float = _COMMAND_TIMEOUT_S,
    ) -> Any:  # noqa: ANN401
        """The result of a command; raises QmpError, QmpLost."""
        question = {"execute": command} | ({"arguments": arguments} if arguments else {})
        with self._turn:
            self._write(question)
            deadline = time.monotonic() + timeout_s
            while "event" in (answer := self._answer(command, deadline)):
                self.events.append(answer)
        if "error" in answer:
            raise QmpError(answer["error"]["class"], answer["error"]["desc"])
        return answer["return"]

    def _answer(self, command: str, deadline: float) -> dict[str, Any]:
        try:
            return self._next(deadline)
        except TimeoutError as error:
            raise QmpLost(f"QEMU does not answer to {command}") from error

    def wait_for(self, name: str, fits: Callable[[Event], bool], timeout_s: float) -> Event | None:
        """The next event of that name that fits, also one that came before; None when none comes in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._turn:
                found = next((e for e in self.events if e["event"] == name and fits(e)), None)
                if found is not None:
                    self.events.remove(found)
                    return found
                if time.monotonic() > deadline:
                    return None
                self._take_what_came()
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Hang up."""
        self.connection.close()

    def _take_what_came(self) -> None:
        """Keep the events that have arrived; does not wait for more."""
        try:
            while True:
                self.events.append(self._next(time.monotonic()))
        except TimeoutError:
            return

    def _write(self, question: dict[str, Any]) -> None:
        try:
            self.connection.settimeout(_COMMAND_TIMEOUT_S)
            self.connection.sendall(json.dumps(question).encode() + b"\n")
        except OSError as error:
            raise QmpLost(str(error)) from error

    def _next(self, deadline: float) -> dict[str, Any]:
        """The next message; raises QmpLost, TimeoutError."""
        while b"\n" not in self._received:
            try:
                self.connection.settimeout(max(deadline - time.monotonic(), 0.001))
                chunk = self.connection.recv(_CHUNK_BYTES)
            except TimeoutError:
                raise
            except OSError as error:
                raise QmpLost(str(error)) from error
            if not chunk:
                raise QmpLost("QEMU has closed its control channel")
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def connect(path: Path, is_alive: Callable[[], bool], timeout_s: float) -> Qmp:
    """The channel of a QEMU that is starting; raises QmpLost when it ends or takes too long."""
    deadline = time.monotonic() + timeout_s
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            with reachable(path) as name:
                connection.connect(name)
        except OSError as error:
            connection.close()
            if not is_alive() or time.monotonic() > deadline:
                raise QmpLost(f"no control channel: {error}") from error
            time.sleep(_POLL_S)
            continue
        qmp = Qmp(connection)
        qmp.greet()
        return qmp


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for a socket that is short enough whatever folder it lies in."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
