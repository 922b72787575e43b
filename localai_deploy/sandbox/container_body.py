"""Guests that are systemd containers: up in seconds, with real cloud-init, agent and SSH, without a kernel.

A guest's root is a view of one Debian root that all share; a VM's disks are only looked at for a seed. What a
guest has written is kept as long as the VM and its first disk are.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from localai_deploy.sandbox.body import BodyError, GuestPlan, Result
from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.container import Container
from localai_deploy.sandbox.guest_agent import GuestAgent
from localai_deploy.sandbox.guest_root import AGENT_SOCKET
from localai_deploy.sandbox.network import GuestNetwork
from localai_deploy.sandbox.rootfs import Overlay, unmount
from localai_deploy.sandbox.seed_disc import find_seed, plant_seed

PACKAGES = {
    "blkid": "util-linux",
    "bsdtar": "libarchive-tools",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "systemd-nspawn": "systemd-container",
}
"""Debian package by the command that this kind of guest needs."""

_MAC = re.compile(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_CARD = re.compile(r"net(\d+)")
_POLL_S = 0.05
_ORIGIN = "origin.json"


@dataclass(frozen=True)
class ContainerBodies:
    """Makes bodies; all of one sandbox.

    :param folder: for the guests' own files; may be removed after :meth:`close`.
    :param root: the Debian root of all guests (see `guest_root`).
    :param files: path below the root → text, written into every new guest: apt sources, names of hosts.
    """

    folder: Path
    network: GuestNetwork
    root: Path
    files: Mapping[str, str] = field(default_factory=dict)
    turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, vmid: int) -> ContainerBody:
        """The body of a VM."""
        return ContainerBody(vmid, self)

    def close(self) -> None:
        """End all guests and remove what they have written, also those of a process that was killed."""
        for vmid in self._vmids():
            self(vmid).discard()

    def forget_deleted(self) -> None:
        """Remove what guests have written whose disk is gone."""
        for vmid in self._vmids():
            body = self(vmid)
            if body.state() == "stopped" and not body.has_disk():
                body.discard()

    def _vmids(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdecimal())


@dataclass
class ContainerBody:
    """One guest; its state is read from the machine, except whether it is paused."""

    vmid: int
    bodies: ContainerBodies
    _plan: GuestPlan | None = None
    _paused: bool = False
    _agent: GuestAgent = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._agent = GuestAgent(self._agent_socket)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.bodies.folder / str(self.vmid)

    @property
    def rootfs(self) -> Path:
        """Its root while it runs."""
        return self.folder / "rootfs"

    @property
    def container(self) -> Container:
        """The container by its name."""
        unit = self.bodies.network.guest_namespace(self.vmid)
        return Container(unit, "localhost", self.rootfs, self.folder / "console.log", ("CAP_NET_ADMIN",))

    @property
    def _overlay(self) -> Overlay:
        return Overlay(self.bodies.root, self.folder / "upper", self.folder / "work", self.rootfs)

    def start(self, plan: GuestPlan) -> None:
        """Boot systemd; raises BodyError."""
        with _as_body_error():
            self.stop()
            with self.bodies.turn:
                self.bodies.forget_deleted()
                self._prepare(plan)
            macs = macs_of(plan.config)
            self.container.start(self.bodies.network.add_container(self.vmid, macs))
            if not self.container.pids():
                raise MachineError(f"the container ended at once; see {self.container.console_log}")
        self._plan = plan

    def _prepare(self, plan: GuestPlan) -> None:
        origin = _Origin.of(plan)
        if self._origin() != origin:
            self.discard()
        is_new = not self.folder.exists()
        self._overlay.mount()
        if is_new:
            for name, text in self.bodies.files.items():
                (self.rootfs / name).parent.mkdir(parents=True, exist_ok=True)
                (self.rootfs / name).write_text(text)
            self.remember(plan)
        others = {slot: file for slot, file in plan.disks.items() if file != origin.file}
        plant_seed(find_seed(others), self.rootfs)

    def remember(self, plan: GuestPlan) -> None:
        """Tie what it has written to the VM and its first disk."""
        (self.folder / _ORIGIN).write_text(json.dumps(asdict(_Origin.of(plan))))

    def _origin(self) -> _Origin | None:
        try:
            return _Origin(**json.loads((self.folder / _ORIGIN).read_text()))
        except FileNotFoundError:
            return None

    def has_disk(self) -> bool:
        """Whether it was ever started, and the disk that it was started with is still there."""
        origin = self._origin()
        return origin is not None and _inode(origin.file) == origin.inode

    def stop(self) -> None:
        """End it at once; what it has written stays."""
        if self.folder.exists():
            self.container.kill()
            self.bodies.network.remove_guest(self.vmid)
            unmount(self.rootfs)
        self._paused = False

    def discard(self) -> None:
        """End it and remove what it has written; fine when there is nothing."""
        self.stop()
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def shutdown(self, timeout_s: float) -> bool:
        """Have systemd power off; False when it still runs after the time."""
        deadline = time.monotonic() + timeout_s
        if self.container.pids():
            os.kill(self.container.leader(), signal.SIGRTMIN + 4)
        while self.container.pids():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        self.stop()
        return True

    def reset(self) -> None:
        """End it at once and boot it."""
        if self._plan is not None:
            self.start(self._plan)

    def pause(self) -> None:
        """Stop all its processes where they are."""
        stopped: set[int] = set()
        while fresh := set(self.container.pids()) - stopped:
            self._signal(fresh, signal.SIGSTOP)
            stopped |= fresh
        self._paused = True

    def resume(self) -> None:
        """Let them run on."""
        self._signal(self.container.pids(), signal.SIGCONT)
        self._paused = False

    def _signal(self, pids: set[int] | list[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def state(self) -> str:
        """Whether any of its processes is there."""
        if not self.container.pids():
            return "stopped"
        return "paused" if self._paused else "running"

    def unplug(self, device: str) -> bool:
        """Discs and cards go at once, all else stays."""
        card = _CARD.fullmatch(device)
        if card:
            self.bodies.network.remove_port(self.vmid, int(card[1]))
        return card is not None or device.startswith("scsi")

    def resize(self, device: str, size: int) -> bool:  # noqa: ARG002
        """A disk's file is the node's alone."""
        return False

    def agent(self, command: str, arguments: dict[str, Any]) -> Result:
        """The agent's result of a command; raises AgentSilent, AgentRefused."""
        return self._agent.call(command, arguments)

    def interfaces(self) -> list[dict[str, Any]]:
        """The agent's list of network interfaces; raises AgentSilent."""
        found: list[dict[str, Any]] = self._agent.call("network-get-interfaces", {})
        return found

    def _agent_socket(self) -> Path | None:
        """As seen through the container's PID 1: its own path may be too long for a socket's address."""
        try:
            return Path(f"/proc/{self.container.leader()}/root/{AGENT_SOCKET}")
        except MachineError:
            return None


@contextlib.contextmanager
def _as_body_error() -> Iterator[None]:
    try:
        yield
    except (MachineError, OSError) as error:
        raise BodyError(f"start failed: {error}") from error


@dataclass(frozen=True)
class _Origin:
    """What another VM of the same number, or another disk in the same place, differs in.

    :param generation: random for every VM.
    :param file: the first disk; empty when there is none.
    """

    generation: str
    file: str
    inode: int

    @classmethod
    def of(cls, plan: GuestPlan) -> _Origin:
        disks = sorted(plan.disks.items())
        file = next((file for slot, file in disks if slot.startswith(("scsi", "virtio"))), "")
        return cls(str(plan.config.get("vmgenid", "")), file, _inode(file))


def _inode(file: str) -> int:
    """The number of a file; 0 without a name, -1 when it is not there."""
    try:
        return Path(file).stat().st_ino if file else 0
    except FileNotFoundError:
        return -1


def macs_of(config: Mapping[str, Any]) -> dict[int, str]:
    """The MAC of each network card by the card's number."""
    cards = {
        card[1]: _MAC.search(str(value)) for name, value in config.items() if (card := _CARD.fullmatch(name))
    }
    return {int(number): mac[0].lower() for number, mac in sorted(cards.items()) if mac}
