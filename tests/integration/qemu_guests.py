"""A sandbox with QEMU guests, driven by proxmoxer as a client of a real node would."""

from __future__ import annotations

import io
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import proxmoxer

from localai_deploy.domain.pve.seed import Seed
from localai_deploy.sandbox.body import GuestBody
from localai_deploy.sandbox.gateway import Gateway
from localai_deploy.sandbox.network import GuestNetwork
from localai_deploy.sandbox.server import Sandbox, make_site, new_cluster
from localai_deploy.targets.seed_iso import seed_iso
from tests.lab.cloud_image import CloudImage

NODE = "pve1"
USER = "admin"
IMAGE_NAME = "debian-lab.qcow2"
Bodies = Callable[[int], GuestBody]


@dataclass
class Phases:
    """Wall-clock seconds by phase, printed as they end."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        print(f"{name}: {self.seconds[name]} s", flush=True)


@dataclass
class Node:
    """The sandbox's node as proxmoxer sees it."""

    sandbox: Sandbox
    network: GuestNetwork
    api: Any
    folder: Path
    phases: Phases = field(default_factory=Phases)

    @property
    def node(self) -> Any:
        return self.api.nodes(NODE)

    def task(self, upid: str, timeout_s: float = 120) -> list[str]:
        """The log of a task that must succeed."""
        deadline = time.monotonic() + timeout_s
        while (status := self.node.tasks(upid).status.get())["status"] != "stopped":
            assert time.monotonic() < deadline, upid
            time.sleep(0.1)
        log = [line["t"] for line in self.node.tasks(upid).log.get(limit=0)]
        assert status["exitstatus"] == "OK", log
        return log

    def download(self, image: CloudImage) -> None:
        with self.phases.phase("image"):
            upid = self.node.storage("local")("download-url").post(
                content="import",
                filename=IMAGE_NAME,
                url=image.url,
                checksum=image.sha512,
                **{"checksum-algorithm": "sha512"},
            )
            self.task(upid)

    def guest(self, vmid: int, name: str) -> Guest:
        number = f"{vmid:04d}"
        mac = f"BC:24:11:00:{number[:2]}:{number[2:]}"
        return Guest(self, vmid, name, f"00000000-0000-4000-8000-00000000{number}", mac)


