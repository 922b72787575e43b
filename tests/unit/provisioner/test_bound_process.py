"""A killed run takes its Ansible along."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from localai_deploy.provisioner.bound_process import bound_command

STARTER = """\
import subprocess, time
from localai_deploy.provisioner.bound_process import bound_command
child = subprocess.Popen([*bound_command("/bin/sleep"), "60"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_the_program_ends_with_the_process_that_started_it() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    deadline = time.monotonic() + 10
    while not command_of(pid).startswith("/bin/sleep") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert command_of(pid) == "/bin/sleep\x0060\x00"
    starter.kill()
    starter.communicate()
    deadline = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


def test_status_and_output_are_the_programs_own() -> None:
    done = subprocess.run(
        [*bound_command("/bin/sh"), "-c", "echo out; exit 7"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (7, "out\n")
