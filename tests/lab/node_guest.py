"""A node with an IOMMU and two equal display devices, as an emulated guest that only this machine reaches."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.layout import LabError

if TYPE_CHECKING:
    from tests.lab.node_image import NodeImage

CARDS = ("0000:01:00.0", "0000:02:00.0")
"""Where the kernel sees the display devices: each is alone behind its root port, and in its IOMMU group."""
CARD_ID = "1234:1111"
_FIRMWARE = Path("/usr/share/OVMF")
_BOOT_TIMEOUT_S = 1800.0


@dataclass
class NodeGuest:
    """QEMU without KVM; its network ends at a port of this machine's loopback."""

    folder: Path
    image: NodeImage
    private_key: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = field(default=0, init=False)

    @property
    def serial_log(self) -> Path:
        return self.folder / "serial.log"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def __enter__(self) -> NodeGuest:
        self.port = _free_port()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {self.image.host_key}\n")
        shutil.copy(_FIRMWARE / "OVMF_VARS_4M.fd", self.folder / "vars.fd")
        with (self.folder / "qemu.log").open("wb") as log:
            self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _command(self) -> list[str]:
        return [
            *("nice", "-n", "19", "qemu-system-x86_64", "-nodefaults", "-display", "none"),
            *("-machine", "q35,accel=tcg,kernel-irqchip=split", "-cpu", "max", "-smp", "2", "-m", "1536"),
            *("-device", "intel-iommu,intremap=on,caching-mode=on"),
            *("-drive", f"if=pflash,format=raw,readonly=on,file={_FIRMWARE}/OVMF_CODE_4M.fd"),
            *("-drive", f"if=pflash,format=raw,file={self.folder}/vars.fd"),
            *("-drive", f"if=none,id=disk,format=raw,cache=unsafe,file={self.image.disk}"),
            *("-device", "virtio-blk-pci,drive=disk,bootindex=1,iommu_platform=on,disable-legacy=on"),
            *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile=,iommu_platform=on,disable-legacy=on"),
            *("-device", "pcie-root-port,id=port1,bus=pcie.0,chassis=1,addr=0x10"),
            *("-device", "secondary-vga,bus=port1"),
            *("-device", "pcie-root-port,id=port2,bus=pcie.0,chassis=2,addr=0x11"),
            *("-device", "secondary-vga,bus=port2"),
            *("-device", "virtio-rng-pci", "-serial", f"file:{self.serial_log}"),
        ]

    def ssh_command(self, command: str) -> list[str]:
        """argv of an ssh as root that uses no configuration of the caller."""
        return [
            *("ssh", "-F", "none", "-i", str(self.private_key), "-p", str(self.port)),
            *("-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=none"),
            *("-o", "ConnectTimeout=30", "-o", "LogLevel=ERROR", "root@127.0.0.1", command),
        ]

    def ssh(self, command: str, timeout_s: float = 300) -> str:
        """Run a shell command as root; its stdout."""
        done = subprocess.run(
            self.ssh_command(command), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode != 0:
            raise LabError(f"{command!r} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def wait(self) -> None:
        """Until root can log in."""
        deadline = time.monotonic() + _BOOT_TIMEOUT_S
        while subprocess.run(self.ssh_command("true"), capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline or (self.process and self.process.poll() is not None):
                raise LabError(f"the node does not come up: {self._end_of_log()}")
            time.sleep(2)

    def driver(self, address: str) -> str:
        """The driver that has a device; empty when none has."""
        link = f"/sys/bus/pci/devices/{address}/driver"
        return self.ssh(f"test -e {link} && basename $(readlink {link}) || true").strip()

    def _end_of_log(self) -> str:
        return self.serial_log.read_text(errors="replace")[-2000:] if self.serial_log.exists() else "no log"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
