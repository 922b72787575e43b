"""The lock on a host, taken by real processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from localai_deploy.errors import LocalaiError
from localai_deploy.targets import run_lock
from localai_deploy.targets.executor import Local
from localai_deploy.targets.run_lock import hold

HOLDER = """\
import sys, time
from localai_deploy.targets.executor import Local
from localai_deploy.targets.run_lock import hold
with hold(Local(), "box", lock_file=sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> str:
    tmp_path.chmod(0o1777)
    return str(tmp_path / "run.lock")


def start_holder(lock: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, lock], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def try_to_hold(lock: str) -> None:
    with hold(Local(), "box", lock_file=lock):
        pass


def comes_free(lock: str, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with suppress(LocalaiError):
            try_to_hold(lock)
            return True
        time.sleep(0.05)
    return False


def test_held_once_at_a_time(lock: str) -> None:
    with hold(Local(), "box", lock_file=lock), pytest.raises(LocalaiError) as caught:
        try_to_hold(lock)
    assert caught.value.error_id == "host-held"
    assert caught.value.exit_code == 6
    assert f"process {os.getpid()}, since 20" in caught.value.why
    try_to_hold(lock)


def test_the_holder_is_the_one_that_holds_now(lock: str) -> None:
    Path(lock).write_text("x" * 200 + " long ago\n")
    with hold(Local(), "box", lock_file=lock), pytest.raises(LocalaiError) as caught:
        try_to_hold(lock)
    assert "x" not in caught.value.why
    assert str(os.getpid()) in caught.value.why


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_lets_go(lock: str, number: signal.Signals) -> None:
    process = start_holder(lock)
    with pytest.raises(LocalaiError, match=f"process {process.pid},"):
        try_to_hold(lock)
    process.send_signal(number)
    process.wait(timeout=10)
    assert comes_free(lock, within_s=5)


def test_a_holder_that_fell_silent_loses_the_host(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "SILENCE_S", 0.3)
    with hold(Local(), "box", lock_file=lock) as held:
        held.require()
        assert comes_free(lock, within_s=5)
        held._process.wait(timeout=5)
        with pytest.raises(LocalaiError) as caught:
            held.require()
        assert (caught.value.error_id, caught.value.exit_code) == ("host-lock-lost", 5)


def test_signs_of_life_keep_the_host(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "SILENCE_S", 0.6)
    monkeypatch.setattr(run_lock, "SIGN_INTERVAL_S", 0.1)
    with hold(Local(), "box", lock_file=lock) as held:
        assert not comes_free(lock, within_s=1.5)
        held.require()
    try_to_hold(lock)


def test_all_users_may_open_it(lock: str) -> None:
    try_to_hold(lock)
    assert Path(lock).stat().st_mode & 0o777 == 0o666


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_a_file_of_another_user_serves_as_well(lock: str) -> None:
    """/run/lock has the sticky bit, where the kernel refuses O_CREAT on others' files even to root."""
    Path(lock).touch(mode=0o666)
    Path(lock).chmod(0o666)
    os.chown(lock, 65534, 65534)
    with hold(Local(), "box", lock_file=lock), pytest.raises(LocalaiError) as caught:
        try_to_hold(lock)
    assert str(os.getpid()) in caught.value.why


def test_a_holder_with_a_strange_name_cannot_write_more(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ü" * 900)
    with hold(Local(), "box", lock_file=lock):
        assert len(Path(lock).read_bytes()) <= 255


def test_where_no_lock_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(LocalaiError) as caught:
        try_to_hold(str(tmp_path / "nowhere" / "run.lock"))
    assert caught.value.error_id == "host-lock-failed"
    assert "nowhere" in caught.value.why


def test_without_flock(lock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "cat", "dd"):
        (programs / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(LocalaiError) as caught:
        try_to_hold(lock)
    assert caught.value.error_id == "host-lock-failed"


def test_an_error_inside_lets_go(lock: str) -> None:
    with pytest.raises(ZeroDivisionError), hold(Local(), "box", lock_file=lock):
        raise ZeroDivisionError
    try_to_hold(lock)
