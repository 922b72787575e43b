"""The order in which a saved guest becomes a VM, and what happens when a part of it fails; no QEMU runs."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from localai_deploy.sandbox import becoming
from localai_deploy.sandbox.becoming import LOG, Becoming
from localai_deploy.sandbox.body import AgentSilent, GuestPlan, SourceImage
from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.resume_body import ResumeBody
from localai_deploy.sandbox.resumption import Resumption
from localai_deploy.sandbox.saved_guest import SavedGuests

IMAGE = SourceImage("a" * 64, 100)
CONFIG = {"net0": "virtio=BC:24:11:00:00:01", "scsi0": "local:d", "scsi1": "local:iso/s.iso,media=cdrom"}


class FakeGuest:
    """A body that only writes down what is done to it."""

    vmid = 100

    def __init__(self, folder: Path):
        self.folder = folder
        self.done: list[str] = []
        self.power = "stopped"
        self.silent = threading.Event()
        self.qmp = self

    def launch(self, plan, *more, without=frozenset()):
        self.power = "running"
        kind = "resume" if more else "boot"
        self.done.append(f"{kind} {plan.vmid} without {','.join(sorted(without)) or 'nothing'}")
        return sorted(without)

    def stop(self):
        if self.power != "stopped":
            self.done.append("stop")
        self.power = "stopped"

    def state(self):
        return self.power

    def agent(self, command, arguments):
        if self.silent.is_set() or self.power == "stopped":
            raise AgentSilent
        return {"exec": 1, "exec-status": {"exited": 1, "exitcode": 0}}.get(command)

    def unplug(self, slot):
        self.done.append(f"unplug {slot}")
        return True

    def plug(self, device):
        self.done.append(f"plug {device}")

    def resize(self, slot, size):
        self.done.append(f"resize {slot} {size}")
        return True

    def resume(self):
        self.done.append("continue")

    def running(self):
        return self


class FakeResumption(Resumption):
    """Files in place of disks."""

    def boot_plan(self, saved):
        return GuestPlan(0, "saved", {})

    def put_disks(self, saved):
        for slot in ("scsi0", "efidisk0"):
            Path(self.plan.disks[slot]).write_text("saved")


@pytest.fixture
def work(tmp_path, monkeypatch):
    for slot in ("scsi0", "efidisk0"):
        (tmp_path / slot).write_text("original")
    disks = {slot: str(tmp_path / slot) for slot in ("scsi0", "efidisk0", "scsi1")}
    wanted = FakeResumption(GuestPlan(100, "vm", CONFIG, disks), IMAGE, {})
    (tmp_path / "guest").mkdir()
    guest = FakeGuest(tmp_path / "guest")
    monkeypatch.setattr(becoming, "virtual_bytes", lambda file: 500)
    monkeypatch.setattr(becoming, "write_state", lambda qmp, file, check: file.write_text("state"))
    monkeypatch.setattr(becoming, "read_state", lambda qmp, file, check: guest.done.append("read"))
    monkeypatch.setattr(becoming, "_POLL_S", 0.01)
    return Becoming(guest, wanted, SavedGuests(tmp_path / "cache"), "k")


def run(work):
    work.begin()
    deadline = time.monotonic() + 5
    while work.is_under_way():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return work.guest.done


RESUMED = ["resume 100 without net0,scsi1", "read", "resize scsi0 500", "plug net0", "plug scsi1", "continue"]


def test_the_first_one_is_booted_made_nobody_s_and_saved(work):
    saved_first = ["boot 0 without nothing", "unplug net0", "unplug scsi1", "stop"]
    assert run(work) == [*saved_first, *RESUMED]
    assert work.saved.find("k").memory.read_text() == "state"
    assert Path(work.wanted.plan.disks["scsi0"]).read_text() == "saved"
    assert not (work.guest.folder / "originals").exists()


def test_the_next_one_is_resumed(work):
    with work.saved.making("k", lambda: None) as empty:
        empty.memory.write_text("state")
    assert run(work) == RESUMED


def fails(*_):
    raise MachineError("no room")


@pytest.mark.parametrize("part", ["write_state", "read_state", "run_script"])
def test_what_cannot_be_resumed_is_booted_with_its_own_disk(work, monkeypatch, part):
    monkeypatch.setattr(becoming, part, fails)
    assert run(work)[-2:] == ["stop", "boot 100 without nothing"]
    assert Path(work.wanted.plan.disks["scsi0"]).read_text() == "original"
    assert "not resumed but booted: no room" in (work.guest.folder / LOG).read_text()


def test_a_guest_that_does_not_let_go_is_not_saved(work, monkeypatch):
    monkeypatch.setattr(work.guest, "unplug", lambda slot: False)
    assert run(work) == ["boot 0 without nothing", "stop", "boot 100 without nothing"]
    assert work.saved.find("k") is None


def test_a_guest_that_powers_off_is_not_waited_for(work):
    work.guest.silent.set()
    work.begin()
    work.guest.power = "stopped"
    while work.is_under_way():
        work.guest.power = "stopped" if work.guest.done == ["boot 0 without nothing"] else work.guest.power
        time.sleep(0.01)
    assert "the guest has powered off" in (work.guest.folder / LOG).read_text()
    assert work.guest.done[-1] == "boot 100 without nothing"


def test_the_vm_can_be_stopped_meanwhile(work):
    work.guest.silent.set()
    work.begin()
    while not work.guest.done:
        time.sleep(0.01)
    work.end()
    assert work.guest.done == ["boot 0 without nothing", "stop"]
    assert not work.is_under_way()
    assert work.saved.find("k") is None


def test_until_it_is_the_vm_the_vm_runs_and_its_agent_is_silent(work):
    work.guest.silent.set()
    body = ResumeBody(work.guest, work.saved, work)
    work.begin()
    assert body.state() == "running"
    with pytest.raises(AgentSilent):
        body.agent("ping", {})
    with pytest.raises(AgentSilent):
        body.interfaces()
    assert body.shutdown(1) is True
    assert body.state() == "stopped"
