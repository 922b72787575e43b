"""An embedded node in the test's own process, with VMs of ours that were made long ago."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.server import Sandbox, make_site, new_cluster
from localai_deploy.sandbox.site import Pace
from localai_deploy.sandbox.state import Pool, Vm, Volume
from tests.unit.sandbox.talking import DIGEST, fetch

IMAGE = f"http://mirror.example.org/debian.qcow2#sha256={DIGEST}"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIzc3vZ0JcNvbI8gUZqP3yT0eJ3uCzJ4kq7a1Yx0aaaa"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIzc3vZ0JcNvbI8gUZqP3yT0eJ3uCzJ4kq7a1Yx0bbbb"


@dataclass(frozen=True)
class Node:
    """The node ``pve1`` of a sandbox, and how the environment names it."""

    sandbox: Sandbox
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PROXMOX_HOST": self.host,
            "PROXMOX_USER": "root@pam",
            "PROXMOX_TOKEN_ID": "sandbox",
            "PROXMOX_TOKEN_SECRET": self.secret,
            "PROXMOX_FINGERPRINT": self.fingerprint,
        }

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.sandbox.address[1]}"

    @property
    def fingerprint(self) -> str:
        return self.sandbox.certificate.fingerprint

    @property
    def changing_calls(self) -> list[tuple[str, str, int]]:
        return [one for one in self.sandbox.site.requests if one[0] != "GET"]

    def body(self, vmid: int) -> BareBody:
        body = self.sandbox.site.cluster.vms[vmid].body
        assert isinstance(body, BareBody)
        return body

    def answer(self, vmid: int, address: str, key: str = KEY) -> None:
        """Let the guest's agent tell this address and this SSH host key."""
        body = self.body(vmid)
        mac = f"bc:24:11:00:{vmid >> 8:02x}:{vmid & 255:02x}"
        told = {"ip-address": address, "ip-address-type": "ipv4", "prefix": 24}
        body.network = [{"name": "eth0", "hardware-address": mac, "ip-addresses": [told]}]
        body.answers = {"file-read": f"{key} root@guest\n".encode()}

    def add_vm(self, name: str, vmid: int, *, address: str = "", running: bool = True) -> None:
        """A VM of ours; with an ``address`` its guest agent answers."""
        from localai_deploy.domain.pve.ownership import OwnershipBlock

        uuid = f"00000000-0000-4000-8000-{vmid:012d}"
        volid = f"local:{vmid}/vm-{vmid}-disk-1.raw"
        spec = {"cores": 2, "memory_mib": 2048, "user": "tester", "image": IMAGE, "vm_storage": "local"}
        cluster = self.sandbox.site.cluster
        cluster.volumes[volid] = Volume(volid, "images", "raw", 40 << 30, int(time.time()), vmid=vmid)
        config: dict[str, Any] = {
            "name": name,
            "tags": "localai",
            "description": OwnershipBlock(name, vmid, uuid, spec).render(),
            "smbios1": f"uuid={uuid}",
            "cores": 2,
            "memory": "2048",
            "scsi0": f"{volid},size=40G",
            "net0": f"virtio=BC:24:11:00:{vmid >> 8:02X}:{vmid & 255:02X},bridge=vmbr0",
            "agent": "enabled=1",
        }
        power = "running" if running else "stopped"
        cluster.vms[vmid] = Vm(vmid, "pve1", config, BareBody(power=power, powers_off=True))
        cluster.pools.setdefault("localai", Pool("localai")).vms.add(vmid)
        if address:
            self.answer(vmid, address)


@contextmanager
def serving(major: int = 9) -> Iterator[Node]:
    site = make_site(new_cluster(major), Pace(scale=0.001, import_s=0, status_round_s=0), fetch)
    with Sandbox(site) as sandbox:
        yield Node(sandbox, site.cluster.users["root@pam"].tokens["sandbox"].secret)
