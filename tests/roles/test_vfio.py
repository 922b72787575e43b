"""Role ``vfio`` on a host without a kernel of its own: its files, its calls, check mode, the way back.

``update-initramfs``, ``update-grub`` and ``proxmox-boot-tool`` are stand-ins that write down their calls;
what they do on a real kernel is in tests/integration/test_node_prepare_kernel.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.state import difference
from tests.roles.driver import Driver, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.layout import Lab

pytestmark = pytest.mark.host

CALLS = "/run/calls"
STAND_IN = f'#!/bin/sh\necho "${{0##*/}} $*" >>{CALLS}\n[ ! -e /run/broken ]\n'
PROGRAMS = ("update-initramfs", "update-grub", "proxmox-boot-tool")
DEVICES = [{"address": "0000:81:00.0", "id": "10de:2684"}, {"address": "0000:81:00.1", "id": "10de:22ba"}]
GRUB = {"vfio_devices": DEVICES, "vfio_boot_loader": "grub"}
SYSTEMD_BOOT = {"vfio_devices": DEVICES, "vfio_boot_loader": "systemd-boot"}
CMDLINE = "root=ZFS=rpool/ROOT/pve-1   boot=zfs iommu=pt\n"
BIND = "/etc/initramfs-tools/scripts/init-top/localai_vfio"


class Node:
    """A host that boots with stand-ins, and the role's runs on it."""

    def __init__(self, host: LabHost, driver: Driver) -> None:
        self.host = host
        self.driver = driver

    def run(self, variables: dict[str, Any], *, check: bool = False, good: bool = True) -> Run:
        return self.driver.converge(["vfio"], variables, check=check, good=good)

    def undo(self, variables: dict[str, Any], *, check: bool = False) -> Run:
        return self.driver.uninstall(["vfio"], variables, check=check)

    def calls(self) -> list[str]:
        """What was called since this was asked last."""
        return self.host.root("sh", "-c", f"cat {CALLS} 2>/dev/null; rm -f {CALLS}").splitlines()

    def read(self, path: str) -> str:
        return self.host.root("cat", path)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.host.rootfs / path.lstrip("/")
        self.host.root("sh", "-c", f"mkdir -p {path.rpartition('/')[0]}; touch {path}")
        target.write_text(text)
        target.chmod(mode)


