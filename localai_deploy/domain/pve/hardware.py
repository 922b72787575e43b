"""A node's PCI devices as its API lists them, and the cards among them.

The server leaves memory, bridges and processors out of its list (classes 05, 06 and 0b) unless it is
asked otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.gpu.catalogue import card_of
from localai_deploy.domain.gpu.pci_id import PciId
from localai_deploy.domain.pci.address import PciAddress, parse_address

_DISPLAY = 0x03


@dataclass(frozen=True, slots=True)
class PciDevice:
    """One function.

    :param class_id: 24 bits: class, subclass, programming interface (``0x030000``: VGA controller).
    :param pci_id: with the subsystem, where the device has one.
    :param iommu_group: ``None``: it is in none, because the IOMMU is off.
    :param vendor_name: the node's own words; empty when its tables do not have the device.
    """

    address: PciAddress
    class_id: int
    pci_id: PciId
    iommu_group: int | None
    vendor_name: str = ""
    device_name: str = ""

    @property
    def is_display(self) -> bool:
        """Whether it shows or computes pictures: class 03, whatever the subclass."""
        return self.class_id >> 16 == _DISPLAY

    @property
    def subsystem_id(self) -> str | None:
        """``1043:889c``."""
        if self.pci_id.subvendor is None:
            return None
        return f"{self.pci_id.subvendor:04x}:{self.pci_id.subdevice:04x}"


@dataclass(frozen=True, slots=True)
class CardOnNode:
    """A card in its slot: the display function, with the audio and USB functions that lie on it.

    :param functions: all functions of the device, by address.
    """

    node: str
    functions: tuple[PciDevice, ...]

    @property
    def display(self) -> PciDevice:
        """The function that makes it a card."""
        return next(one for one in self.functions if one.is_display)

    @property
    def address(self) -> PciAddress:
        """Of the whole device."""
        return self.display.address.whole

    @property
    def slot(self) -> str:
        """``0000:01:00``."""
        return self.display.address.slot

    @property
    def pci_id(self) -> str:
        """``10de:2684``, of the display function."""
        return _short(self.display.pci_id)

    @property
    def identity(self) -> str:
        """What a VM's block notes of it: ``0000:01:00 10de:2684``; another card in its slot differs."""
        return f"{self.slot} {self.pci_id}"

    @property
    def is_nvidia(self) -> bool:
        """Whether it is a card that the catalogue may know."""
        return self.display.pci_id.is_nvidia

    def ids_of(self, addresses: Iterable[PciAddress]) -> tuple[str, ...]:
        """Vendor and device of the functions there: what a guest that has them sees, at other addresses."""
        wanted = tuple(addresses)
        return tuple(
            _short(one.pci_id) for one in self.functions if any(each.holds(one.address) for each in wanted)
        )

    @property
    def name(self) -> str:
        """As the catalogue has it, else in the node's own words."""
        if self.is_nvidia:
            card = card_of(self.display.pci_id)
            if card.is_known:
                return card.name
        return " ".join(filter(None, (self.display.vendor_name, self.display.device_name))) or self.pci_id

    @property
    def subsystem_id(self) -> str | None:
        """``1043:889c``; ``None`` where the card has none."""
        return self.display.subsystem_id

    @property
    def iommu_group(self) -> int | None:
        """``None``: the IOMMU is off."""
        return self.display.iommu_group

    def __str__(self) -> str:
        return f"{self.name} ({self.slot})"


def _short(pci_id: PciId) -> str:
    return f"{pci_id.vendor:04x}:{pci_id.device:04x}"


def parse_devices(entries: Iterable[Mapping[str, Any]]) -> tuple[PciDevice, ...]:
    """Read the answer of ``GET /nodes/N/hardware/pci``, by address."""
    return tuple(sorted((_device(one) for one in entries), key=lambda one: one.address))


def _device(entry: Mapping[str, Any]) -> PciDevice:
    group = int(entry.get("iommugroup", -1))
    vendor, part = entry.get("subsystem_vendor"), entry.get("subsystem_device")
    subsystem = (_number(vendor), _number(part)) if vendor and part else ()
    return PciDevice(
        address=parse_address(str(entry["id"])),
        class_id=_number(entry["class"]),
        pci_id=PciId(_number(entry["vendor"]), _number(entry["device"]), *subsystem),
        iommu_group=None if group < 0 else group,
        vendor_name=str(entry.get("vendor_name", "")),
        device_name=str(entry.get("device_name", "")),
    )


def _number(text: object) -> int:
    return int(str(text), 16)


def cards_of(node: str, devices: Iterable[PciDevice]) -> tuple[CardOnNode, ...]:
    """The cards of a node, by slot: devices with a display function."""
    slots: dict[str, list[PciDevice]] = defaultdict(list)
    for one in devices:
        slots[one.address.slot].append(one)
    cards = [
        CardOnNode(node, tuple(sorted(found, key=_place))) for found in slots.values() if _is_card(found)
    ]
    return tuple(sorted(cards, key=lambda card: card.address))


def _place(device: PciDevice) -> PciAddress:
    return device.address


def _is_card(functions: Iterable[PciDevice]) -> bool:
    return any(one.is_display for one in functions)
