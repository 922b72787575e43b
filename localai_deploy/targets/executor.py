"""Run commands on a host: argument lists in, bytes out, no shell of ours in between."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from localai_deploy.errors import LocalaiError

SUDO_FAILURES = {
    "incorrect password": "sudo-password-wrong",
    "sorry, try again": "sudo-password-wrong",
    "a password is required": "sudo-password-needed",
    "a terminal is required": "sudo-password-needed",
    "not in the sudoers": "sudo-missing",
    "not allowed to": "sudo-missing",
    "may not run": "sudo-missing",
    "sudo: not found": "sudo-missing",
    "sudo: command not found": "sudo-missing",
}
"""What sudo prints in the C locale → our error."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended."""

    returncode: int
    stdout: bytes
    stderr: bytes


class Executor(Protocol):
    """Runs commands on one host."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", sudo: bool = False, timeout_s: float = 60
    ) -> Completed:
        """Run ``argv``; as root with ``sudo``.

        :raises LocalaiError: ``host-*``, ``ssh-*``, ``sudo-*``, ``command-timeout``.
        """

    def open(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start ``argv`` and leave its standard streams to the caller."""


_SKIP_TO_MARK = 'while IFS= read -r line; do [ "$line" = "$0" ] && break; done; exec "$@"'
_MARK = "-- end of the password --"


def under_sudo(argv: Sequence[str], stdin: bytes, password: str) -> tuple[list[str], bytes]:
    """``argv`` under sudo and what to send it; the password goes through stdin only.

    sudo reads the password only if it needs one; whatever it leaves is skipped up to a mark, so
    that the password never reaches the command.
    """
    sudo = ["env", "LC_ALL=C", "sudo"]
    if not password:
        return [*sudo, "-n", "--", *argv], stdin
    skipping = ["sh", "-c", _SKIP_TO_MARK, _MARK, *argv]
    return [*sudo, "-S", "-p", "", "--", *skipping], f"{password}\n{_MARK}\n".encode() + stdin


def raise_for_sudo(done: Completed, display: str) -> None:
    """Raise what sudo complains of; a failure of the command itself passes.

    :raises LocalaiError: ``sudo-missing``, ``sudo-password-needed``, ``sudo-password-wrong``.
    """
    if done.returncode == 0:
        return
    text = done.stderr.decode(errors="replace").lower()
    if "sudo" not in text and "sorry" not in text:
        return
    for mark, error_id in SUDO_FAILURES.items():
        if mark in text:
            raise LocalaiError(
                error_id, f"{display} cannot become root", why=_last_line(text), hint=_HINT[error_id]
            )


_HINT = {
    "sudo-missing": "give the user sudo rights, or log in as root",
    "sudo-password-needed": "add --ask-become-pass (-K), or a vaulted ansible_become_password",
    "sudo-password-wrong": "check the password that was given with -K or ansible_become_password",
}


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else ""


def run_process(argv: Sequence[str], *, stdin: bytes, timeout_s: float, display: str) -> Completed:
    """Run a local process to its end.

    :raises LocalaiError: ``command-timeout``; ``ssh-missing`` when the program is not installed.
    """
    try:
        done = subprocess.run(list(argv), input=stdin, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise LocalaiError(
            "command-timeout",
            f"{display}: no answer within {timeout_s:.0f} s",
            why=shlex.join(argv)[-200:],
            hint="look whether the host is overloaded or a network file system hangs",
        ) from error
    except FileNotFoundError as error:
        raise LocalaiError(
            "ssh-missing", f"{argv[0]} is not installed", hint="sudo apt install openssh-client"
        ) from error
    return Completed(done.returncode, done.stdout, done.stderr)


class Local:
    """The machine that runs the command."""

    display = "localhost"

    def __init__(self, *, is_root: bool, password: str = "") -> None:
        self._is_root = is_root
        self._password = password

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", sudo: bool = False, timeout_s: float = 60
    ) -> Completed:
        """See :class:`Executor`."""
        if not sudo or self._is_root:
            return run_process(argv, stdin=stdin, timeout_s=timeout_s, display=self.display)
        wrapped, sent = under_sudo(argv, stdin, self._password)
        done = run_process(wrapped, stdin=sent, timeout_s=timeout_s, display=self.display)
        raise_for_sudo(done, self.display)
        return done

    def open(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """See :class:`Executor`."""
        return subprocess.Popen(
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
