"""Hold a host against other runs: a lock on the host that ends with the connection, however that ends."""

from __future__ import annotations

import getpass
import os
import platform
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.targets.executor import Executor

LOCK_FILE = "/run/lock/localai-deploy.lock"
ANSWER_TIMEOUT_S = 30
_SCRIPT = """\
[ -e "$1" ] || ( umask 0; set -C; : >"$1" ) 2>/dev/null
exec 9<"$1" || exit 74
flock -n 9
case $? in
  0) ;;
  1) echo held; head -n 1 <"$1"; exit 75 ;;
  *) exit 74 ;;
esac
printf '%-254.254s\\n' "$2" | dd of="$1" bs=255 conv=notrunc,nocreat 2>/dev/null
echo free
exec cat >/dev/null
"""
"""All users of the host share the file. In a directory with the sticky bit the kernel refuses to open
another user's file with O_CREAT (fs.protected_regular), hence the reading descriptor and ``nocreat``.
``cat`` keeps the lock and ends with our stdin."""


@contextmanager
def hold(executor: Executor, name: str, *, lock_file: str = LOCK_FILE) -> Iterator[None]:
    """Hold the host for the time of the context.

    :raises LocalaiError: ``host-held`` (exit 6) naming the holder; ``host-lock-failed``.
    """
    process = executor.open(["sh", "-c", _SCRIPT, "sh", lock_file, _holder()])
    try:
        _await_lock(process, name, lock_file)
        yield
    finally:
        _let_go(process)


def _holder() -> str:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}, since {since}"


def _let_go(process: subprocess.Popen[bytes]) -> None:
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


def _await_lock(process: subprocess.Popen[bytes], name: str, lock_file: str) -> None:
    stdout, stderr = process.stdout, process.stderr
    if stdout is None or stderr is None:
        raise ValueError("the process was started without pipes")
    ready, _, _ = select.select([stdout], [], [], ANSWER_TIMEOUT_S)
    answer = stdout.readline().strip() if ready else b""
    if answer == b"free":
        return
    if answer == b"held":
        raise _held(name, stdout.readline().decode(errors="replace").strip())
    process.kill()
    said = stderr.read().decode(errors="replace").strip().splitlines()
    raise LocalaiError(
        "host-lock-failed",
        f"{name} cannot be held against other runs",
        why=said[-1] if said else f"no answer within {ANSWER_TIMEOUT_S} s",
        hint=f"look whether {lock_file} can be made on the host and whether it has flock (util-linux)",
    )


def _held(name: str, holder: str) -> LocalaiError:
    return LocalaiError(
        "host-held",
        f"another run is at work on {name}",
        why=f"held by {holder}" if holder else "it did not say who it is",
        hint="wait for it; a killed run lets go by itself",
        exit_code=ExitCode.HELD,
    )
