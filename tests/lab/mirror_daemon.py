"""The lab's own mirror as a process that outlives the one that started it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time

from tests.lab.layout import REPOSITORY, Lab, LabError
from tests.lab.mirror import Mirror
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_files import mirror_content
from tests.lab.network import add_mirror_address, mirror_address, remove_mirror_address

HTTP_PORT = 8400

_START_TIMEOUT_S = 20.0


def mirror_client(lab: Lab) -> MirrorClient:
    """Control of the lab's mirror, whether it runs or not."""
    return MirrorClient(f"http://{mirror_address(lab)}:{HTTP_PORT}")


def serve(lab: Lab) -> None:
    """Be the lab's mirror until SIGTERM; raises LabError when another process is it."""
    lab.mirror.mkdir(parents=True, exist_ok=True)
    with (lab.mirror / "pid").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError("the lab's mirror runs already") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _serve(lab)


def _serve(lab: Lab) -> None:
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    add_mirror_address(lab)
    with Mirror(mirror_content(lab)) as mirror:
        mirror.listen(mirror_address(lab), HTTP_PORT)
        signal.sigwait(signals)


def ensure_mirror(lab: Lab) -> str:
    """The base URL of the lab's mirror, which is started when it is not there."""
    client = mirror_client(lab)
    with lab.lock("mirror"):
        if running_pid(lab) is None:
            _start(lab, client)
    return client.base_url


def _start(lab: Lab, client: MirrorClient) -> None:
    lab.mirror.mkdir(parents=True, exist_ok=True)
    with (lab.mirror / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.lab", "--lab", str(lab.directory), "mirror"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not client.is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"the lab's mirror does not start; see {lab.mirror / 'log'}")
        time.sleep(0.05)


def running_pid(lab: Lab) -> int | None:
    """The mirror's process; None when none holds the lock."""
    try:
        with (lab.mirror / "pid").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int((lab.mirror / "pid").read_text())
    return None


def stop_mirror(lab: Lab) -> None:
    """End the lab's mirror, if it runs, and take its address back."""
    with lab.lock("mirror"):
        pid = running_pid(lab)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
        while running_pid(lab) is not None:
            time.sleep(0.05)
        remove_mirror_address(lab)
