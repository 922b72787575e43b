"""What a node's kernel tells about its PCI devices and how it was booted: what no API answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from localai_deploy.domain.gpu.pci_id import PciId
from localai_deploy.domain.pci.address import PciAddress

VFIO = "vfio-pci"
_FREE = ("", VFIO, "pci-stub")


class Loader(StrEnum):
    """Who hands the command line to the kernel."""

    GRUB = "grub"
    SYSTEMD_BOOT = "systemd-boot"


@dataclass(frozen=True, slots=True)
class Bar:
    """A memory window of a device (linux/ioport.h: flags).

    :param is_64bit: it may lie above 4 GiB.
    :param is_assigned: the firmware or the kernel found room for it.
    """

    index: int
    start: int
    size_bytes: int
    is_64bit: bool
    is_assigned: bool


@dataclass(frozen=True, slots=True)
class Function:
    """One PCI function as sysfs shows it.

    :param class_id: 24 bits, as in :class:`localai_deploy.domain.pve.hardware.PciDevice`.
    :param driver: empty: none has it.
    :param override: the only driver that may have it (``driver_override``); empty: any.
    :param is_boot_display: the firmware showed its messages on it (``boot_vga``).
    :param reset_methods: ways in which the kernel can reset it; empty: none.
    """

    address: PciAddress
    class_id: int
    pci_id: PciId
    iommu_group: int | None = None
    driver: str = ""
    override: str = ""
    is_boot_display: bool = False
    reset_methods: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether no driver of the node itself uses it."""
        return self.driver in _FREE

    @property
    def short_id(self) -> str:
        """``10de:2684``."""
        return f"{self.pci_id.vendor:04x}:{self.pci_id.device:04x}"


@dataclass(frozen=True, slots=True)
class Region:
    """A range of physical addresses that somebody claims (``/proc/iomem``); ``end`` belongs to it."""

    start: int
    end: int
    owner: str


@dataclass(frozen=True, slots=True)
class NodeHardware:
    """One look at a node.

    :param cmdline: words of the running kernel's command line.
    :param next_cmdline: words that the boot loader's files say for the next boot; as far as they are read.
    :param framebuffers: claims of the firmware's frame buffer; ``None``: only root may see them.
    :param uses_boot_tool: proxmox-boot-tool keeps the boot partitions.
    :param secure_boot: ``None``: no UEFI, or it does not say.
    :param physical_bits: width of a physical address of the CPU; 0: unknown.
    """

    kernel: str
    functions: tuple[Function, ...]
    cmdline: tuple[str, ...] = ()
    next_cmdline: tuple[str, ...] = ()
    framebuffers: tuple[Region, ...] | None = None
    loader: Loader = Loader.GRUB
    uses_boot_tool: bool = False
    secure_boot: bool | None = None
    cpu_vendor: str = ""
    physical_bits: int = 0
    memory_available_bytes: int = 0
    prepared: tuple[str, ...] = ()
    is_root: bool = True

    def of_slot(self, slot: str) -> tuple[Function, ...]:
        """The functions of a device (``0000:01:00``)."""
        return tuple(one for one in self.functions if one.address.slot == slot)

    def function(self, address: PciAddress) -> Function | None:
        """One function."""
        return next((one for one in self.functions if one.address == address), None)

    @property
    def has_iommu(self) -> bool:
        """Whether any device is in an IOMMU group."""
        return any(one.iommu_group is not None for one in self.functions)

    def claims_on(self, functions: Iterable[Function]) -> tuple[Region, ...]:
        """Frame buffers that lie in a window of one of these functions."""
        windows = [(bar.start, bar.start + bar.size_bytes) for one in functions for bar in one.bars]
        return tuple(
            region
            for region in self.framebuffers or ()
            if any(start <= region.start < end for start, end in windows)
        )
