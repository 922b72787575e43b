"""The machine a model is to run on, and when something fits into it."""

from __future__ import annotations

from dataclasses import dataclass

from localai_deploy.domain.fit.estimate import MIB, DeviceNeed, Estimate
from localai_deploy.domain.fit.wish import Card

RESERVE_BYTES = 1024 * MIB
"""Left free on a card for CUDA, its driver, a display and what estimates miss; llama.cpp's own fit leaves
as much."""
_ROOM_WITHOUT_MEMORY = 1 << 40
SYSTEM_BYTES = 512 * MIB
"""Left to the rest of a host that does little else."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Cards and host memory.

    :param ram_bytes: 0 when unknown: host memory is then not judged.
    :param host_bandwidth_bytes_s: what the host's memory gives in reading; 0 when unknown.
    :param reserve_bytes: left free on each card that is used.
    """

    cards: tuple[Card, ...] = ()
    ram_bytes: int = 0
    host_bandwidth_bytes_s: float = 0.0
    reserve_bytes: int = RESERVE_BYTES

    @property
    def room_bytes(self) -> int:
        """Memory there is for a model, as far as it is known."""
        cards = sum(card.memory_bytes - self.reserve_bytes for card in self.cards)
        return max(cards, 0) or self.ram_bytes or _ROOM_WITHOUT_MEMORY


@dataclass(frozen=True, slots=True)
class Shortage:
    """A device that is too small: what it should have, and what it has.

    :param least_bytes: the parts alone, without margin and without what is to stay free.
    """

    name: str
    kind: str
    needed_bytes: int
    there_bytes: int
    least_bytes: int


def shortages(estimate: Estimate, machine: Machine) -> tuple[Shortage, ...]:
    """List the devices of ``machine`` that are too small for what ``estimate`` says."""
    there = [card.memory_bytes for card in machine.cards] + [machine.ram_bytes]
    return tuple(
        Shortage(need.name, need.kind, needed, size, need.total_bytes)
        for need, size in zip(estimate.devices, there, strict=True)
        if (needed := needed_bytes(need, machine)) > size and (size or need.kind == "gpu")
    )


def needed_bytes(need: DeviceNeed, machine: Machine) -> int:
    """Give the least memory of a device that ``need`` fits into."""
    sure = need.total_bytes + need.margin_bytes
    if need.kind == "host":
        return sure + SYSTEM_BYTES
    return max(sure, need.reserved_bytes + machine.reserve_bytes) if need.reserved_bytes else 0
