"""Guests that QEMU runs: real firmware, kernel and disks; under KVM where that works, else emulated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from localai_deploy.sandbox.body import BodyError, GuestPlan, Result
from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.disk_files import EFI_BYTES, firmware_code, make_variables
from localai_deploy.sandbox.guest_agent import GuestAgent
from localai_deploy.sandbox.network import GuestNetwork
from localai_deploy.sandbox.qemu_command import AGENT_SOCKET, Card, Drive, GuestCommand, Machine, card_slots
from localai_deploy.sandbox.qemu_process import QemuProcess, start_qemu
from localai_deploy.sandbox.qmp import QmpError, QmpLost

PACKAGES = {
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "ovmf",
    "dnsmasq": "dnsmasq-base",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
}
"""Debian package by the command or file that this kind of guest needs."""

_UNPLUG_TIMEOUT_S = 20.0
_VARIABLES = "variables.fd"


@dataclass(frozen=True)
class QemuBodies:
    """Makes bodies; all of one sandbox.

    :param folder: for sockets and logs, a folder for each guest.
    :param kvm: a stock kernel boots under KVM here (see `acceleration`).
    """

    folder: Path
    network: GuestNetwork
    kvm: bool = False

    def __call__(self, vmid: int) -> QemuBody:
        """The body of a VM."""
        return QemuBody(vmid, self)


@dataclass
class QemuBody:
    """One guest."""

    vmid: int
    bodies: QemuBodies
    process: QemuProcess | None = field(default=None, repr=False)
    _paused: bool = False
    _agent: GuestAgent = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._agent = GuestAgent(self._agent_socket)

    @property
    def folder(self) -> Path:
        """Where its sockets and logs are."""
        return self.bodies.folder / str(self.vmid)

    def start(self, plan: GuestPlan) -> None:
        """Boot it; raises BodyError."""
        with as_body_error(plan):
            self.stop()
            self.make_folder()
            plan.say("booting under KVM" if self.bodies.kvm else "booting with an emulated CPU, in minutes")
            self.launch(plan)

    def make_folder(self) -> None:
        """An empty folder, in place of the one of the last run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def launch(
        self, plan: GuestPlan, *more: str, without: frozenset[str] = frozenset()
    ) -> list[Card | Drive]:
        """Start QEMU and make ports for its network cards; raises MachineError.

        :param more: further words of the command.
        :param without: slots of devices that are left out.
        :returns: the devices that were left out, for :meth:`plug`.
        """
        taps = {slot: self._add_port(slot) for slot in card_slots(plan.config)}
        whole = GuestCommand(plan, self._machine(plan), taps)
        command = replace(whole, without=without)
        self.process = start_qemu([*command.argv(), *more], self.folder, self.bodies.network.inside())
        self._paused = False
        devices: list[Card | Drive] = [*whole.drives(), *whole.cards()]
        return [device for device in devices if device.slot in without]

    def _add_port(self, slot: str) -> str:
        return self.bodies.network.add_tap(self.vmid, int(slot.removeprefix("net")))

    def _machine(self, plan: GuestPlan) -> Machine:
        variables = Path(plan.disks.get("efidisk0", self.folder / _VARIABLES))
        if plan.config.get("bios") == "ovmf" and "efidisk0" not in plan.disks:
            make_variables(variables, "raw", "4m", with_keys=False)
        return Machine(self.bodies.kvm, str(firmware_code(_length(variables))), str(variables))

    def stop(self) -> None:
        """Switch it off at once."""
        process, self.process = self.process, None
        if process is not None:
            process.end()
            self.bodies.network.remove_guest(self.vmid)

    def shutdown(self, timeout_s: float) -> bool:
        """Press the power button; False when it still runs after the time."""
        process = self.process
        if process is not None and process.is_alive():
            with suppress(QmpError, QmpLost):
                process.qmp.execute("system_powerdown")
            if not process.wait(timeout_s):
                return False
        self.stop()
        return True

    def reset(self) -> None:
        """Press the reset button."""
        self._execute("system_reset")

    def pause(self) -> None:
        """Stop the CPUs."""
        self._execute("stop")
        self._paused = True

    def resume(self) -> None:
        """Let the CPUs run on."""
        self._execute("cont")
        self._paused = False

    def state(self) -> str:
        """Whether QEMU runs; it ends when the guest powers off."""
        if self.process is None or not self.process.is_alive():
            return "stopped"
        return "paused" if self._paused else "running"

    def plug(self, device: Card | Drive) -> None:
        """Give the running machine one more device; raises QmpError, QmpLost."""
        qmp = self.running().qmp
        qmp.execute("netdev_add" if isinstance(device, Card) else "blockdev-add", device.backend())
        qmp.execute("device_add", device.device())

    def unplug(self, device: str) -> bool:
        """Take a device away; network cards go when the guest lets them."""
        qmp = self.running().qmp
        try:
            qmp.execute("device_del", {"id": device})
        except QmpError as error:
            if error.kind != "DeviceNotFound":
                return False
        else:
            if not qmp.wait_for(
                "DEVICE_DELETED", lambda e: e["data"].get("device") == device, _UNPLUG_TIMEOUT_S
            ):
                return False
        self._remove_backend(device)
        return True

    def _remove_backend(self, device: str) -> None:
        """Take away what was behind a device; fine when there is nothing."""
        qmp, is_card = self.running().qmp, device.startswith("net")
        with suppress(QmpError):
            if is_card:
                qmp.execute("netdev_del", {"id": device})
            else:
                qmp.execute("blockdev-del", {"node-name": device})
        if is_card:
            self.bodies.network.remove_port(self.vmid, int(device[3:]))

    def resize(self, device: str, size: int) -> bool:
        """Grow a disk with its file; the guest is told."""
        self._execute("block_resize", node_name=device, size=size)
        return True

    def agent(self, command: str, arguments: dict[str, Any]) -> Result:
        """The agent's result of a command; raises AgentSilent, AgentRefused."""
        return self._agent.call(command, arguments)

    def interfaces(self) -> list[dict[str, Any]]:
        """The agent's list of network interfaces; raises AgentSilent."""
        found: list[dict[str, Any]] = self.agent("network-get-interfaces", {})
        return found

    def _agent_socket(self) -> Path | None:
        process = self.process
        return process.socket(AGENT_SOCKET) if process is not None and process.is_alive() else None

    def _execute(self, command: str, **arguments: Any) -> None:  # noqa: ANN401
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            self.running().qmp.execute(command, named)
        except (QmpError, QmpLost) as error:
            raise BodyError(str(error)) from error

    def running(self) -> QemuProcess:
        """The process; raises BodyError without one."""
        if self.process is None:
            raise BodyError(f"VM {self.vmid} not running")
        return self.process


@contextmanager
def as_body_error(plan: GuestPlan) -> Iterator[None]:
    """What hinders a start ends the task, with QEMU's own words in its log."""
    try:
        yield
    except (MachineError, QmpError, QmpLost, OSError) as error:
        plan.say(str(error))
        raise BodyError("start failed: QEMU exited with code 1") from error


def _length(variables: Path) -> int:
    """The size of the firmware's variables in bytes; 4m where there is no such file."""
    return variables.stat().st_size if variables.exists() else EFI_BYTES["4m"]