@dataclass
class Guest:
    """One VM."""

    on: Node
    vmid: int
    name: str
    uuid: str
    mac: str
    address: str = ""

    @property
    def api(self) -> Any:
        return self.on.node.qemu(self.vmid)

    @property
    def key(self) -> Path:
        return self.on.folder / f"key-{self.vmid}"

    @property
    def known_hosts(self) -> Path:
        return self.on.folder / f"known-hosts-{self.vmid}"

    def create(self, memory_mib: int = 1024, cores: int = 2) -> None:
        """The VM with its seed, as `localai-deploy up` makes one."""
        with self.on.phases.phase(f"{self.name} created"):
            self.upload_seed()
            upid = self.on.node.qemu.post(
                vmid=self.vmid,
                name=self.name,
                machine="q35",
                bios="ovmf",
                cpu="host",
                cores=cores,
                memory=memory_mib,
                balloon=0,
                scsihw="virtio-scsi-single",
                efidisk0="local:0,efitype=4m,pre-enrolled-keys=0",
                scsi0=f"local:0,import-from=local:import/{IMAGE_NAME},discard=on",
                scsi1=f"{self.seed_volume},media=cdrom",
                boot="order=scsi0",
                net0=f"virtio={self.mac},bridge=vmbr0",
                serial0="socket",
                vga="serial0",
                agent="1",
                smbios1=f"uuid={self.uuid}",
            )
            self.on.task(upid)
            self.on.task(self.api.resize.put(disk="scsi0", size="6G"))

    @property
    def seed_volume(self) -> str:
        return f"local:iso/seed-{self.vmid}.iso"

    def upload_seed(self) -> None:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.key)], check=True
        )
        public = self.key.with_suffix(".pub").read_text().strip()
        seed = Seed(self.uuid, self.name, USER, self.mac, (public,))
        file = io.BytesIO(seed_iso(seed))
        file.name = f"seed-{self.vmid}.iso"
        self.on.task(self.on.node.storage("local").upload.post(content="iso", filename=file))

    def start(self) -> list[str]:
        with self.on.phases.phase(f"{self.name} start task"):
            return self.on.task(self.api.status.start.post())

    def wait_for_agent(self, timeout_s: float) -> None:
        """Until the agent names the address of net0, and the SSH host key."""
        with self.on.phases.phase(f"{self.name} agent"):
            self._until(self._find_address, timeout_s)
            key = self.api.agent("file-read").get(file="/etc/ssh/ssh_host_ed25519_key.pub")["content"]
        self.known_hosts.write_text(f"{self.address} {' '.join(key.split()[:2])}\n")

    def _find_address(self) -> bool:
        try:
            interfaces = self.api.agent("network-get-interfaces").get()["result"]
        except proxmoxer.ResourceException:
            return False
        for interface in interfaces:
            if interface.get("hardware-address", "").upper() == self.mac:
                found = [a for a in interface.get("ip-addresses", ()) if a["ip-address-type"] == "ipv4"]
                self.address = found[0]["ip-address"] if found else ""
        return bool(self.address)

    def _until(self, done: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, self.serial_log()
            assert self.api.status.current.get()["status"] == "running", self.serial_log()
            time.sleep(0.5)

    def wait_for_first_boot(self, timeout_s: float) -> str:
        """Until cloud-init is done; what it says."""
        with self.on.phases.phase(f"{self.name} cloud-init"):
            return self.ssh("cloud-init status --wait", timeout_s=timeout_s)

    def ssh(self, command: str, *, timeout_s: float = 120) -> str:
        """Run a command as the user, over the relay, with the pinned host key."""
        done = self._ssh(command, timeout_s)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def _ssh(self, command: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        argv = [
            *("ssh", "-F", "none", "-i", str(self.key), *self.on.network.ssh_args),
            *("-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=none"),
            *("-o", "ConnectTimeout=30", f"{USER}@{self.address}", command),
        ]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)

    def reboot(self, timeout_s: float) -> None:
        """Until another boot of the guest can be logged in to."""
        before = self._boot_id()
        self._ssh("sudo systemctl reboot", 60)
        self._until(lambda: self._boot_id() not in {"", before}, timeout_s)

    def _boot_id(self) -> str:
        return self._ssh("cat /proc/sys/kernel/random/boot_id", 60).stdout.strip()

    def detach_seed(self) -> None:
        with self.on.phases.phase(f"{self.name} seed detached"):
            self.api.config.put(delete="scsi1")
            assert "scsi1" not in self.api.config.get()
        self.on.node.storage("local").content(self.seed_volume).delete()

    def delete(self) -> None:
        self.on.task(self.api.delete(purge=1))

    def serial_log(self) -> str:
        log = Path(self.on.folder, "guests", str(self.vmid), "serial.log")
        return log.read_text(errors="replace")[-3000:] if log.exists() else "no serial log"


@contextmanager
def qemu_node(
    folder: Path, image: CloudImage, make_bodies: Callable[[Path, GuestNetwork], Bodies]
) -> Iterator[Node]:
    """A sandbox whose guests reach the lab's mirror; all of it is gone afterwards."""
    network = GuestNetwork(f"localai-sandbox-qemu-{os.getpid()}", folder / "network")
    network.create()
    mirror = urlsplit(image.url)
    address = (str(mirror.hostname), int(mirror.port or 80))
    site = make_site(new_cluster())
    site.make_body = make_bodies(folder / "guests", network)
    try:
        network.answer_for(address[0])
        with Gateway(network.namespace, address, address), Sandbox(site) as sandbox:
            yield Node(sandbox, network, _client(sandbox, folder), folder)
    finally:
        network.remove()


def _client(sandbox: Sandbox, folder: Path) -> Any:
    token = sandbox.site.cluster.users["root@pam"].tokens["sandbox"]
    authority = folder / "ca.pem"
    authority.write_text(sandbox.certificate.certificate_pem)
    host, port = sandbox.address
    return proxmoxer.ProxmoxAPI(
        host, port=port, user="root@pam", token_name="sandbox", token_value=token.secret,
        verify_ssl=str(authority), timeout=60,
    )  # fmt: skip
