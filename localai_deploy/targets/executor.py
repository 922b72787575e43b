"""Run commands on a host: argument lists in, bytes out."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from localai_deploy.errors import LocalaiError
from localai_deploy.targets.become import as_root, raise_for_sudo

DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended; a signal's number is negative where it is known."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Executor(Protocol):
    """Runs commands on one host."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        sudo: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Completed:
        """Run ``argv`` to its end; as root with ``sudo``. Its own failure is no error.

        :raises LocalaiError: ``host-*``, ``ssh-*``, ``sudo-*``, ``command-timeout``.
        """

    def open(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start ``argv`` with pipes for its three streams, which the caller reads and closes."""


def run_process(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    timeout_s: float,
    display: str,
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run a process of this machine to its end, without the terminal.

    :raises LocalaiError: ``command-timeout``; ``ssh-missing`` when an OpenSSH program is not installed.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            start_new_session=True,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise _timed_out(argv, timeout_s, display) from error
    except FileNotFoundError as error:
        raise missing_program(argv[0]) from error
    return Completed(done.returncode, done.stdout, done.stderr)


def missing_program(name: str) -> LocalaiError:
    """Tell that a program of OpenSSH, or another one of this machine, is not installed."""
    return LocalaiError(
        "ssh-missing",
        f"{name} is not installed on this machine",
        hint="sudo apt install openssh-client",
    )


def _timed_out(argv: Sequence[str], timeout_s: float, display: str) -> LocalaiError:
    return LocalaiError(
        "command-timeout",
        f"{display}: no answer within {timeout_s:.0f} s",
        why=f"…{shlex.join(argv)[-160:]}",
        hint="look whether the host is overloaded or one of its file systems hangs",
    )


class Local:
    """The machine that runs the command."""

    display = "localhost"

    def __init__(self, *, password: str = "") -> None:
        self._password = password

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        sudo: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Completed:
        """See :class:`Executor`."""
        if not sudo or os.geteuid() == 0:
            return run_process(argv, stdin=stdin, timeout_s=timeout_s, display=self.display)
        words, sent = as_root(argv, stdin, self._password)
        done = run_process(words, stdin=sent, timeout_s=timeout_s, display=self.display)
        raise_for_sudo(done.returncode, done.stderr, self.display)
        return done

    def open(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """See :class:`Executor`."""
        return open_process(argv)


def open_process(
    argv: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process of this machine that outlives an interrupt key, but not its stdin."""
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=environment,
    )
