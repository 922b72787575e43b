"""A call into a foreign library in a process of its own, which may crash or hang."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any


def call(function: Callable[[Any], dict[str, Any]], argument: object, timeout_s: float) -> dict[str, Any]:
    """What ``function(argument)`` gives, as plain data; ``{"error": why}`` when it gave nothing."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receiving)
        _answer(function, argument, sending)
    os.close(sending)
    text, in_time = _read(receiving, time.monotonic() + timeout_s)
    os.close(receiving)
    if not in_time:
        os.kill(pid, signal.SIGKILL)
        return {"error": f"it did not answer within {timeout_s:g} s"}
    _, status = os.waitpid(pid, 0)
    if not text:
        return {"error": _end(status)}
    found: dict[str, Any] = json.loads(text)
    return found


def _answer(function: Callable[[Any], dict[str, Any]], argument: object, sending: int) -> None:
    """Write the answer and end this process, whatever happens."""
    status = 1
    try:
        try:
            data = function(argument)
        except Exception as error:  # noqa: BLE001 - told to the parent
            data = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(sending, "w") as answers:
            json.dump(data, answers)
        status = 0
    finally:
        os._exit(status)


def _read(receiving: int, deadline: float) -> tuple[bytes, bool]:
    """Everything that was written, and whether the writer closed in time."""
    text = b""
    while True:
        ready, _, _ = select.select([receiving], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return text, False
        chunk = os.read(receiving, 65536)
        if not chunk:
            return text, True
        text += chunk


def _end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"it was ended by signal {os.WTERMSIG(status)}"
    return f"it ended with {os.WEXITSTATUS(status)} and no answer"
