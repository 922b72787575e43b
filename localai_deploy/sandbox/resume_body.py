"""Guests that begin as one that was saved after its first boot: there in seconds where a boot takes minutes.

The saved guest has nobody's identity. What was resumed becomes the VM by its own cloud-init, which is given
the VM's seed; until that has made user, keys and network, the agent is silent. The kernel's boot id and the
SMBIOS data stay those of the saved guest until the VM is rebooted. What was done is in `resume.log`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localai_deploy.sandbox.becoming import Becoming
from localai_deploy.sandbox.body import AgentSilent, GuestPlan, Result
from localai_deploy.sandbox.command import run
from localai_deploy.sandbox.network import GuestNetwork
from localai_deploy.sandbox.qemu_body import PACKAGES as QEMU_PACKAGES
from localai_deploy.sandbox.qemu_body import QemuBodies, QemuBody, as_body_error
from localai_deploy.sandbox.resumption import NotResumable, Resumption, resumption_of
from localai_deploy.sandbox.saved_guest import SavedGuests

PACKAGES = {**QEMU_PACKAGES, "blkid": "util-linux", "bsdtar": "libarchive-tools"}
"""Debian package by the command or file that this kind of guest needs."""


@dataclass(frozen=True)
class ResumeBodies:
    """Makes bodies; all of one sandbox.

    :param folder: for sockets and logs, a folder for each guest.
    :param cache: where saved guests are kept.
    :param kvm: a stock kernel boots under KVM here.
    """

    folder: Path
    network: GuestNetwork
    cache: Path
    kvm: bool = False

    def __call__(self, vmid: int) -> ResumeBody:
        """The body of a VM."""
        return ResumeBody(QemuBodies(self.folder, self.network, self.kvm)(vmid), SavedGuests(self.cache))


@dataclass
class ResumeBody:
    """One guest; while it is becoming the VM, the VM runs and its agent is silent."""

    guest: QemuBody
    saved: SavedGuests
    _becoming: Becoming | None = field(default=None, repr=False)

    def start(self, plan: GuestPlan) -> None:
        """Resume it, or boot it where that is not possible; raises BodyError."""
        self.stop()
        with as_body_error(plan):
            try:
                wanted = resumption_of(plan)
            except NotResumable as why:
                plan.say(f"booting the guest: {why}")
            else:
                self._begin(wanted)
                return
        self.guest.start(plan)

    def _begin(self, wanted: Resumption) -> None:
        version = run("qemu-system-x86_64", "--version").split("\n")[0]
        key = wanted.key(version, kvm=self.guest.bodies.kvm)
        image = f"image sha256:{wanted.image.sha256[:12]}"
        if self.saved.find(key):
            wanted.plan.say(
                f"resuming guest {key}, saved after a boot of {image}; its cloud-init gets the seed"
            )
        else:
            wanted.plan.say(
                f"no guest of {image} is saved: one is booted and saved first, which takes minutes"
            )
        self.guest.make_folder()
        self._becoming = Becoming(self.guest, wanted, self.saved, key)
        self._becoming.begin()

    def stop(self) -> None:
        """Switch it off at once."""
        if self._becoming is not None:
            self._becoming.end()
            self._becoming = None
        self.guest.stop()

    def shutdown(self, timeout_s: float) -> bool:
        """Press the power button; what is not the VM yet is switched off."""
        if self._is_becoming():
            self.stop()
            return True
        return self.guest.shutdown(timeout_s)

    def reset(self) -> None:
        """Press the reset button."""
        self.guest.reset()

    def pause(self) -> None:
        """Stop the CPUs."""
        self.guest.pause()

    def resume(self) -> None:
        """Let the CPUs run on."""
        self.guest.resume()

    def state(self) -> str:
        """What is becoming the VM runs."""
        return "running" if self._is_becoming() else self.guest.state()

    def unplug(self, device: str) -> bool:
        """Take a device away; network cards go when the guest lets them."""
        return self.guest.unplug(device)

    def resize(self, device: str, size: int) -> bool:
        """Grow a disk with its file; the guest is told."""
        return self.guest.resize(device, size)

    def agent(self, command: str, arguments: dict[str, Any]) -> Result:
        """The agent's result of a command; raises AgentSilent, AgentRefused."""
        if self._is_becoming():
            raise AgentSilent
        return self.guest.agent(command, arguments)

    def interfaces(self) -> list[dict[str, Any]]:
        """The agent's list of network interfaces; raises AgentSilent."""
        if self._is_becoming():
            raise AgentSilent
        return self.guest.interfaces()

    def _is_becoming(self) -> bool:
        return self._becoming is not None and self._becoming.is_under_way()
