"""Becoming root: what sudo and the command are given, with a sudo of our own that keeps a record."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from localai_deploy.errors import LocalaiError
from localai_deploy.targets.become import as_root, raise_for_sudo

PASSWORD = "it's a $ecret `id` \\ päß"
BINARY = bytes(range(256)) * 3
FAKE_SUDO = """#!/bin/sh
# asks for a password unless -n is given; $ASKS says whether it wants one
printf '%s\\n' "$*" >>"$RECORD"
mode=ask
while [ "$1" != -- ]; do [ "$1" = -n ] && mode=never; [ "$1" = -p ] && shift; shift; done
shift
if [ "$ASKS" = yes ]; then
  [ $mode = never ] && { echo "sudo: a password is required" >&2; exit 1; }
  tries=0
  while [ $tries -lt 3 ]; do
    IFS= read -r given || break
    tries=$((tries + 1)); echo "try $given" >>"$RECORD"
    [ "$given" = "$RIGHT" ] && exec "$@"
    echo "Sorry, try again." >&2
  done
  echo "sudo: $tries incorrect password attempt" >&2; exit 1
fi
exec "$@"
"""


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who is not root and has the sudo above."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sudo").write_text(FAKE_SUDO)
    (programs / "id").write_text("#!/bin/sh\necho 1000\n")
    for path in programs.iterdir():
        path.chmod(0o755)
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RECORD": str(tmp_path / "record"),
        "ASKS": "yes",
        "RIGHT": PASSWORD,
    }


def run(words: list[str], stdin: bytes, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(words, input=stdin, capture_output=True, env=environment, timeout=20, check=False)


@pytest.mark.parametrize("asks", ["yes", "no"])
def test_input_reaches_the_command_whole_and_the_password_never(user: dict[str, str], asks: str) -> None:
    words, sent = as_root(["cat"], BINARY, PASSWORD)
    done = run(words, sent, {**user, "ASKS": asks})
    assert (done.returncode, done.stdout) == (0, BINARY)
    assert not any(PASSWORD in word for word in words)


def test_the_password_is_in_no_argument_list(user: dict[str, str]) -> None:
    words, sent = as_root(["sh", "-c", "cat /proc/*/cmdline; exit 7"], b"", PASSWORD)
    done = run(words, sent, user)
    assert done.returncode == 7
    assert PASSWORD.encode() not in done.stdout


def test_a_wrong_password_is_offered_once(user: dict[str, str]) -> None:
    words, sent = as_root(["sh", "-s"], b"touch /no\nsecond\nthird\n", "wrong")
    done = run(words, sent, user)
    tries = [line for line in Path(user["RECORD"]).read_text().splitlines() if line.startswith("try")]
    assert tries == ["try wrong"]
    with pytest.raises(LocalaiError) as caught:
        raise_for_sudo(done.returncode, done.stderr, "box")
    assert caught.value.error_id == "sudo-password-wrong"


def test_without_a_password_sudo_does_not_ask(user: dict[str, str]) -> None:
    words, sent = as_root(["cat"], BINARY, "")
    assert run(words, sent, {**user, "ASKS": "no"}).stdout == BINARY
    done = run(words, sent, user)
    with pytest.raises(LocalaiError) as caught:
        raise_for_sudo(done.returncode, done.stderr, "box")
    assert caught.value.error_id == "sudo-password-needed"
    assert "--ask-become-pass" in caught.value.hint


@pytest.mark.parametrize("password", ["", PASSWORD])
def test_root_needs_no_sudo(user: dict[str, str], password: str) -> None:
    (Path(user["PATH"].partition(":")[0]) / "id").write_text("#!/bin/sh\necho 0\n")
    words, sent = as_root(["cat"], BINARY, password)
    assert run(words, sent, user).stdout == BINARY
    assert not Path(user["RECORD"]).exists()


@pytest.mark.parametrize("password", ["", PASSWORD])
@pytest.mark.parametrize("shell", [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)])
def test_a_host_without_sudo(tmp_path: Path, password: str, shell: str) -> None:
    for name in ("cat", "printf"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    (tmp_path / "sh").symlink_to(shutil.which(shell) or shell)
    (tmp_path / "id").write_text(f"#!{shutil.which('sh')}\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    words, sent = as_root(["true"], b"", password)
    done = run(words, sent, {"PATH": str(tmp_path)})
    with pytest.raises(LocalaiError) as caught:
        raise_for_sudo(done.returncode or 127, done.stderr, "box")
    assert caught.value.error_id == "sudo-missing"


@pytest.mark.parametrize(
    ("stderr", "error_id"),
    [
        ("sudo: a password is required\n", "sudo-password-needed"),
        ("sudo: a terminal is required to read the password; either use…\n", "sudo-password-needed"),
        ("sudo: interactive authentication is required\n", "sudo-password-needed"),
        ("Sorry, try again.\nsudo: no password was provided\n", "sudo-password-wrong"),
        ("sudo: 1 incorrect password attempt\n", "sudo-password-wrong"),
        ("sudo: Authentication failed, try again.\n", "sudo-password-wrong"),
        ("lee is not in the sudoers file.\n", "sudo-missing"),
        ("Sorry, user lee may not run sudo on box.\n", "sudo-missing"),
        ("Sorry, user lee is not allowed to execute '/usr/bin/sh' as root on box.\n", "sudo-missing"),
        ("sudo: sorry, you must have a tty to run sudo\n", "sudo-missing"),
        ("sh: 3: exec: sudo: not found\n", "sudo-missing"),
    ],
)
def test_what_sudo_says(stderr: str, error_id: str) -> None:
    with pytest.raises(LocalaiError) as caught:
        raise_for_sudo(127 if "not found" in stderr else 1, stderr.encode(), "box")
    assert caught.value.error_id == error_id
    assert caught.value.why in stderr


@pytest.mark.parametrize(
    ("returncode", "stderr"),
    [
        (0, "sudo: 1 incorrect password attempt\n"),
        (1, "sudo: unable to resolve host box: Name or service not known\n"),
        (1, "grep: sudo: a password is required\n"),
        (1, "pam: not in the sudoers of the kingdom\n"),
        (2, "sudo: a password is required\n"),
    ],
)
def test_failures_of_the_command_itself_pass(returncode: int, stderr: str) -> None:
    raise_for_sudo(returncode, stderr.encode(), "box")