@pytest.fixture(scope="module")
def machine(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with start_host(lab, unique_name()) as host:
        node = Node(host, Driver.prepare(host, tmp_path_factory.mktemp("ansible")))
        for name in PROGRAMS:
            node.write(f"/usr/sbin/{name}", STAND_IN, 0o755)
        node.write("/etc/default/grub", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
        for path in (
            "/etc/initramfs-tools/hooks",
            "/etc/initramfs-tools/scripts/init-top",
            "/etc/default/grub.d",
        ):
            host.root("mkdir", "-p", path)
        host.ssh("mkdir -m 700 .ansible")
        host.snapshot("node")
        yield node


@pytest.fixture
def node(machine: Node) -> Iterator[Node]:
    yield machine
    machine.host.reset("node")


def test_with_grub(node: Node) -> None:
    clean = node.host.state()
    foreseen = node.run(GRUB, check=True)
    assert difference(clean, node.host.state()) == []
    assert "+bind 0000:81:00.1 10de:22ba" in foreseen.output
    assert node.calls() == []
    first = node.run(GRUB)
    assert node.calls() == ["update-initramfs -u -k all", "update-grub "]
    assert set(foreseen.changed) <= set(first.changed)
    assert "bind 0000:81:00.0 10de:2684\nbind 0000:81:00.1 10de:22ba\n" in node.read(BIND)
    words = node.host.root(
        "sh",
        "-c",
        '. /etc/default/grub; . /etc/default/grub.d/localai-vfio.cfg; echo "$GRUB_CMDLINE_LINUX_DEFAULT"',
    )
    assert words == "quiet intel_iommu=on iommu=pt\n"
    assert node.run(GRUB).changed == []
    assert node.run(GRUB, check=True).changed == []
    assert node.calls() == []
    assert node.undo(GRUB, check=True).changed != []
    assert node.calls() == []
    node.undo(GRUB)
    assert node.calls() == ["update-initramfs -u -k all", "update-grub "]
    assert difference(clean, node.host.state()) == []
    assert node.undo(GRUB).changed == []


def test_words_that_grub_has_already_are_not_there_twice(node: Node) -> None:
    node.run(GRUB)
    words = node.host.root(
        "sh",
        "-c",
        'GRUB_CMDLINE_LINUX="iommu=pt"; GRUB_CMDLINE_LINUX_DEFAULT="intel_iommu=on";'
        '. /etc/default/grub.d/localai-vfio.cfg; echo "$GRUB_CMDLINE_LINUX_DEFAULT"',
    )
    assert words == "intel_iommu=on\n"


def test_with_systemd_boot(node: Node) -> None:
    node.write("/etc/kernel/cmdline", CMDLINE)
    node.write("/etc/kernel/proxmox-boot-uuids", "1A2B-3C4D\n")
    clean = node.host.state()
    foreseen = node.run(SYSTEMD_BOOT, check=True)
    assert difference(clean, node.host.state()) == []
    assert "+root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt intel_iommu=on" in foreseen.output
    node.run(SYSTEMD_BOOT)
    assert node.calls() == ["update-initramfs -u -k all", "proxmox-boot-tool refresh"]
    assert node.read("/etc/kernel/cmdline") == "root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt intel_iommu=on\n"
    assert node.run(SYSTEMD_BOOT).changed == []
    assert node.calls() == []
    node.undo(SYSTEMD_BOOT)
    assert node.calls() == ["update-initramfs -u -k all", "proxmox-boot-tool refresh"]
    assert node.read("/etc/kernel/cmdline") == CMDLINE
    assert difference(clean, node.host.state()) == []


def test_what_somebody_else_adds_to_the_command_line_stays(node: Node) -> None:
    node.write("/etc/kernel/cmdline", CMDLINE)
    node.write("/etc/kernel/proxmox-boot-uuids", "1A2B-3C4D\n")
    node.run(SYSTEMD_BOOT)
    node.write("/etc/kernel/cmdline", node.read("/etc/kernel/cmdline").replace("\n", " mitigations=off\n"))
    node.run(SYSTEMD_BOOT | {"vfio_kernel_parameters": ["iommu=pt", "initcall_blacklist=sysfb_init"]})
    assert node.read("/etc/kernel/cmdline").split() == [
        *(
            "root=ZFS=rpool/ROOT/pve-1",
            "boot=zfs",
            "iommu=pt",
            "mitigations=off",
            "initcall_blacklist=sysfb_init",
        )
    ]
    node.undo(SYSTEMD_BOOT)
    assert node.read("/etc/kernel/cmdline") == "root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt mitigations=off\n"


def test_a_run_that_was_cut_off_is_finished_by_the_next_one(node: Node) -> None:
    node.write("/run/broken", "")
    failed = node.run(GRUB, good=False)
    assert failed.code != 0
    assert failed.failure["task"] == "Make the initramfs of all kernels"
    node.host.root("rm", "/run/broken")
    node.calls()
    assert node.run(GRUB).changed == [
        "vfio: Make the initramfs of all kernels",
        "vfio: Make the menu of GRUB",
        "vfio: Write down what they were made from",
    ]
    assert node.run(GRUB).changed == []


def test_a_run_that_was_cut_off_can_be_taken_back(node: Node) -> None:
    clean = node.host.state()
    node.write("/run/broken", "")
    node.run(GRUB, good=False)
    node.host.root("rm", "/run/broken")
    node.calls()
    node.undo(GRUB)
    assert node.calls() == ["update-initramfs -u -k all", "update-grub "]
    assert difference(clean, node.host.state()) == []


def test_another_card_is_one_change(node: Node) -> None:
    node.run(GRUB)
    changed = node.run(GRUB | {"vfio_devices": DEVICES[:1]}).changed
    assert changed == [
        "vfio: Write what the initramfs and the boot loader are made from",
        "vfio: Make the initramfs of all kernels",
        "vfio: Make the menu of GRUB",
        "vfio: Write down what they were made from",
    ]
    assert "22ba" not in node.read(BIND)


def test_a_node_that_is_ready_is_not_rebooted(node: Node) -> None:
    ready = GRUB | {"vfio_reboot": True, "vfio_kernel_parameters": []}
    node.host.root("sh", "-c", _ALL_WITH_VFIO)
    try:
        node.run(GRUB | {"vfio_kernel_parameters": []})
        assert node.run(ready).changed == []
        assert (
            node.run(ready | {"vfio_kernel_parameters": ["iommu=pt"]}, check=True).changed[-1]
            == "vfio: Reboot"
        )
    finally:
        node.host.root("umount", "/sys/bus/pci/devices")


def test_an_initramfs_of_another_kind_is_refused_before_anything_is_changed(node: Node) -> None:
    node.host.root("rm", "/usr/sbin/update-initramfs")
    before = node.host.state()
    assert node.run(GRUB, good=False).code != 0
    assert difference(before, node.host.state()) == []


@pytest.mark.parametrize("shell", ["dash", "bash --posix"])
def test_the_initramfs_script_goes_by_address_and_looks_at_the_id(node: Node, shell: str) -> None:
    """Two equal cards, one of them meant; a third device came to an address that was another's."""
    node.run(GRUB)
    node.write("/root/sys.sh", _FAKE_SYSFS)
    script = node.read(BIND).replace("/sys/bus/pci", "/root/pci").replace(">/dev/kmsg", ">>/root/told")
    node.write("/root/bind.sh", script.replace("modprobe vfio-pci", "true"), 0o755)
    node.host.root("sh", "/root/sys.sh")
    assert node.host.root(*shell.split(), "/root/bind.sh", "prereqs").strip() == ""
    node.host.root(*shell.split(), "/root/bind.sh")
    overrides = node.host.root("sh", "-c", "cd /root/pci/devices; grep -H . */driver_override || true")
    assert overrides == "0000:81:00.0/driver_override:vfio-pci\n"
    assert node.read("/root/pci/drivers_probe") == "0000:81:00.0\n"
    assert node.read("/root/pci/drivers/nouveau/unbind") == "0000:81:00.0\n"
    assert node.read("/root/told") == "localai-deploy: 0000:81:00.1 is 8086:1533, not 10de:22ba: left alone\n"


_ALL_WITH_VFIO = """\
set -e
mount -t tmpfs tmpfs /sys/bus/pci/devices
for address in 0000:81:00.0 0000:81:00.1; do
  mkdir "/sys/bus/pci/devices/$address"
  ln -s ../../drivers/vfio-pci "/sys/bus/pci/devices/$address/driver"
done
"""
_FAKE_SYSFS = """\
set -e
rm -rf /root/pci /root/told
mkdir -p /root/pci/drivers/nouveau /root/pci/drivers/vfio-pci
add() {
  mkdir -p "/root/pci/devices/$1"
  cd "/root/pci/devices/$1"
  echo "0x$2" >vendor; echo "0x$3" >device; : >driver_override
}
add 0000:81:00.0 10de 2684
ln -s ../../drivers/nouveau driver
add 0000:82:00.0 10de 2684
add 0000:81:00.1 8086 1533
"""
