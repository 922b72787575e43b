"""Where a PCI device sits: ``domain:bus:device.function``, in the ways that tools write it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from localai_deploy.errors import InputError

_FORMS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])(?:\.([0-7]))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PciAddress:
    """``0000:01:00.0``; without a function (``None``) it is the whole device ``0000:01:00``."""

    domain: int
    bus: int
    device: int
    function: int | None = None

    def __str__(self) -> str:
        function = "" if self.function is None else f".{self.function}"
        return f"{self.slot}{function}"

    def __lt__(self, other: PciAddress) -> bool:
        """In the order of the bus; a whole device comes before its functions."""
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, int, int, int]:
        return self.domain, self.bus, self.device, -1 if self.function is None else self.function

    @property
    def slot(self) -> str:
        """The whole device, as a resource mapping names it: ``0000:01:00``."""
        return f"{self.domain:04x}:{self.bus:02x}:{self.device:02x}"

    @property
    def whole(self) -> PciAddress:
        """The device that the function belongs to."""
        return replace(self, function=None)

    def holds(self, other: PciAddress) -> bool:
        """Whether ``other`` is this device or function, or a function of this device."""
        return other == self or (self.function is None and other.whole == self)


def is_address(text: str) -> bool:
    """Whether a text has the form of an address."""
    return _FORMS.fullmatch(text.strip()) is not None


def parse_address(text: str) -> PciAddress:
    """Read ``01:00``, ``01:00.0``, ``0000:01:00.0`` and ``00000000:01:00.0`` (as ``nvidia-smi`` writes it).

    :raises InputError: ``pci-address-invalid``.
    """
    match = _FORMS.fullmatch(text.strip())
    if match is None:
        raise InputError(
            "pci-address-invalid",
            f"{text!r} is no PCI address",
            why="it is [domain:]bus:device[.function], in hexadecimal digits",
            hint="lspci -D on the node shows it, for instance 0000:01:00.0",
        )
    domain, bus, device, function = match.groups()
    return PciAddress(
        int(domain or "0", 16), int(bus, 16), int(device, 16), None if function is None else int(function)
    )
