"""From a saved guest to a VM: save one if there is none, resume it, give it the VM's devices and seed."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from localai_deploy.sandbox.body import AgentRefused, AgentSilent, BodyError, GuestPlan
from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.disk_files import virtual_bytes
from localai_deploy.sandbox.guest_scripts import PREPARE, ScriptFailed, run_script, take_over
from localai_deploy.sandbox.machine_state import INCOMING, read_state, write_state
from localai_deploy.sandbox.qemu_body import QemuBody
from localai_deploy.sandbox.qemu_command import Card, Drive, card_slots
from localai_deploy.sandbox.qmp import QmpError, QmpLost
from localai_deploy.sandbox.resumption import DISK, SEED, VARIABLES, Resumption
from localai_deploy.sandbox.saved_guest import SavedGuest, SavedGuests

LOG = "resume.log"
_ORIGINALS = "originals"
_FIRST_BOOT_TIMEOUT_S = 1800.0
_AGENT_TIMEOUT_S = 120.0
_SCRIPT_TIMEOUT_S = 600.0
_POLL_S = 0.3
_FAILURES = (MachineError, QmpError, QmpLost, ScriptFailed, BodyError, OSError)


class _SwitchedOff(Exception):  # noqa: N818
    """The VM was stopped before its guest was there."""


@dataclass
class Becoming:
    """The work of one start, in a thread of its own; what it does is told in a log beside the serial one."""

    guest: QemuBody
    wanted: Resumption
    saved: SavedGuests
    key: str
    _stopping: threading.Event = field(default_factory=threading.Event)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"becoming-{self.guest.vmid}", daemon=True)

    def begin(self) -> None:
        """Return at once."""
        self._thread.start()

    def is_under_way(self) -> bool:
        """Whether the guest is not the VM yet."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Switch the guest off, whatever it is."""
        self._stopping.set()
        with self._turn:
            self.guest.stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._resume(self._saved_guest())
        except _SwitchedOff:
            return
        except _FAILURES as error:
            if not self._stopping.is_set():
                self._say(f"not resumed but booted: {error}")
                self._boot()
        else:
            shutil.rmtree(self._originals, ignore_errors=True)

    def _saved_guest(self) -> SavedGuest:
        """The one that there is, or a new one; raises one of the failures."""
        if found := self.saved.find(self.key):
            return found
        with self.saved.making(self.key, self._check_wanted) as empty:
            if empty is not None:
                self._save_to(empty)
        found = self.saved.find(self.key)
        if found is None:
            raise MachineError("the saved guest has gone")
        return found

    def _save_to(self, empty: SavedGuest) -> None:
        """Boot a guest with a neutral seed; when its agent answers, make it nobody's and save it."""
        self._launch(self.wanted.boot_plan(empty))
        self._wait_for_agent(_FIRST_BOOT_TIMEOUT_S)
        self._say("the agent of the guest that is to be saved answers")
        run_script(self.guest.agent, PREPARE, _SCRIPT_TIMEOUT_S)
        for slot in [*card_slots(self.wanted.plan.config), SEED]:
            if not self.guest.unplug(slot):
                raise MachineError(f"the guest does not let go of {slot}")
        write_state(self.guest.running().qmp, empty.memory, self._check)
        self.guest.stop()
        self._say("saved")

    def _resume(self, saved: SavedGuest) -> None:
        size = virtual_bytes(Path(self.wanted.plan.disks[DISK]))
        self._set_originals_aside()
        self.wanted.put_disks(saved)
        devices = self._launch(self.wanted.plan, *INCOMING, without=self.wanted.plugged)
        read_state(self.guest.running().qmp, saved.memory, self._check)
        self.guest.resize(DISK, max(size, self.wanted.image.virtual_bytes))
        for device in devices:
            self.guest.plug(device)
        self.guest.resume()
        self._wait_for_agent(_AGENT_TIMEOUT_S)
        self._say("resumed")
        machine_id = secrets.token_hex(16)
        script = take_over(machine_id, self.wanted.macs, int(time.time()))
        for line in run_script(self.guest.agent, script, _SCRIPT_TIMEOUT_S).splitlines():
            self._say(line)
        self._say("it is the VM now; the rest of cloud-init runs")

    def _launch(
        self, plan: GuestPlan, *more: str, without: frozenset[str] = frozenset()
    ) -> list[Card | Drive]:
        with self._turn:
            if self._stopping.is_set():
                raise _SwitchedOff
            return self.guest.launch(plan, *more, without=without)

    def _wait_for_agent(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.guest.agent("ping", {})
            except (AgentSilent, AgentRefused):
                self._check()
                if time.monotonic() > deadline:
                    raise MachineError(f"no agent answered within {timeout_s:.0f} s") from None
                time.sleep(_POLL_S)
            else:
                return

    def _check_wanted(self) -> None:
        if self._stopping.is_set():
            raise _SwitchedOff

    def _check(self) -> None:
        self._check_wanted()
        if self.guest.state() == "stopped":
            raise MachineError("the guest has powered off")

    @property
    def _originals(self) -> Path:
        return self.guest.folder / _ORIGINALS

    def _set_originals_aside(self) -> None:
        self._originals.mkdir(exist_ok=True)
        for slot in (DISK, VARIABLES):
            shutil.move(self.wanted.plan.disks[slot], self._originals / slot)

    def _boot(self) -> None:
        """Start the VM as if nothing had been tried; its disks are as they were."""
        try:
            self.guest.stop()
            for slot in (DISK, VARIABLES):
                if (self._originals / slot).exists():
                    shutil.move(self._originals / slot, self.wanted.plan.disks[slot])
            self._launch(self.wanted.plan)
        except _SwitchedOff:
            return
        except _FAILURES as error:
            self._say(f"nor booted: {error}")

    def _say(self, text: str) -> None:
        with (self.guest.folder / LOG).open("a") as log:
            log.write(f"{time.monotonic() - self._began:6.1f} s  {text}\n")
