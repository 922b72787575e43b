"""A command of the host: its exit status and what it printed."""

from __future__ import annotations

import os
import subprocess

COMMAND_TIMEOUT_S = 60


def run(*command: str) -> tuple[int, str]:
    """Exit status and output; -1 and the reason when it could not be run."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return -1, str(error)
    return done.returncode, done.stdout.decode("utf-8", "replace")
