"""Commands of this machine."""

from __future__ import annotations

import os
import signal
import subprocess


class MachineError(RuntimeError):
    """The machine did not do what was asked; the message says what to look at."""


def run(*argv: str, check: bool = True, input_text: str | None = None) -> str:
    """Run a command and return its stdout; raises MachineError with its stderr when it fails."""
    done = subprocess.run(argv, input=input_text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise MachineError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def kill(pid: int) -> None:
    """End a process at once; no error when it has gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
