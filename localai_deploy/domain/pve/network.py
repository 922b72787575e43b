"""Network strings of a VM, and the address that the guest agent reports."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.pve import property_string


@dataclass(frozen=True, slots=True)
class NetworkDevice:
    """``net0``; an empty ``mac`` lets the node choose one."""

    bridge: str
    mac: str = ""
    model: str = "virtio"
    vlan: int = 0
    firewall: bool = False

    def __str__(self) -> str:
        head = f"{self.model}={self.mac}" if self.mac else self.model
        rest = property_string.render(
            {
                "bridge": self.bridge,
                "tag": self.vlan or None,
                "firewall": True if self.firewall else None,
            }
        )
        return f"{head},{rest}"


def parse_network_device(text: str) -> NetworkDevice:
    """Read ``virtio=BC:24:11:…,bridge=vmbr0,tag=5``."""
    values = property_string.parse(text, "model")
    model = next(
        (key for key in values if key not in {"bridge", "tag", "firewall", "model"} and ":" in values[key]),
        "",
    )
    return NetworkDevice(
        bridge=values.get("bridge", ""),
        mac=values[model].upper() if model else "",
        model=model or values.get("model", "virtio"),
        vlan=int(values.get("tag", "0")),
        firewall=values.get("firewall") == "1",
    )


def first_card(config: Mapping[str, Any]) -> NetworkDevice:
    """``net0`` of a VM's config; where there is none, a card on no bridge."""
    return parse_network_device(str(config.get("net0") or "virtio"))


def placed(text: str, bridge: str, vlan: int) -> str:
    """A network string on another bridge and VLAN (0: none); everything else in it stays."""
    values: dict[str, str | int | bool | None] = dict(property_string.parse(text, "model"))
    return property_string.render({**values, "bridge": bridge, "tag": vlan or None}, "model")


def guest_address(interfaces: Iterable[Mapping[str, Any]], mac: str) -> str:
    """The guest's address on the card with ``mac``: IPv4 first, never loopback or link-local.

    Early answers list the card without addresses; those of containers or VPNs in the guest have
    other MACs.

    :param interfaces: ``result`` of the agent's ``network-get-interfaces``.
    :returns: an empty string while there is none.
    """
    found = [
        ipaddress.ip_address(entry["ip-address"])
        for interface in interfaces
        if str(interface.get("hardware-address", "")).upper() == mac.upper()
        for entry in interface.get("ip-addresses", [])
    ]
    usable = [one for one in found if not (one.is_loopback or one.is_link_local or one.is_unspecified)]
    return str(min(usable, key=lambda one: one.version)) if usable else ""
