"""A stopped machine's state written to a file by QEMU, and read by another QEMU of the same shape."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.qmp import Qmp

INCOMING = ("-incoming", "defer")
"""Words of a QEMU that waits for :func:`read_state`."""
_UNLIMITED = 1 << 40
_TIMEOUT_S = 300.0
_POLL_S = 0.1
Check = Callable[[], None]


def write_state(qmp: Qmp, file: Path, check: Check) -> None:
    """Stop the machine and write its state; raises MachineError, QmpError, QmpLost, or what `check` does."""
    qmp.execute("migrate-set-parameters", {"max-bandwidth": _UNLIMITED})
    qmp.execute("stop")
    partial = file.with_name(f"{file.name}.partial")
    qmp.execute("migrate", {"uri": f"exec:cat > {shlex.quote(str(partial))}"})
    _wait(qmp, check)
    partial.rename(file)


def read_state(qmp: Qmp, file: Path, check: Check) -> None:
    """Take a state over; the machine is stopped after it. Raises as :func:`write_state`."""
    qmp.execute("migrate-incoming", {"uri": f"exec:cat {shlex.quote(str(file))}"})
    _wait(qmp, check)


def _wait(qmp: Qmp, check: Check) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while (status := qmp.execute("query-migrate").get("status")) != "completed":
        if status in {"failed", "cancelled"} or time.monotonic() > deadline:
            raise MachineError(f"the machine's state could not be moved: {status}")
        check()
        time.sleep(_POLL_S)
