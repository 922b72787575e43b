"""Vendor and device of a PCI function, as ``lspci -n``, sysfs and NVIDIA's tools write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localai_deploy.errors import InputError

NVIDIA = 0x10DE
_FORMS = re.compile(
    r"(?:0x)?([0-9a-f]{4})(?::|\s+|)(?:0x)?([0-9a-f]{4})"
    r"(?::(?:0x)?([0-9a-f]{4}):(?:0x)?([0-9a-f]{4}))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, order=True)
class PciId:
    """``10de:2204``, with the card maker's ids where they are known: ``10de:1e30:10de:129e``."""

    vendor: int
    device: int
    subvendor: int | None = None
    subdevice: int | None = None

    def __post_init__(self) -> None:
        """:raises ValueError: a number is no 16-bit number, or one half of the subsystem is missing."""
        numbers = (self.vendor, self.device, self.subvendor or 0, self.subdevice or 0)
        if not all(0 <= number <= 0xFFFF for number in numbers):
            raise ValueError(f"not 16 bits each: {numbers}")
        if (self.subvendor is None) != (self.subdevice is None):
            raise ValueError("a subsystem is a vendor and a device")

    def __str__(self) -> str:
        numbers = [self.vendor, self.device, self.subvendor, self.subdevice]
        return ":".join(f"{number:04x}" for number in numbers if number is not None)

    @property
    def is_nvidia(self) -> bool:
        """Whether the vendor is NVIDIA."""
        return self.vendor == NVIDIA


def parse_pci_id(text: str) -> PciId:
    """Read ``10de:2204``, ``10DE2204``, ``0x10de 0x2204``, ``10de:1e30:10de:129e``.

    :raises InputError: ``pci-id-invalid``.
    """
    match = _FORMS.fullmatch(text.strip().strip("[]"))
    if match is None:
        raise InputError(
            "pci-id-invalid",
            f"{text!r} is no PCI id",
            why="it is vendor and device, four hexadecimal digits each",
            hint="lspci -nn shows it in brackets, for instance [10de:2204]",
        )
    return PciId(*(int(number, 16) if number else None for number in match.groups()))  # type: ignore[arg-type]
