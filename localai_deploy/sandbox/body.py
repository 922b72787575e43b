"""What stands behind a VM: the protocol, and a body that has only a power state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

Result = Any


class BodyError(Exception):
    """The guest could not be started; the text is the task's error."""


class AgentSilent(Exception):  # noqa: N818
    """No guest agent answers."""


class AgentRefused(Exception):  # noqa: N818
    """The guest agent answers with an error; the text is its own."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """The image that a disk was made from: its SHA-256 and its size as a disk."""

    sha256: str
    virtual_bytes: int


@dataclass(frozen=True)
class GuestPlan:
    """What a body needs to run a VM.

    :param config: as applied.
    :param disks: the files of its disks by slot.
    :param images: by slot the image that a disk was made from, as long as no guest has written to it.
    :param passed: QEMU's devices that stand for the cards passed through to it.
    :param say: takes lines for the log of the task that starts it.
    """

    vmid: int
    name: str
    config: dict[str, Any]
    disks: dict[str, str] = field(default_factory=dict)
    images: dict[str, SourceImage] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda text: None  # noqa: ARG005


class GuestBody(Protocol):
    """A guest as the node drives it."""

    def start(self, plan: GuestPlan) -> None:
        """Switch on; raises BodyError."""

    def stop(self) -> None:
        """Switch off at once; fine when it is off."""

    def shutdown(self, timeout_s: float) -> bool:
        """Ask the guest to power off; False when it still runs after the time."""

    def reset(self) -> None:
        """Press the reset button."""

    def pause(self) -> None:
        """Stop the CPUs."""

    def resume(self) -> None:
        """Let the CPUs run on."""

    def state(self) -> str:
        """`stopped`, `running` or `paused`."""

    def unplug(self, device: str) -> bool:
        """Take a device away while the guest runs; False when the guest keeps it."""

    def resize(self, device: str, size: int) -> bool:
        """Grow a disk while the guest runs, `size` in bytes; False: its file is left to the node."""

    def agent(self, command: str, arguments: dict[str, Any]) -> Result:
        """The agent's result of a command (exec, file-read, …); raises AgentSilent, AgentRefused."""

    def interfaces(self) -> list[dict[str, Any]]:
        """The agent's list of network interfaces; raises AgentSilent."""


@dataclass
class BareBody:
    """No guest at all: keeps the power state, answers agent calls as configured."""

    answers: dict[str, Any] | None = None
    network: list[dict[str, Any]] | None = None
    powers_off: bool = False
    power: str = "stopped"

    def start(self, plan: GuestPlan) -> None:  # noqa: ARG002
        """Switch on."""
        self.power = "running"

    def stop(self) -> None:
        """Switch off."""
        self.power = "stopped"

    def shutdown(self, timeout_s: float) -> bool:  # noqa: ARG002
        """Power off where the guest is set to."""
        if self.powers_off:
            self.power = "stopped"
        return self.powers_off

    def reset(self) -> None:
        """Run anew."""
        self.power = "running"

    def pause(self) -> None:
        """Stop the CPUs."""
        self.power = "paused"

    def resume(self) -> None:
        """Run on."""
        self.power = "running"

    def state(self) -> str:
        """The power state."""
        return self.power

    def unplug(self, device: str) -> bool:
        """SCSI devices go at once; all others stay."""
        return device.startswith("scsi")

    def resize(self, device: str, size: int) -> bool:  # noqa: ARG002
        """Nobody uses the disk."""
        return False

    def agent(self, command: str, arguments: dict[str, Any]) -> Result:
        """The configured answer; raises AgentSilent without one."""
        if self.answers is None or command not in self.answers:
            raise AgentSilent
        answer = self.answers[command]
        return answer(arguments) if callable(answer) else answer

    def interfaces(self) -> list[dict[str, Any]]:
        """The configured interfaces; raises AgentSilent without any."""
        if self.network is None:
            raise AgentSilent
        return self.network
