"""What the sandbox's DHCP server wrote down."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localai_deploy.sandbox.network import GuestNetwork


def address_given(network: GuestNetwork, mac: str) -> str:
    """The address that DHCP gave to a card last; empty while it has none."""
    rows = [line.split() for line in network.leases.read_text().splitlines()]
    return next((row[2] for row in reversed(rows) if row[1:2] == [mac.lower()]), "")
