"""Hashing that outlives a connection, tells how far it is, and leaves nothing."""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from verifier_doubles import run_command

from localai_deploy.verifier.probes import digest
from localai_deploy.verifier.program import remote_command


def ask(**request: Any) -> dict[str, Any]:
    return run_command(remote_command("digest", request))


def processes_with(text: str) -> list[str]:
    """Command lines in which ``text`` stands; abstract sockets are listed apart."""
    return [line for line in Path("/proc/net/unix").read_text().splitlines() if text in line]


def test_small_files_are_done_in_one_question(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        file.write_bytes(os.urandom(3_000_000))
    job = secrets.token_hex(8)
    answer = ask(job=job, start=True, files=[*map(str, files), f"{tmp_path}/none"], wait_s=10)
    assert answer["finished"] is True
    assert answer["sha256"] == {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert answer["errors"] == {f"{tmp_path}/none": "No such file or directory"}
    assert answer["done_bytes"] == answer["total_bytes"] == 6_000_000
    time.sleep(0.2)
    assert processes_with(job) == []


def test_a_slow_file_is_asked_about_until_it_is_done(tmp_path: Path) -> None:
    """A pipe stands for a slow disk: nothing comes until the test writes."""
    slow = tmp_path / "slow"
    os.mkfifo(slow)
    job = secrets.token_hex(8)
    first = ask(job=job, start=True, files=[str(slow)], wait_s=0.2)
    assert first["finished"] is False
    with slow.open("wb") as pipe:
        pipe.write(b"x" * 2_500_000)
        pipe.flush()
        second = ask(job=job, start=False, wait_s=0)
        assert second["finished"] is False
        assert second["done_bytes"] > 0
    last = ask(job=job, start=False, wait_s=0)
    assert last["finished"] is True
    assert last["sha256"] == {str(slow): hashlib.sha256(b"x" * 2_500_000).hexdigest()}


def test_nobody_asks_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow"
    os.mkfifo(slow)
    monkeypatch.setattr(digest, "UNASKED_LIMIT_S", 0.1)
    address = f"\0localai-test-{secrets.token_hex(8)}"
    program = (
        f"from localai_deploy.verifier.probes import digest; digest.UNASKED_LIMIT_S = 0.1; "
        f"digest.start({address!r}, [{str(slow)!r}], 0.1)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert processes_with(address[1:])
    deadline = time.monotonic() + 5
    while processes_with(address[1:]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_with(address[1:]) == []


def test_a_question_about_an_unknown_job_fails() -> None:
    with pytest.raises(OSError, match="refused"):
        digest.ask(f"\0localai-test-{secrets.token_hex(8)}", 1)
