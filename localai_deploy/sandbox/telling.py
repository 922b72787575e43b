"""What a sandbox's process tells the command that starts it: one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TextIO

from localai_deploy.errors import ExitCode, LocalaiError


@dataclass(frozen=True, slots=True)
class Telling:
    """The process's end of the line; a listener that went away raises BrokenPipeError."""

    stream: TextIO

    def progress(self, text: str) -> None:
        """Say what is at work."""
        self._send({"progress": text})

    def ready(self) -> None:
        """Say that the API answers; nothing is said after that."""
        self._send({"ready": True})
        self._hang_up()

    def failed(self, error: LocalaiError) -> None:
        """Say why there will be no sandbox."""
        shape = {"error_id": error.error_id, "what": error.what, "why": error.why, "hint": error.hint}
        self._send({"failed": shape | {"exit_code": int(error.exit_code)}})
        self._hang_up()

    def _send(self, data: dict[str, Any]) -> None:
        print(json.dumps(data), file=self.stream, flush=True)

    def _hang_up(self) -> None:
        """Let the listener see the end: the stream goes to the log from now on."""
        os.dup2(2, self.stream.fileno())


def hear(lines: Iterable[str]) -> Iterable[str]:
    """The lines of progress until the sandbox is ready.

    :raises LocalaiError: what the process failed with; ``sandbox-start-failed`` when it just ended.
    """
    for line in lines:
        data = json.loads(line)
        if "ready" in data:
            return
        if "failed" in data:
            told = data["failed"]
            exit_code = ExitCode(told.pop("exit_code"))
            raise LocalaiError(told.pop("error_id"), told.pop("what"), exit_code=exit_code, **told)
        yield data["progress"]
    raise LocalaiError(
        "sandbox-start-failed",
        "the sandbox's process ended before its API answered",
        exit_code=ExitCode.FAILED,
    )
