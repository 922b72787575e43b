"""Nodes as sysfs shows them: the lines that ``node_hardware.sh`` prints, for machines of the usual kinds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.domain.node.hardware_parser import parse_hardware
from localai_deploy.domain.node.outlook import CardOutlook
from localai_deploy.domain.pve.hardware import CardOnNode, PciDevice, cards_of, parse_devices
from tests.lab.sections import encode_sections

INTEL_CPU = (
    "vendor_id\t: GenuineIntel\nmodel name\t: 12th Gen\naddress sizes\t: 46 bits physical, 48 bits virtual\n"
)
AMD_CPU = (
    "vendor_id\t: AuthenticAMD\nmodel name\t: Ryzen\naddress sizes\t: 48 bits physical, 48 bits virtual\n"
)
NOT_MEMORY = "0x0000000000000000 0x0000000000000000 0x0000000000000000"
WIDE, NARROW, UNSET = 0x14220C, 0x40200, 0x20000000


@dataclass(frozen=True, slots=True)
class Line:
    """One function: what sysfs has, and what the API lists of it."""

    address: str
    class_id: str
    pci_id: str
    group: int | None
    driver: str = ""
    name: str = ""
    subsystem: str = "1043:8888"
    boot: str = ""
    override: str = "(null)"
    resets: str = "flr bus"
    bars: tuple[tuple[int, int, int], ...] = ()

    def text(self) -> str:
        vendor, device = self.pci_id.split(":")
        subvendor, subdevice = self.subsystem.split(":")
        bars = [
            f"0x{start:016x} 0x{start + size - 1:016x} 0x{flags:016x}" for start, size, flags in self.bars
        ]
        resource = "".join(f"{one}," for one in [*bars, NOT_MEMORY])
        ids = f"0x{vendor}|0x{device}|0x{subvendor}|0x{subdevice}"
        return (
            f"{self.address}|0x{self.class_id}|{ids}|{self.boot}|{self.override}|{self.resets}|{resource}\n"
        )

    def answer(self) -> dict[str, object]:
        vendor, device = self.pci_id.split(":")
        subvendor, subdevice = self.subsystem.split(":")
        return {
            "id": self.address,
            "class": f"0x{self.class_id}",
            "vendor": f"0x{vendor}",
            "device": f"0x{device}",
            "subsystem_vendor": f"0x{subvendor}",
            "subsystem_device": f"0x{subdevice}",
            "iommugroup": -1 if self.group is None else self.group,
            "device_name": self.name,
        }


@dataclass(frozen=True)
class Sample:
    """One machine."""

    lines: tuple[Line, ...]
    cpu: str = INTEL_CPU
    cmdline: str = "BOOT_IMAGE=/boot/vmlinuz-6.8.12-4-pve root=/dev/mapper/pve-root ro quiet intel_iommu=on"
    iomem: str = ""
    more: dict[str, str] = field(default_factory=dict)

    @property
    def sections(self) -> dict[str, str]:
        return {
            "uid": "0\n",
            "kernel": "6.8.12-4-pve\n",
            "cmdline": f"{self.cmdline}\n",
            "meminfo": "MemTotal: 65536000 kB\nMemFree: 1 kB\nMemAvailable:   33554432 kB\n",
            "cpu": self.cpu,
            "iomem": self.iomem or "00000000-00000fff : Reserved\n",
            "pci": "".join(line.text() for line in self.lines),
            "groups": "".join(f"{one.address} {one.group}\n" for one in self.lines if one.group is not None),
            "drivers": "".join(f"{one.address} {one.driver}\n" for one in self.lines if one.driver),
            **self.more,
        }

    @property
    def hardware(self) -> NodeHardware:
        return parse_hardware(encode_sections(self.sections))

    @property
    def devices(self) -> tuple[PciDevice, ...]:
        """As the server lists them: without classes 05, 06 and 0b."""
        listed = (line for line in self.lines if line.class_id[:2] not in {"05", "06", "0b"})
        return parse_devices(line.answer() for line in listed)

    def card(self, slot: str) -> CardOnNode:
        return next(one for one in cards_of("pve1", self.devices) if one.slot == slot)

    def outlook(self, slot: str, *, seen: bool = True, **changes: object) -> CardOutlook:
        """The card in a slot; ``seen``: the node itself was looked at."""
        whole = CardOutlook(self.card(slot), self.devices, self.hardware if seen else None)
        return replace(whole, **changes)  # type: ignore[arg-type]

    def with_line(self, address: str, **changes: object) -> Sample:
        lines = (replace(one, **changes) if one.address == address else one for one in self.lines)  # type: ignore[arg-type]
        return replace(self, lines=tuple(lines))


BAR_24_GIB = (
    (0x60_0000_0000, 32 << 30, WIDE),
    (0x68_0000_0000, 32 << 20, WIDE),
    (0x8100_0000, 16 << 20, NARROW),
)
HOST_BRIDGE = Line("0000:00:00.0", "060000", "8086:4660", 0)
ROOT_PORT = Line("0000:00:01.0", "060400", "8086:460d", 2, "pcieport", resets="pm")
RTX_4090 = Line(
    "0000:01:00.0", "030000", "10de:2684", 2, "vfio-pci", "AD102 [GeForce RTX 4090]", bars=BAR_24_GIB
)
RTX_4090_SOUND = Line("0000:01:00.1", "040300", "10de:22ba", 2, "vfio-pci", "AD102 Audio", resets="")

INTEL_NVIDIA = Sample(
    (
        HOST_BRIDGE,
        ROOT_PORT,
        Line("0000:00:02.0", "030000", "8086:4680", 1, "i915", "UHD Graphics 770", boot="1"),
        Line("0000:00:17.0", "010601", "8086:7ae2", 5, "ahci", "SATA"),
        replace(RTX_4090, boot="0"),
        RTX_4090_SOUND,
    ),
    iomem="4000000000-400fffffff : 0000:00:02.0\n  4000000000-40007e8fff : BOOTFB\n",
)
"""The processor's graphics shows the console; the card shares its group with its root port only."""

