"""Hold a host against other runs: a lock on the host that ends with the connection, however that ends.

A connection whose other end has vanished looks alive to the host for hours, so the holder gives a sign
of life now and then; without one the host lets go.
"""

from __future__ import annotations

import getpass
import os
import platform
import select
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.targets.executor import Executor

LOCK_FILE = "/run/lock/localai-deploy.lock"
ANSWER_TIMEOUT_S = 30
SIGN_INTERVAL_S = 15.0
SILENCE_S = 120.0
"""The host lets go after this silence: longer than ssh itself bears a connection without answers."""
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
while sign=$(timeout "$3" head -c 1) && [ -n "$sign" ]; do :; done
"""
"""All users of the host share the file. In a directory with the sticky bit the kernel refuses to open
another user's file with O_CREAT (fs.protected_regular), hence the reading descriptor and ``nocreat``.
The lock is kept while signs of life come, and ends with our stdin."""


class Held:
    """A host that is held; ``require`` says whether it still is."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self._process = process
        self._name = name
        self._over = threading.Event()
        self._signs = threading.Thread(target=self._give_signs, daemon=True)
        self._signs.start()

    def require(self) -> None:
        """Go on only while the host is held.

        :raises LocalaiError: ``host-lock-lost`` (exit 5).
        """
        if self._process.poll() is not None:
            raise LocalaiError(
                "host-lock-lost",
                f"{self._name} is no longer held by this run",
                why=f"the connection broke, or this machine was silent for more than {SILENCE_S:.0f} s",
                hint="another run may have been at work there; the same command goes on from here",
                exit_code=ExitCode.PARTIAL,
            )

    def end(self) -> None:
        """Give no further sign."""
        self._over.set()
        self._signs.join()

    def _give_signs(self) -> None:
        with suppress(OSError, ValueError):
            while self._process.stdin and not self._over.wait(SIGN_INTERVAL_S):
                self._process.stdin.write(b".")
                self._process.stdin.flush()


@contextmanager
def hold(executor: Executor, name: str, *, lock_file: str = LOCK_FILE) -> Iterator[Held]:
    """Hold the host for the time of the context.

    :raises LocalaiError: ``host-held`` (exit 6) naming the holder; ``host-lock-failed``.
    """
    process = executor.open(["sh", "-c", _SCRIPT, "sh", lock_file, _holder(), f"{SILENCE_S:g}"])
    try:
        _await_lock(process, name, lock_file)
        held = Held(process, name)
        try:
            yield held
        finally:
            held.end()
    finally:
        _let_go(process)


def _holder() -> str:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{getpass.getuser()}@{platform.node()}, process {os.getpid()}, since {since}"


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with suppress(OSError):
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
        hint="wait for it; a killed run lets go by itself, one whose network broke within two minutes",
        exit_code=ExitCode.HELD,
    )
