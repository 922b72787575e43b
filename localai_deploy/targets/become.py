"""Become root by sudo: the password goes through stdin only, and never reaches the command."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localai_deploy.errors import LocalaiError

_PLAIN = """\
if [ "$(id -u)" = 0 ]; then exec "$@"; fi
export LC_ALL=C
exec sudo -n -- "$@"
"""

_END = "-- end of the password --"
_WITH_PASSWORD = f"""\
IFS= read -r secret
if [ "$(id -u)" = 0 ]; then exec "$@"; fi
export LC_ALL=C
printf '%s\\n' "$secret" | sudo -S -p '' -- true || exit 1
{{ printf '%s\\n%s\\n' "$secret" '{_END}'; cat; }} | sudo -S -p '' -- sh -c '
  while IFS= read -r line; do [ "$line" = "{_END}" ] && break; done; exec "$@"' sh "$@"
"""
"""A wrong password is offered once, not three times with the input's lines as second and third try.
sudo reads a password only if it needs one; what it leaves is skipped up to the mark. ``read`` takes
byte by byte and ``printf`` is part of the shell, so the password is in no argument list."""

_FAILURES = (
    ("sudo-password-wrong", r"incorrect password|sorry, try again|authentication failed"),
    ("sudo-password-needed", r"(password|authentication) is required|terminal is required"),
    ("sudo-missing", r"not in the sudoers|not allowed to|may not run|sudo: .*not found|must have a tty"),
)
_HINTS = {
    "sudo-missing": "give the user sudo rights, or log in as root",
    "sudo-password-needed": (
        "add --ask-become-pass (-K), or a vaulted ansible_become_password\n"
        "(sudo says the same to a user without any rights: then give them, or log in as root)"
    ),
    "sudo-password-wrong": "check the password that was given with -K or ansible_become_password",
}


def as_root(argv: Sequence[str], stdin: bytes, password: str) -> tuple[list[str], bytes]:
    """``argv`` as root and what to send it; without effect on a login that is root already."""
    if not password:
        return ["sh", "-c", _PLAIN, "sh", *argv], stdin
    return ["sh", "-c", _WITH_PASSWORD, "sh", *argv], f"{password}\n".encode() + stdin


def raise_for_sudo(returncode: int, stderr: bytes, display: str) -> None:
    """Raise what sudo itself complains of; a failure of the command passes.

    :raises LocalaiError: ``sudo-missing``, ``sudo-password-needed``, ``sudo-password-wrong``.
    """
    if returncode not in {1, 127}:
        return
    lines = stderr.decode(errors="replace").strip().splitlines()
    for error_id, pattern in _FAILURES:
        line = next((one for one in lines if _of_sudo(one) and re.search(pattern, one.lower())), "")
        if line:
            raise LocalaiError(
                error_id, f"{display} cannot become root", why=line.strip(), hint=_HINTS[error_id]
            )


def _of_sudo(line: str) -> bool:
    return bool(re.match(r"sudo(-rs)?:|Sorry, |sh: .*sudo|\S+ is not in the sudoers", line))
