"""Hold a host against other runs: a lock on the host that ends with the connection, however that ends."""

from __future__ import annotations

import getpass
import os
import platform
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.targets.executor import Executor

LOCK_FILE = "/run/lock/localai-deploy.lock"
ANSWER_TIMEOUT_S = 30
_SCRIPT = """umask 0; f=$1; [ -e "$f" ] || : >>"$f" || exit 74
exec 9<"$f" || exit 74
if ! flock -n 9; then echo held; cat "$f"; exit 75; fi
{ printf '%s\\n' "$2" >"$f"; } 2>/dev/null
echo free; exec cat >/dev/null"""
"""The file is opened without O_CREAT when it is there: in a sticky directory the kernel refuses
otherwise to open another user's file (fs.protected_regular). ``cat`` ends with our stdin."""


@contextmanager
def hold(executor: Executor, name: str) -> Iterator[None]:
    """Hold the host for the time of the context.

    :raises LocalaiError: ``host-held`` (exit 6) naming the holder; ``host-lock-failed``.
    """
    holder = f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}"
    process = executor.open(["sh", "-c", _SCRIPT, "sh", LOCK_FILE, holder])
    try:
        _await_lock(process, name)
        yield
    finally:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def _await_lock(process: subprocess.Popen[bytes], name: str) -> None:
    stdout, stderr = process.stdout, process.stderr
    if stdout is None or stderr is None:
        raise ValueError("the process was started without pipes")
    ready, _, _ = select.select([stdout], [], [], ANSWER_TIMEOUT_S)
    answer = stdout.readline().decode(errors="replace").strip() if ready else ""
    if answer == "free":
        return
    if answer == "held":
        holder = stdout.readline().decode(errors="replace").strip()
        raise LocalaiError(
            "host-held",
            f"another run is at work on {name}",
            why=f"held by {holder}" if holder else "",
            hint="wait for it; a killed run lets go by itself",
            exit_code=ExitCode.HELD,
        )
    process.kill()
    said = stderr.read().decode(errors="replace").strip().splitlines()
    raise LocalaiError(
        "host-lock-failed",
        f"{name} cannot be held against other runs",
        why=said[-1] if said else f"no answer within {ANSWER_TIMEOUT_S} s",
        hint=f"look whether {LOCK_FILE} can be written on the host and flock is installed",
    )
