"""A running QEMU: started in a folder of its own, spoken to over QMP, gone with this process."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.qemu_command import QMP_SOCKET
from localai_deploy.sandbox.qmp import Qmp, QmpError, QmpLost, connect

LOG = "qemu.log"
_PID_FILE = "qemu.pid"
_START_TIMEOUT_S = 60.0
_QUIT_TIMEOUT_S = 10.0
_LOW_PRIORITY = ("nice", "-n", "10")
_BOUND = ("setpriv", "--pdeathsig", "KILL", "--")
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qemu-spawner")
"""A guest is killed at the end of the thread that started it: this one lives as long as the process."""


@dataclass
class QemuProcess:
    """One QEMU. `directory` is an open descriptor of its folder, for sockets with long names."""

    folder: Path
    process: subprocess.Popen[bytes]
    directory: int
    qmp: Qmp

    def is_alive(self) -> bool:
        """Whether it runs, or its guest is paused."""
        return self.process.poll() is None

    def socket(self, name: str) -> Path:
        """A socket of its folder under a name that is short enough."""
        return Path(f"/proc/self/fd/{self.directory}/{name}")

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False when it still runs."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """Switch the guest off at once."""
        with contextlib.suppress(QmpError, QmpLost):
            self.qmp.execute("quit", timeout_s=_QUIT_TIMEOUT_S)
        if not self.wait(_QUIT_TIMEOUT_S):
            self.process.kill()
            self.process.wait()
        self.qmp.close()
        with contextlib.suppress(OSError):
            os.close(self.directory)


def start_qemu(argv: Sequence[str], folder: Path, prefix: Sequence[str] = ()) -> QemuProcess:
    """Start QEMU in `folder`, with low priority; raises MachineError with what it says.

    :param prefix: words of a command that replaces itself by the rest, such as nsenter.
    """
    words = [*_LOW_PRIORITY, *prefix, *_BOUND, *argv]
    process = _SPAWNER.submit(_spawn, words, folder).result()
    (folder / _PID_FILE).write_text(str(process.pid))
    try:
        qmp = connect(folder / QMP_SOCKET, lambda: process.poll() is None, _START_TIMEOUT_S)
    except QmpLost as error:
        process.kill()
        process.wait()
        said = (folder / LOG).read_text(errors="replace").strip()
        raise MachineError(said or str(error)) from error
    return QemuProcess(folder, process, os.open(folder, os.O_PATH | os.O_DIRECTORY), qmp)


def _spawn(words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