TWO_EQUAL = Sample(
    (
        HOST_BRIDGE,
        replace(RTX_4090, pci_id="10de:2204", name="GA102 [GeForce RTX 3090]"),
        replace(RTX_4090_SOUND, pci_id="10de:1aef"),
        Line("0000:02:00.0", "030000", "10de:2204", 3, "nouveau", "GA102 [GeForce RTX 3090]", boot="1"),
        Line("0000:02:00.1", "040300", "10de:1aef", 3, "snd_hda_intel", "GA102 Audio"),
    )
)
"""One for VMs, its twin for the node."""

AMD_APU = Sample(
    (
        Line("0000:00:08.0", "060000", "1022:14da", 4),
        Line("0000:00:08.1", "060400", "1022:14dd", 5, "pcieport"),
        Line("0000:0e:00.0", "030000", "1002:164e", 5, "amdgpu", "Raphael", boot="1", resets="pm"),
        Line("0000:0e:00.1", "040300", "1002:1640", 6, "snd_hda_intel", "Rembrandt Audio"),
    ),
    cpu=AMD_CPU,
    cmdline="initrd=\\EFI\\proxmox\\6.8.12-4-pve\\initrd.img-6.8.12-4-pve root=ZFS=rpool/ROOT/pve-1 boot=zfs",
    more={
        "boot_uuids": "1A2B-3C4D\n",
        "kernel_cmdline": "root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt\n",
        "secure_boot": " 06 00 00 00 01\n",
    },
)
"""The processor's graphics is all there is; ZFS, systemd-boot, Secure Boot."""

SHARED = Sample(
    (
        HOST_BRIDGE,
        replace(ROOT_PORT, group=1),
        replace(RTX_4090, group=1, pci_id="10de:1b81", name="GP104 [GeForce GTX 1070]"),
        replace(RTX_4090_SOUND, group=1),
        Line("0000:00:1f.0", "060100", "8086:a305", 1, "", "LPC"),
        Line("0000:03:00.0", "010802", "144d:a808", 1, "nvme", "NVMe SM981"),
        Line("0000:00:02.0", "030000", "8086:3e92", 3, "i915", "UHD Graphics 630", boot="1"),
    )
)
"""A consumer board: the card hangs on the chipset with the disk that the node boots from."""

BOOT_GPU = Sample(
    (
        HOST_BRIDGE,
        ROOT_PORT,
        replace(RTX_4090, boot="1", driver=""),
        replace(RTX_4090_SOUND, driver="snd_hda_intel"),
    ),
    cmdline="BOOT_IMAGE=/boot/vmlinuz-6.8.12-4-pve root=/dev/mapper/pve-root ro quiet",
    iomem=(
        "6000000000-67ffffffff : 0000:01:00.0\n  6000000000-60007e8fff : BOOTFB\n"
        "6800000000-6801ffffff : 0000:01:00.0\n"
    ),
)
"""No other display: the firmware shows its messages on the card."""

IOMMU_OFF = replace(BOOT_GPU, lines=tuple(replace(one, group=None) for one in INTEL_NVIDIA.lines), iomem="")
