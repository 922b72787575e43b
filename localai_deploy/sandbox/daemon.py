"""The sandbox's process: holds the lock, makes bodies and API, and takes everything away at its end.

SIGTERM ends it, SIGUSR1 resets it. Started by ``control``: ``python -m localai_deploy.sandbox.daemon``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import secrets
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from localai_deploy.domain.pve.credentials import NodeConnection, parse_fingerprint, parse_token
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.sandbox.bodies import Bodies, Surroundings, open_bodies
from localai_deploy.sandbox.equipping import equip
from localai_deploy.sandbox.hardware_file import load_hardware
from localai_deploy.sandbox.own_node import machine_cluster
from localai_deploy.sandbox.server import Credentials, Sandbox
from localai_deploy.sandbox.settings import Places, Settings, places_of, read_settings, remove_private_files
from localai_deploy.sandbox.site import Site
from localai_deploy.sandbox.state import Token, User
from localai_deploy.sandbox.telling import Telling
from localai_deploy.sandbox_record import (
    LOCK_NAME,
    NODE,
    SandboxRecord,
    remove_record,
    write_private,
    write_record,
)

_LOCK_TIMEOUT_S = 5.0


class _Ended(BaseException):
    """Somebody asked the process to end."""


def main() -> int:
    """Be the sandbox whose settings lie in the runtime directory."""
    places = places_of()
    settings = read_settings(places)
    if settings is None:
        sys.exit(f"there is nothing to start in {places.runtime}: localai-deploy sandbox start")
    telling = Telling(sys.stdout)
    resets: queue.SimpleQueue[None] = queue.SimpleQueue()
    _on_signals(resets)
    try:
        with held(places.runtime):
            _serve(places, settings, telling, resets)
    except (_Ended, BrokenPipeError):
        return int(ExitCode.DONE)
    except LocalaiError as error:
        telling.failed(error)
        return int(error.exit_code)
    except Exception as error:  # noqa: BLE001 - whatever it is, the command that waits is told
        traceback.print_exc()
        telling.failed(_unexpected(error))
        return int(ExitCode.FAILED)


def _serve(places: Places, settings: Settings, telling: Telling, resets: queue.SimpleQueue[None]) -> NoReturn:
    """Be the sandbox until somebody ends it; raises _Ended then, and BrokenPipeError when nobody listens."""
    try:
        with _clean_end() as stack:
            running = open_running(places, settings, stack, telling)
            telling.ready()
            while True:
                resets.get()
                running.reset()
    except (_Ended, BrokenPipeError):
        remove_private_files(places)
        raise


def _unexpected(error: Exception) -> LocalaiError:
    return LocalaiError(
        "sandbox-start-failed",
        "the sandbox could not be started",
        why=str(error) or repr(error),
        exit_code=ExitCode.FAILED,
    )


def _on_signals(resets: queue.SimpleQueue[None]) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _Ended

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end)
    signal.signal(signal.SIGUSR1, lambda number, frame: resets.put(None))  # noqa: ARG005


@contextlib.contextmanager
def _clean_end() -> Iterator[ExitStack]:
    """A stack that is unwound without being interrupted, and whole even where a part of it fails."""
    stack = ExitStack()
    try:
        yield stack
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda number, frame: None)  # noqa: ARG005
        stack.close()


@contextlib.contextmanager
def held(runtime: Path) -> Iterator[None]:
    """Hold the lock that tells that a sandbox runs; its file tells which process it is."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    with (runtime / LOCK_NAME).open("a+", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LocalaiError(
                        "sandbox-held", "another process is the sandbox", exit_code=ExitCode.HELD
                    ) from None
                time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            (runtime / LOCK_NAME).unlink(missing_ok=True)


@dataclass
class Running:
    """What is there between start and end; `generation` counts the resets."""

    places: Places
    settings: Settings
    bodies: Bodies
    sandbox: Sandbox
    credentials: Credentials
    generation: int = 0

    def reset(self) -> None:
        """Begin anew with the same credentials, and tell the end of it in the generation file."""
        problem = ""
        old = Path(self.sandbox.site.files_dir)
        self.generation += 1
        try:
            self.sandbox.replace(self._new_site())
            shutil.rmtree(old)
        except Exception as error:  # noqa: BLE001 - told to whoever asked for it
            traceback.print_exc()
            problem = str(error) or repr(error)
        told = {"generation": self.generation, "problem": problem}
        write_private(self.places.generation, json.dumps(told))

    def _new_site(self) -> Site:
        given = self.credentials
        token = Token(given.token_secret, privsep=0)
        root = User("root@pam", given.root_password, tokens={given.token_id.partition("!")[2]: token})
        return _site(self.places, self.settings, self.generation, self.bodies, root)


def open_running(places: Places, settings: Settings, stack: ExitStack, telling: Telling) -> Running:
    """Make all of it, each with its end on the stack."""
    places.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack.callback(shutil.rmtree, places.data, ignore_errors=True)
    folder = places.data / "bodies"
    folder.mkdir()
    surroundings = Surroundings(places.token, folder, settings, telling.progress)
    bodies = stack.enter_context(open_bodies(settings.body, surroundings))
    sandbox = Sandbox(_site(places, settings, 0, bodies, User("root@pam", secrets.token_urlsafe(24))))
    credentials = sandbox.start()
    stack.callback(sandbox.stop)
    write_private(places.generation, json.dumps({"generation": 0, "problem": ""}))
    write_record(places.runtime, _record(sandbox, credentials, settings, bodies))
    stack.callback(remove_record, places.runtime)
    return Running(places, settings, bodies, sandbox, credentials)


def _site(places: Places, settings: Settings, generation: int, bodies: Bodies, root: User) -> Site:
    files = places.data / f"storages-{generation}"
    files.mkdir()
    cluster = machine_cluster(settings.pve, NODE, files, root)
    cluster.nodes[NODE].kvm = bodies.kvm
    equip(cluster, load_hardware(settings.hardware))
    return Site(cluster, str(files), make_body=bodies.make, on_request=_writer(places.requests))


def _writer(path: Path) -> Callable[[str], None]:
    """Appends a line to a file at each call; where it cannot, the sandbox goes on without."""

    def write(line: str) -> None:
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(line.replace("\n", " ") + "\n")

    return write


def _record(sandbox: Sandbox, credentials: Credentials, settings: Settings, bodies: Bodies) -> SandboxRecord:
    connection = NodeConnection(
        node=NODE,
        host=f"{sandbox.address[0]}:{sandbox.address[1]}",
        token=parse_token("", credentials.token_id, credentials.token_secret),
        fingerprint=parse_fingerprint(sandbox.certificate.fingerprint),
        guest_ssh_args=bodies.guest_ssh_args,
    )
    further = tuple(name for name in sandbox.site.cluster.nodes if name != NODE)
    return SandboxRecord(connection, settings.body, os.getpid(), further)


if __name__ == "__main__":
    sys.exit(main())
