"""The end of a sandbox from outside: orderly if its process can, and by force if not."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from localai_deploy.sandbox.settings import Places, remove_private_files
from localai_deploy.sandbox.sweeping import sweep
from localai_deploy.sandbox_record import LOCK_NAME, running_pid

_STOP_TIMEOUT_S = 90.0
_POLL_S = 0.05
_OWN_NAME = "localai-deploy"


def take_away(places: Places) -> None:
    """End the process and remove whatever is left of the sandbox.

    :raises LocalaiError: ``sandbox-remains``.
    """
    _end_process(places.runtime)
    sweep(places.token, places.data)
    remove_private_files(places)
    (places.runtime / LOCK_NAME).unlink(missing_ok=True)
    shared = [one for one in (places.runtime.parent, places.data.parent) if one.name == _OWN_NAME]
    for directory in (places.runtime, *shared):
        with contextlib.suppress(OSError):
            directory.rmdir()


def _end_process(runtime: Path) -> None:
    """Ask the sandbox's process to end, and kill it when it does not; returns when it has gone."""
    while (pid := running_pid(runtime)) is not None:
        try:
            process = os.pidfd_open(pid)
        except (ProcessLookupError, OSError):
            time.sleep(_POLL_S)
            continue
        try:
            if running_pid(runtime) == pid:
                _end(process)
        finally:
            os.close(process)


def _end(process: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        if select.select([process], [], [], _STOP_TIMEOUT_S)[0]:
            return
