"""Kill the real command at a chosen moment of a VM's coming, changing or going.

A moment is a request: the node holds it back, before or after its work, until the command is dead.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from localai_deploy.domain.plan import StepKind
from localai_deploy.sandbox.site import Pace
from tests.integration.controller import DEADLINE_S, command_line, wait_for
from tests.lab.mirror_faults import Fault

if TYPE_CHECKING:
    from tests.integration.own_node import Halt, OwnNode, When
    from tests.integration.vm_user import VmUser
    from tests.lab.mirror_client import MirrorClient

NAME = "box"
IMPORT_S = 8.0
DOWNLOAD_BYTES_PER_S = 25_000
"""The image has 256 KiB."""
_POLL_S = 0.02


class Moment(StrEnum):
    """When a run is killed."""

    INTENT = "intent written"
    MAPPED = "mapping made"
    DOWNLOAD = "middle of download"
    UPLOADED = "seed uploaded"
    CREATING = "create task runs"
    CREATED = "created, not whole"
    BEFORE_RESIZE = "before resize"
    RESIZED = "after resize"
    AGENT = "waiting for agent"
    FIRST_BOOT = "first boot goes on"
    BOOTED = "first boot over"
    DETACHED = "detached, seed there"
    CHANGED = "values wait"
    SHUT_DOWN = "after the shutdown"
    FREED = "lease given back"
    DELETING = "delete task runs"


@dataclass(frozen=True, slots=True)
class KillPoint:
    """One kill; ``then`` is the command that is run afterwards.

    :param command: ``up``, ``change`` (an ``up`` with other values) or ``down``.
    :param card: the VM is to have a card.
    """

    step: StepKind
    moment: Moment
    command: str = "up"
    then: str = ""
    card: bool = False

    @property
    def next(self) -> str:
        """What is run afterwards: the same again unless ``then`` says otherwise."""
        return self.then or self.command

    def __str__(self) -> str:
        card = ", with a card" if self.card else ""
        return f"{self.command}: {self.step.value}, {self.moment.value}, then {self.next}{card}"


@dataclass(frozen=True, slots=True)
class Place:
    """The request of a moment."""

    request: str
    when: When = "before"
    nth: int = 1


_VM = r"/nodes/sandbox/qemu/\d+"
_MAPPING = r"/cluster/mapping/pci/[^/]+"
_INTENTS: Mapping[tuple[str, StepKind], Place] = {
    ("up", StepKind.IMAGE): Place("POST .*/download-url$"),
    ("up", StepKind.CARD): Place("POST /cluster/mapping/pci$"),
    ("up", StepKind.VM): Place("POST /pools$"),
    ("up", StepKind.START): Place(f"POST {_VM}/status/start$"),
    ("down", StepKind.VM): Place(f"POST {_VM}/status/shutdown$"),
}
_PLACES: Mapping[Moment, Place] = {
    Moment.MAPPED: Place(f"PUT {_MAPPING}$"),
    Moment.FREED: Place(f"PUT {_MAPPING}$", "after"),
    Moment.DOWNLOAD: Place("GET /nodes/sandbox/tasks/.*:download:.*/status$", "after", 2),
    Moment.UPLOADED: Place("POST /nodes/sandbox/qemu$"),
    Moment.CREATING: Place("GET /nodes/sandbox/tasks/.*:qmcreate:.*/status$", "after", 2),
    Moment.CREATED: Place(f"PUT {_VM}/config$"),
    Moment.BEFORE_RESIZE: Place(f"PUT {_VM}/resize$"),
    Moment.RESIZED: Place(f"PUT {_VM}/resize$", "after"),
    Moment.AGENT: Place(f"GET {_VM}/agent/network-get-interfaces$", nth=2),
    Moment.BOOTED: Place(f"PUT {_VM}/config$", nth=2),
    Moment.DETACHED: Place("DELETE /nodes/sandbox/storage/local/content/"),
    Moment.CHANGED: Place(f"POST {_VM}/status/shutdown$"),
    Moment.DELETING: Place("GET /nodes/sandbox/tasks/.*:qmdestroy:.*/status$"),
}
_SHUT_DOWN: Mapping[str, Place] = {
    "change": Place(f"POST {_VM}/status/start$"),
    "down": Place(f"DELETE {_VM}$"),
}


def place_of(point: KillPoint) -> Place | None:
    """The request of a point; ``None`` where the guest's own work is the moment."""
    match point.moment:
        case Moment.INTENT:
            return _INTENTS[point.command, point.step]
        case Moment.SHUT_DOWN:
            return _SHUT_DOWN[point.command]
    return _PLACES.get(point.moment)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a point is tried."""

    node: OwnNode
    user: VmUser
    mirror: MirrorClient


def kill_at(scene: Scene, point: KillPoint, words: list[str]) -> None:
    """Run a command and kill its whole process group at the point's moment; the node goes on with its work.

    A request that was held back before its work never reached the node.

    :raises AssertionError: the moment did not come.
    """
    place = place_of(point)
    with ExitStack() as stack:
        stack.enter_context(_CIRCUMSTANCES.get(point.moment, _as_usual)(scene))
        halt = (
            stack.enter_context(scene.node.gate.halt(place.request, place.when, place.nth)) if place else None
        )
        has_come = _arrival(scene, halt)
        process = scene.user.start(*words)
        stack.callback(_kill, process)
        wait_for(lambda: has_come() or _has_ended(process, point), f"{point}: its moment")
    assert process.returncode == -signal.SIGKILL, f"{point}: the command was over before it was killed"


def _arrival(scene: Scene, halt: Halt | None) -> Callable[[], bool]:
    if halt is not None:
        return halt.reached.is_set
    return lambda: any("cloud-init status" in command_line(pid) for pid in _guest_pids(scene))


def _has_ended(process: subprocess.Popen[str], point: KillPoint) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"{point}: the command ended early: {process.communicate()}")
    return False


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)


@contextmanager
def _as_usual(scene: Scene) -> Iterator[None]:
    del scene
    yield


@contextmanager
def _slow_mirror(scene: Scene) -> Iterator[None]:
    address = re.sub(r"^https?://|:\d+$", "", scene.mirror.base_url)
    slow = Fault("slow-drip", path=f"*{scene.node.image.name}", value=DOWNLOAD_BYTES_PER_S, client=address)
    with scene.mirror.fault(slow):
        yield


@contextmanager
def _slow_import(scene: Scene) -> Iterator[None]:
    site = scene.node.site
    site.pace = Pace(import_s=IMPORT_S)
    try:
        yield
    finally:
        site.pace = Pace()


@contextmanager
def _busy_vm(scene: Scene) -> Iterator[None]:
    """The VM's delete task waits for something else that the node does with it."""
    over = threading.Event()

    def keep_busy() -> None:
        while not over.wait(_POLL_S):
            if halt.reached.is_set():
                with scene.node.vm(NAME).lock:
                    halt.let_go()
                    over.wait()

    with scene.node.gate.halt(f"DELETE {_VM}$") as halt:
        thread = threading.Thread(target=keep_busy, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def _long_first_boot(scene: Scene) -> Iterator[None]:
    """cloud-init stands still from the moment when the guest agent runs, until the block ends."""
    over = threading.Event()
    stopped: list[int] = []

    def watch() -> None:
        while not over.wait(_POLL_S):
            with suppress(KeyError):
                lines = {pid: command_line(pid) for pid in _guest_pids(scene)}
                if any("qemu-ga" in line for line in lines.values()):
                    stopped.extend(pid for pid, line in lines.items() if "cloud-init" in line)
                    _signal(stopped, signal.SIGSTOP)
                    return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _signal(stopped, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _guest_pids(scene: Scene) -> list[int]:
    try:
        return scene.node.guest(NAME).container.pids()
    except KeyError:
        return []


_CIRCUMSTANCES: Mapping[Moment, Callable[[Scene], AbstractContextManager[None]]] = {
    Moment.DOWNLOAD: _slow_mirror,
    Moment.CREATING: _slow_import,
    Moment.DELETING: _busy_vm,
    Moment.FIRST_BOOT: _long_first_boot,
}
