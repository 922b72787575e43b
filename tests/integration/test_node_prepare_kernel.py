"""``node prepare`` on a real kernel: Debian's own, with an IOMMU and two equal display devices, all emulated.

Minutes for each boot: without KVM the processor is emulated, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.node.hardware import VFIO
from tests.lab.layout import Lab
from tests.lab.node_guest import CARD_ID, CARDS, NodeGuest
from tests.lab.node_image import make_node_image
from tests.lab.system import reason_to_skip_guests

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(3 * 3600)]

OWN_DRIVER = "bochs-drm"
CARD, TWIN = CARDS
FILES = "/etc /boot/grub/grub.cfg"
COMMAND_TIMEOUT_S = 3600


@dataclass(frozen=True)
class Commands:
    """The installed program, with an inventory that has the node."""

    guest: NodeGuest
    home: Path

    def __call__(self, *words: str) -> dict[str, Any]:
        began = time.monotonic()
        done = subprocess.run(
            [str(Path(sys.executable).with_name("localai-deploy")), *words, *self._place],
            env={**os.environ, "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        print(f"{' '.join(words)}: {time.monotonic() - began:.0f} s\n{done.stderr}", flush=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    @property
    def _place(self) -> list[str]:
        return ["-i", str(self.home / "hosts.yml"), "-o", "json"]

    def write_inventory(self) -> None:
        fingerprint = subprocess.run(
            ["ssh-keygen", "-lf", "-"],
            input=self.guest.image.host_key,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[1]
        settings = {
            "localai_proxmox_ssh_host": "127.0.0.1",
            "localai_proxmox_ssh_port": self.guest.port,
            "localai_proxmox_ssh_key": str(self.guest.private_key),
            "localai_proxmox_ssh_host_key": fingerprint,
            "localai_proxmox_ssh_prepare": True,
        }
        hosts = {"proxmox_nodes": {"hosts": {"node": settings}}}
        (self.home / "hosts.yml").write_text(json.dumps(hosts))


@pytest.fixture
def commands(lab: Lab, tmp_path: Path) -> Iterator[Commands]:
    if reason := reason_to_skip_guests():
        pytest.skip(reason)
    with NodeGuest(tmp_path, make_node_image(lab, tmp_path), lab.private_key) as guest:
        began = time.monotonic()
        guest.wait()
        print(f"first boot: {time.monotonic() - began:.0f} s", flush=True)
        found = Commands(guest, tmp_path)
        found.write_inventory()
        yield found


def checksums(guest: NodeGuest) -> dict[str, str]:
    """SHA-256 by path of all that decides how the node boots, apart from the initramfs itself."""
    lines = guest.ssh(f"find {FILES} -type f -exec sha256sum {{}} +").splitlines()
    return {path: digest for digest, path in (line.split(maxsplit=1) for line in lines)}


def drivers(guest: NodeGuest) -> dict[str, str]:
    return {address: guest.driver(address) for address in CARDS}


def test_one_of_two_equal_cards_is_bound_at_boot_and_given_back(commands: Commands) -> None:
    guest = commands.guest
    assert drivers(guest) == {CARD: OWN_DRIVER, TWIN: OWN_DRIVER}
    guest.ssh("update-grub")
    clean = checksums(guest)

    prepared = commands("node", "prepare", "node", "--card", "01:00", "--reboot", "--yes")
    assert prepared["devices"] == [{"address": CARD, "id": CARD_ID, "driver": VFIO}]
    assert prepared["findings"] == []
    assert prepared["changed"] > 0
    assert drivers(guest) == {CARD: VFIO, TWIN: OWN_DRIVER}
    words = guest.ssh("cat /proc/cmdline").split()
    assert words.count("iommu=pt") == 1
    group = guest.ssh(f"basename $(readlink /sys/bus/pci/devices/{CARD}/iommu_group)").strip()
    assert guest.ssh(f"test -c /dev/vfio/{group} && echo there").strip() == "there"
    taken = guest.ssh("dmesg | grep -c 'bochs-drm 0000:01:00.0' || true").strip()
    assert taken == "0", "its own driver had it for a while"

    again = commands("node", "prepare", "node", "--reboot", "--yes")
    assert (again["foreseen"], again["changed"]) == (0, 0)
    assert [one["address"] for one in again["devices"]] == [CARD]

    commands("node", "prepare", "node", "--rollback", "--reboot", "--yes")
    assert drivers(guest) == {CARD: OWN_DRIVER, TWIN: OWN_DRIVER}
    assert checksums(guest) == clean
    assert "iommu=pt" not in guest.ssh("cat /proc/cmdline")
