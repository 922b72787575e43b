"""Have a host for oneself: no other run holds it, and nothing of an earlier one is still at work there."""

from __future__ import annotations

import time
from contextlib import ExitStack

from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.targets.base import Target
from localai_deploy.targets.work_left import work_left
from localai_deploy.workflow.telling import Say

WORK_TIMEOUT_S = 900.0
_PAUSE_S = 0.5


def hold(target: Target, lock: ExitStack, say: Say) -> None:
    """Connect and hold a host against other runs until ``lock`` closes.

    A task of a run that was killed goes on to its end on the host; it is waited for.

    :raises LocalaiError: ``host-held``, ``host-busy``, or why it cannot be reached.
    """
    target.connect()
    lock.enter_context(target.hold())
    _await_rest(target, say)


def _await_rest(target: Target, say: Say) -> None:
    deadline = time.monotonic() + WORK_TIMEOUT_S
    told = False
    while left := work_left(target.connect()):
        if time.monotonic() > deadline:
            raise _busy(target.name, left)
        if not told:
            say(f"{target.name}: waiting for a task of an earlier run: {left[-1]}")
        told = True
        time.sleep(_PAUSE_S)


def _busy(name: str, left: tuple[str, ...]) -> LocalaiError:
    return LocalaiError(
        "host-busy",
        f"a task of an earlier run does not end on {name}",
        why="\n".join(left[:5]),
        hint="look at these processes (number, command) on the host; end them if they hang",
        exit_code=ExitCode.HELD,
    )
