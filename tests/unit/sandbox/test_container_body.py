"""What a container guest keeps and forgets; guests that run are left to the integration tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from localai_deploy.sandbox import container_body
from localai_deploy.sandbox.body import AgentSilent, BodyError, GuestPlan
from localai_deploy.sandbox.container_body import PACKAGES, ContainerBodies, ContainerBody, macs_of
from localai_deploy.sandbox.network import GuestNetwork
from localai_deploy.sandbox.rootfs import Overlay
from tests.lab.system import system_packages

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(shutil.which("ip") is None, reason="iproute2 is missing")


@pytest.fixture
def bodies(tmp_path: Path) -> ContainerBodies:
    network = GuestNetwork("localai-sandbox-unit-test", tmp_path / "network")
    return ContainerBodies(tmp_path / "guests", network, tmp_path / "root")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "vm-101-disk-0.qcow2"
    path.write_text("disk")
    return path


def plan_with(disk: Path | None, generation: str = "one") -> GuestPlan:
    return GuestPlan(101, "box", {"vmgenid": generation}, {"scsi0": str(disk)} if disk else {})


def once_started(bodies: ContainerBodies, vmid: int, disk: Path | None) -> ContainerBody:
    """A body as it is after a start and a stop, with something written."""
    body = bodies(vmid)
    (body.folder / "upper").mkdir(parents=True)
    body.remember(plan_with(disk))
    return body


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts go as far as the root's mount."""

    def mount(self: Overlay) -> None:
        self.upper.mkdir(parents=True, exist_ok=True)
        raise OSError("enough")

    monkeypatch.setattr(Overlay, "mount", mount)


def start(body: ContainerBody, plan: GuestPlan) -> None:
    with pytest.raises(BodyError, match="enough"):
        body.start(plan)


@pytest.mark.usefixtures("kept")
def test_the_same_vm_finds_what_it_wrote(bodies: ContainerBodies, disk: Path) -> None:
    body = once_started(bodies, 101, disk)
    (body.folder / "upper" / "written").touch()
    start(bodies(101), plan_with(disk))
    assert (body.folder / "upper" / "written").exists()


@pytest.mark.usefixtures("kept")
def test_another_vm_of_the_same_number_does_not(bodies: ContainerBodies, disk: Path) -> None:
    body = once_started(bodies, 101, disk)
    (body.folder / "upper" / "written").touch()
    start(bodies(101), plan_with(disk, "two"))
    assert not (body.folder / "upper" / "written").exists()


def test_a_new_body_is_off_and_silent(bodies: ContainerBodies) -> None:
    body = bodies(101)
    assert body.state() == "stopped"
    assert not body.has_disk()
    with pytest.raises(AgentSilent):
        body.agent("ping", {})
    body.stop()
    body.discard()
    assert body.shutdown(0)


def test_what_is_written_stays_while_the_disk_is_there(bodies: ContainerBodies, disk: Path) -> None:
    body = once_started(bodies, 101, disk)
    bodies.forget_deleted()
    assert bodies(101).has_disk()
    assert body.folder.exists()


def test_what_is_written_goes_with_the_disk(bodies: ContainerBodies, disk: Path) -> None:
    body = once_started(bodies, 101, disk)
    disk.unlink()
    bodies.forget_deleted()
    assert not body.folder.exists()


def test_another_file_of_the_same_name_is_another_disk(bodies: ContainerBodies, disk: Path) -> None:
    body = once_started(bodies, 101, disk)
    disk.with_suffix(".new").write_text("disk")
    disk.with_suffix(".new").rename(disk)
    assert not body.has_disk()


def test_a_vm_without_disks_keeps_what_it_has(bodies: ContainerBodies) -> None:
    body = once_started(bodies, 101, None)
    assert body.has_disk()


def test_closing_removes_all(bodies: ContainerBodies, disk: Path) -> None:
    for vmid in (101, 102):
        once_started(bodies, vmid, disk)
    bodies.close()
    assert list(bodies.folder.iterdir()) == []


def test_a_start_that_fails_is_the_tasks_error(
    bodies: ContainerBodies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: ContainerBody, plan: GuestPlan) -> None:
        raise OSError("no room")

    monkeypatch.setattr(container_body.ContainerBody, "_prepare", fails)
    with pytest.raises(BodyError, match="start failed: no room"):
        bodies(101).start(GuestPlan(101, "box", {}))


def test_discs_and_cards_go_at_once(bodies: ContainerBodies) -> None:
    assert [bodies(101).unplug(device) for device in ("scsi1", "net0", "usb0", "memory")] == [
        True,
        True,
        False,
        False,
    ]
    assert not bodies(101).resize("scsi0", 1 << 30)


def test_macs_by_the_cards_number() -> None:
    config = {
        "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0",
        "net10": "e1000=bc:24:11:00:00:02,bridge=vmbr0,tag=5",
        "netx": "virtio=BC:24:11:00:00:03",
        "name": "net0",
    }
    assert macs_of(config) == {0: "bc:24:11:00:00:01", 10: "bc:24:11:00:00:02"}


def test_setup_installs_what_these_guests_need() -> None:
    words = (ROOT / "bin" / "setup").read_text().replace("(", " ").replace(")", " ").split()
    assert [package for package in {*PACKAGES.values(), *system_packages()} if package not in words] == []
