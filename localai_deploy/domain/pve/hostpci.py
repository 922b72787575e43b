"""A VM's passthrough devices: ``hostpci0`` to ``hostpci15`` of its config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.domain.pci.address import PciAddress, parse_address
from localai_deploy.domain.pve import property_string

SLOTS = tuple(f"hostpci{number}" for number in range(16))
_KEY = re.compile(r"hostpci\d+")


@dataclass(frozen=True, slots=True)
class HostPci:
    """One of them: a resource mapping by its name, or addresses on the node.

    :param options: further keys as they are written (``pcie``, ``x-vga``, ``rombar``, …).
    """

    mapping: str = ""
    addresses: tuple[PciAddress, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.mapping:
            return property_string.render({"mapping": self.mapping, **self.options})
        return property_string.render({"host": ";".join(map(str, self.addresses)), **self.options}, "host")


def parse_hostpci(text: str) -> HostPci:
    """Read ``mapping=NAME,pcie=1`` or ``[host=]0000:01:00[;…],pcie=1``.

    :raises LocalaiError: ``pve-answer-unreadable``; ``pci-address-invalid``.
    """
    values = property_string.parse(text, "host")
    mapping, host = values.pop("mapping", ""), values.pop("host", "")
    addresses = tuple(parse_address(one) for one in host.split(";") if one)
    return HostPci(mapping, addresses, values)


def mapped_card(mapping: str) -> HostPci:
    """A whole card through its mapping; ``pcie`` needs machine type q35."""
    return HostPci(mapping, options={"pcie": "1"})


def cards_in(config: Mapping[str, Any]) -> dict[str, HostPci]:
    """Slot → device, by slot number."""
    slots = sorted((key for key in config if _KEY.fullmatch(key)), key=lambda key: int(key[7:]))
    return {slot: parse_hostpci(str(config[slot])) for slot in slots}


def free_slot(config: Mapping[str, Any]) -> str | None:
    """The first that the VM does not use; ``None`` when all are taken."""
    return next((slot for slot in SLOTS if slot not in config), None)
