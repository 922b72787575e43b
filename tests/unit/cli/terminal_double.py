"""A program on a real pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import time
from collections.abc import Mapping, Sequence

DEADLINE_S = 60.0


class Terminal:
    """Runs ``argv`` as if somebody sat before it; what it shows is :attr:`seen`."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], deadline_s: float = DEADLINE_S
    ) -> None:
        self.seen = ""
        self._deadline_s = deadline_s
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            try:
                for number in (signal.SIGINT, signal.SIGHUP):
                    signal.signal(
                        number, signal.SIG_DFL
                    )  # a test run in the background passes these on ignored
                os.execvpe(argv[0], list(argv), dict(environment))
            finally:
                os._exit(127)

    def wait_for(self, text: str) -> None:
        """Read until ``text`` was shown."""
        deadline = time.monotonic() + self._deadline_s
        while text not in self.seen:
            assert self._read(deadline), f"{text!r} was never shown: {self.seen!r}"

    def wait_for_question(self, text: str) -> None:
        """Read until ``text`` was shown, and give the program time to wait for the answer."""
        self.wait_for(text)
        time.sleep(0.3)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def hang_up(self) -> None:
        """Close the terminal, as a closed window does."""
        os.close(self._master)
        self._master = -1

    def end(self) -> int:
        """Read to the end; the exit code, or 128 and the signal that ended it."""
        deadline = time.monotonic() + self._deadline_s
        while self._master >= 0 and self._read(deadline):
            pass
        status = self._await_exit(deadline)
        if self._master >= 0:
            os.close(self._master)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)

    def _await_exit(self, deadline: float) -> int:
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"it did not end: {self.seen!r}")

    def _read(self, deadline: float) -> bool:
        """Read a piece; False when there is no more or the time is over."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            piece = os.read(self._master, 65536)
        except OSError:
            return False
        self.seen += piece.decode(errors="replace")
        return bool(piece)
