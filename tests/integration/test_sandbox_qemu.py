"""Real guests behind the sandbox: from an image without an agent to SSH, by the node's API alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localai_deploy.sandbox.qemu_body import QemuBodies
from localai_deploy.sandbox.resume_body import ResumeBodies
from tests.integration.dhcp_leases import address_given
from tests.integration.qemu_guests import Node, qemu_node
from tests.lab.cloud_image import CloudImage, ensure_cloud_image
from tests.lab.layout import Lab
from tests.lab.system import reason_to_skip_guests

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(2400)]
COLD_BOOT_S = 600


@pytest.fixture(scope="module")
def cloud_image(lab: Lab) -> CloudImage:
    if reason := reason_to_skip_guests():
        pytest.skip(reason)
    return ensure_cloud_image(lab)


@pytest.fixture
def node(tmp_path: Path, cloud_image: CloudImage) -> Iterator[Node]:
    with qemu_node(tmp_path, cloud_image, QemuBodies) as node:
        node.download(cloud_image)
        yield node


def test_a_guest_from_image_to_ssh_and_away(node: Node) -> None:
    guest = node.guest(1001, "cold")
    guest.create()
    guest.start()
    guest.wait_for_agent(COLD_BOOT_S)
    assert guest.wait_for_first_boot(COLD_BOOT_S).endswith("status: done")
    assert guest.ssh("hostname; nproc; systemd-detect-virt").split() == ["cold", "2", "qemu"]
    assert guest.ssh("sudo cat /sys/class/dmi/id/product_uuid") == guest.uuid
    assert guest.ssh("cat /sys/class/net/e*/address").upper() == guest.mac
    assert address_given(node.network, guest.mac) == guest.address
    root_gib = int(guest.ssh("df --output=size --block-size=1M / | tail -1")) / 1024
    assert 5 < root_gib < 6
    assert guest.ssh("lsblk --noheadings --output NAME --filter 'TYPE==\"rom\"'") == "sr0"
    guest.detach_seed()
    assert guest.ssh("ls /dev/sr0 2>/dev/null || echo none") == "none"
    with node.phases.phase("pause, resume, reset"):
        node.task(guest.api.status.suspend.post())
        assert guest.api.status.current.get()["qmpstatus"] == "paused"
        node.task(guest.api.status.resume.post())
        assert guest.ssh("true") == ""
    with node.phases.phase("resized while running"):
        node.task(guest.api.resize.put(disk="scsi0", size="+1G"))
        assert guest.ssh("cat /sys/class/block/sda/size") == str((7 << 30) // 512)
    with node.phases.phase("shutdown"):
        node.task(guest.api.status.shutdown.post(timeout=300), 330)
    assert guest.api.status.current.get()["status"] == "stopped"
    with node.phases.phase("delete"):
        guest.delete()
    assert node.node.storage("local").content.get(content="images") == []
    print(node.phases.seconds)


@pytest.fixture
def resuming(tmp_path: Path, lab: Lab, cloud_image: CloudImage) -> Iterator[Node]:
    cache = lab.directory / "saved-guests"
    with qemu_node(tmp_path, cloud_image, lambda *place: ResumeBodies(*place, cache)) as node:
        node.download(cloud_image)
        yield node


IDENTITY = """
hostname; cat /etc/machine-id; cat /sys/class/net/e*/address; cut -d' ' -f2 /etc/ssh/ssh_host_*_key.pub
sudo cat /var/lib/cloud/data/instance-id
"""


def test_a_resumed_guest_is_the_new_vm_and_no_other(resuming: Node) -> None:
    node = resuming
    first, second = node.guest(1101, "first"), node.guest(1102, "second")
    first.create()
    first.start()
    first.wait_for_agent(COLD_BOOT_S)
    assert first.wait_for_first_boot(COLD_BOOT_S).endswith("status: done")
    others = first.ssh(IDENTITY).split()
    node.task(first.api.status.stop.post())
    second.create()
    told = second.start()
    assert any(line.startswith("resuming guest ") for line in told), told
    second.wait_for_agent(COLD_BOOT_S)
    assert second.wait_for_first_boot(COLD_BOOT_S).endswith("status: done")
    ours = second.ssh(IDENTITY).split()
    assert (ours[0], ours[2].upper()) == ("second", second.mac)
    assert len(ours) > 6
    assert set(ours) & set(others) == set()
    assert second.uuid in ours
    assert "first" not in second.ssh("cat /etc/hosts /home/*/.ssh/authorized_keys; sudo ls /home /root/.ssh")
    assert abs(int(second.ssh("date +%s")) - time.time()) < 30
    assert second.ssh("findmnt --noheadings --output SIZE /").startswith("5.")
    assert address_given(node.network, second.mac) == second.address
    second.detach_seed()
    with node.phases.phase("second rebooted"):
        second.reboot(COLD_BOOT_S)
        assert second.ssh("cloud-init status --wait || true", timeout_s=COLD_BOOT_S) == "status: disabled"
    again = second.ssh(IDENTITY).split()
    assert again[: len(ours)] == ours
    assert second.ssh("sudo cat /sys/class/dmi/id/product_uuid") == second.uuid
    print(node.phases.seconds)
