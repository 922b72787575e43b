"""The sandbox from outside: start, stop, reset and look at it, also after its process was killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.sandbox.asking import Unanswered, ask
from localai_deploy.sandbox.bodies import Say, check_prerequisites
from localai_deploy.sandbox.cache import Cache
from localai_deploy.sandbox.ending import take_away
from localai_deploy.sandbox.settings import (
    Places,
    Settings,
    default_settings,
    read_settings,
    write_settings,
)
from localai_deploy.sandbox.sweeping import remains
from localai_deploy.sandbox.telling import hear
from localai_deploy.sandbox_record import (
    NODE,
    SandboxRecord,
    make_private,
    read_record,
    running_pid,
)

_RESET_TIMEOUT_S = 120.0
_POLL_S = 0.05
_LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class Look:
    """A sandbox as it was found.

    :param state: ``running``, ``unwell`` (its process is there but its API is silent), ``remains`` (its
        process is gone but not all else) or ``absent``.
    :param vms: entries of ``GET /nodes/NODE/qemu``, of a running one.
    :param trouble: what is wrong or left, in words.
    """

    state: str
    places: Places
    settings: Settings | None = None
    record: SandboxRecord | None = None
    vms: tuple[dict[str, Any], ...] = ()
    trouble: tuple[str, ...] = ()


def look(places: Places) -> Look:
    """See what there is; changes nothing.

    :raises LocalaiError: ``sandbox-record-unreadable``.
    """
    settings, record = read_settings(places), read_record(places.runtime)
    if running_pid(places.runtime) is None:
        left = remains(places.token, places.data)
        if settings is not None or record is not None:
            left = [*left, str(places.runtime)]
        return Look("remains" if left else "absent", places, settings, record, trouble=tuple(left))
    if record is None:
        return Look("unwell", places, settings, trouble=("it has no connection record",))
    try:
        vms = tuple(ask(record.connection, f"/nodes/{NODE}/qemu"))
    except Unanswered as error:
        return Look("unwell", places, settings, record, trouble=(str(error),))
    return Look("running", places, settings, record, vms)


def start(places: Places, given: Mapping[str, Any], say: Say) -> tuple[Look, bool]:
    """Start a sandbox unless one runs; returns it and whether it was started now.

    :param given: settings by name; the others are those of the one that runs, else the usual ones.
    :raises LocalaiError: ``sandbox-other-settings``, ``sandbox-needs-root``, ``sandbox-packages-missing``,
        ``sandbox-start-failed``, ``sandbox-directory-unusable`` and what its process fails with.
    """
    while True:
        with _turn(places.runtime, say):
            found = look(places)
            if found.state == "running":
                _check_same(found, given)
                return found, False
            wanted = replace(default_settings(), **given)
            check_prerequisites(wanted.body)
            if found.state == "absent":
                return _started(places, wanted, say), True
            say("taking away what an earlier sandbox left")
            take_away(places)


def _started(places: Places, wanted: Settings, say: Say) -> Look:
    try:
        _launch(places, wanted, say)
        started = look(places)
        if started.state != "running":
            raise _no_start("; ".join(started.trouble))
    except BaseException:
        take_away(places)
        raise
    return started


def _check_same(found: Look, given: Mapping[str, Any]) -> None:
    there = asdict(found.settings) if found.settings else {}
    other = [
        f"{name} is {_shown(there.get(name))}, not {_shown(value)}"
        for name, value in given.items()
        if there.get(name) != value
    ]
    if other:
        raise LocalaiError(
            "sandbox-other-settings",
            "a sandbox with other settings runs already",
            why="; ".join(other),
            hint="localai-deploy sandbox stop, then start it again; or start it without these options",
        )


def _shown(value: object) -> str:
    return (", ".join(value) if isinstance(value, tuple) else str(value)) or "none"


def _launch(places: Places, settings: Settings, say: Say) -> None:
    """Start the process and wait until its API answers."""
    write_settings(places, settings)
    with places.log.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "localai_deploy.sandbox.daemon"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd="/",
            env={**os.environ, "LOCALAI_DEPLOY_SANDBOX_DIR": str(places.runtime)},
            start_new_session=True,
        )
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        with process.stdout as lines:
            for text in hear(lines):
                say(text)
    except LocalaiError as error:
        error.why = error.why or "; ".join(_last_words(places))
        raise


def _no_start(why: str) -> LocalaiError:
    return LocalaiError(
        "sandbox-start-failed", "the sandbox could not be started", why=why, exit_code=ExitCode.FAILED
    )


def _last_words(places: Places) -> list[str]:
    with contextlib.suppress(OSError):
        return places.log.read_text(encoding="utf-8").splitlines()[-_LOG_LINES:]
    return []


def stop(places: Places, cache: Cache, say: Say, *, purge: bool) -> Look:
    """End the sandbox and remove all of it; returns what was found before. What is cached stays.

    :param purge: empty the cache too.
    :raises LocalaiError: ``sandbox-remains``.
    """
    if not places.runtime.exists() and not places.data.exists():
        found = look(places)
    else:
        make_private(places.runtime)
        with _turn(places.runtime, say):
            found = _look_anyway(places)
            take_away(places)
    if purge:
        cache.remove()
    return found


def _look_anyway(places: Places) -> Look:
    """What there is, also when the record is damaged."""
    try:
        return look(places)
    except LocalaiError as error:
        return Look("remains", places, trouble=(error.what,))


def reset(places: Places, say: Say) -> Look:
    """Give the running sandbox a new start state under the same credentials.

    :raises LocalaiError: ``sandbox-not-running``, ``sandbox-reset-failed``.
    """
    make_private(places.runtime)
    with _turn(places.runtime, say):
        pid, before = running_pid(places.runtime), _generation(places)
        if pid is None or before is None:
            raise LocalaiError(
                "sandbox-not-running",
                "there is no sandbox to reset",
                hint="start one: localai-deploy sandbox start",
            )
        os.kill(pid, signal.SIGUSR1)
        deadline = time.monotonic() + _RESET_TIMEOUT_S
        while (after := _generation(places)) == before and running_pid(places.runtime) is not None:
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        if after is None or after == before or after["problem"]:
            raise _reset_failed(str((after or {}).get("problem", "")))
        return look(places)


def _generation(places: Places) -> dict[str, Any] | None:
    try:
        return dict(json.loads(places.generation.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _reset_failed(why: str) -> LocalaiError:
    return LocalaiError(
        "sandbox-reset-failed",
        "the sandbox could not be reset",
        why=why or "it did not answer in time",
        hint="localai-deploy sandbox stop, then start it again",
        exit_code=ExitCode.FAILED,
    )


@contextlib.contextmanager
def _turn(runtime: Path, say: Say) -> Iterator[None]:
    """Let one command at a time change the sandbox; the directory itself is the lock."""
    while True:
        descriptor = os.open(make_private(runtime), os.O_RDONLY | os.O_DIRECTORY)
        try:
            _lock(descriptor, say)
            if runtime.exists() and runtime.stat().st_ino == os.fstat(descriptor).st_ino:
                yield
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, say: Say) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another sandbox command to end")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
