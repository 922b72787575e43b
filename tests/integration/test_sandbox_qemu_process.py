"""QEMU itself, with machines that boot nothing: started, spoken to, changed, saved, ended; needs no root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from localai_deploy.sandbox.body import BodyError, GuestPlan
from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.disk_files import make_empty, virtual_bytes
from localai_deploy.sandbox.machine_state import INCOMING, read_state, write_state
from localai_deploy.sandbox.qemu_body import QemuBodies, QemuBody
from localai_deploy.sandbox.qemu_process import start_qemu
from localai_deploy.sandbox.qmp import QmpLost

COMMANDS = ("qemu-system-x86_64", "qemu-img", "setpriv")
MISSING = [name for name in COMMANDS if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"commands are missing: {' '.join(MISSING)}")
MIB = 1 << 20
WORDS = (
    *("qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none"),
    *("-qmp", "unix:qmp.sock,server=on,wait=off"),
)
PARENT = """
import sys, time
from pathlib import Path
from threading import Thread
from localai_deploy.sandbox.qemu_process import start_qemu
from localai_deploy.sandbox.qmp import QmpLost

def start():
    print(start_qemu(sys.argv[2:], Path(sys.argv[1])).process.pid, flush=True)

thread = Thread(target=start)
thread.start()
thread.join()
time.sleep(60)
"""


class NoNetwork:
    """For guests without network cards."""

    def inside(self, *argv: str) -> list[str]:
        return list(argv)

    def remove_guest(self, vmid: int) -> None:
        pass


@pytest.fixture
def body(tmp_path: Path):
    body = QemuBodies(tmp_path / "guests", NoNetwork())(100)  # type: ignore[arg-type]
    yield body
    body.stop()


@pytest.fixture
def plan(tmp_path: Path) -> GuestPlan:
    for name in ("disk.qcow2", "more.raw"):
        make_empty(tmp_path / name, name.rpartition(".")[2], 16 * MIB)
    (tmp_path / "seed.iso").write_bytes(bytes(MIB))
    config = {
        "machine": "q35",
        "memory": "64",
        "scsihw": "virtio-scsi-pci",
        "scsi1": "local:iso/seed.iso,media=cdrom",
        "agent": "1",
        "vga": "none",
    }
    disks = {"scsi0": tmp_path / "disk.qcow2", "scsi1": tmp_path / "seed.iso", "scsi2": tmp_path / "more.raw"}
    return GuestPlan(
        100, "vm", config, {slot: str(file) for slot, file in disks.items()}, say=lambda text: None
    )


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_it_runs_and_ends(tmp_path: Path) -> None:
    process = start_qemu(WORDS, tmp_path)
    assert process.is_alive()
    assert (tmp_path / "qemu.pid").read_text() == str(process.process.pid)
    assert os.getpriority(os.PRIO_PROCESS, process.process.pid) >= 10
    process.end()
    assert not process.is_alive()


def test_what_it_complains_about_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no-such-machine"):
        start_qemu([word.replace("none", "no-such-machine") for word in WORDS], tmp_path)


def test_it_dies_with_a_process_that_is_killed_but_not_with_a_thread(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", PARENT, str(tmp_path), *WORDS]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        os.kill(pid, 0)
        parent.send_signal(signal.SIGKILL)
    assert is_gone(pid)


def test_power_as_the_node_drives_it(body: QemuBody, plan: GuestPlan) -> None:
    assert body.state() == "stopped"
    body.start(plan)
    assert body.state() == "running"
    body.pause()
    assert body.state() == "paused"
    body.resume()
    body.reset()
    assert body.state() == "running"
    assert body.shutdown(0.3) is False
    assert body.state() == "running"
    body.stop()
    body.stop()
    assert body.state() == "stopped"
    assert body.shutdown(0.3) is True


def test_a_guest_that_ended_by_itself_is_stopped(body: QemuBody, plan: GuestPlan) -> None:
    body.start(plan)
    body.running().qmp.execute("quit")
    assert body.running().wait(10)
    assert body.state() == "stopped"
    body.start(plan)
    assert body.state() == "running"


def test_discs_and_disks_are_taken_away(body: QemuBody, plan: GuestPlan) -> None:
    body.start(plan)
    assert body.unplug("scsi1") is True
    assert body.unplug("scsi1") is True
    assert body.unplug("scsi2") is True
    left = {block["node-name"] for block in body.running().qmp.execute("query-named-block-nodes")}
    assert "scsi0" in left
    assert not {"scsi1", "scsi2"} & left


def test_a_disk_grows_while_it_runs(body: QemuBody, plan: GuestPlan) -> None:
    body.start(plan)
    assert body.resize("scsi0", 32 * MIB) is True
    assert virtual_bytes(Path(plan.disks["scsi0"])) == 32 * MIB
    with pytest.raises(BodyError):
        body.resize("scsi9", 32 * MIB)


def test_a_start_that_fails_says_why_in_the_task_s_log(body: QemuBody, plan: GuestPlan) -> None:
    said: list[str] = []
    broken = GuestPlan(100, "vm", plan.config, plan.disks | {"scsi0": "/nowhere.qcow2"}, say=said.append)
    with pytest.raises(BodyError, match="QEMU exited with code 1"):
        body.start(broken)
    assert "/nowhere.qcow2" in said[-1]
    assert body.state() == "stopped"


def test_a_machine_goes_on_from_its_saved_state(body: QemuBody, plan: GuestPlan, tmp_path: Path) -> None:
    disc = frozenset({"scsi1"})
    body.make_folder()
    body.launch(plan, without=disc)
    write_state(body.running().qmp, tmp_path / "memory of it", lambda: None)
    body.stop()
    devices = body.launch(plan, *INCOMING, without=disc)
    read_state(body.running().qmp, tmp_path / "memory of it", lambda: None)
    for device in devices:
        body.plug(device)
    body.resume()
    assert body.running().qmp.execute("query-status")["status"] == "running"
    assert [device.slot for device in devices] == ["scsi1"]
    assert body.unplug("scsi1") is True


def test_a_state_of_another_machine_is_refused(body: QemuBody, plan: GuestPlan, tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(b"nonsense" * 1000)
    body.make_folder()
    body.launch(plan, *INCOMING)
    with pytest.raises((MachineError, QmpLost)):
        read_state(body.running().qmp, tmp_path / "memory", lambda: None)


def test_a_card_is_a_device_of_the_guest_with_the_ids_that_the_node_shows(
    body: QemuBody, plan: GuestPlan
) -> None:
    def ids() -> list[tuple[int, int]]:
        buses = body.running().qmp.execute("query-pci")
        return [(one["id"]["vendor"], one["id"]["device"]) for bus in buses for one in bus["devices"]]

    body.start(replace(plan, passed=("secondary-vga", "secondary-vga")))
    assert ids().count((0x1234, 0x1111)) == 2
    body.start(plan)
    assert (0x1234, 0x1111) not in ids()
