"""What llama-server's own log says of memory and layers (verbosity 4; formats of 2024 to 2026)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_MIB = 1 << 20
_BUFFER = re.compile(
    r"(?P<device>[A-Za-z][\w\[\]./:-]*) +(?P<part>model|KV|RS|compute) buffer size = +"
    r"(?P<mib>\d+(?:\.\d+)?) MiB"
)
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
_HOST_BUFFERS = ("CPU", "Host")
_PINNED = "_Host"


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What the server holds on one device, in bytes."""

    weights_bytes: int = 0
    kv_bytes: int = 0
    compute_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """All parts."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes


@dataclass(frozen=True, slots=True)
class ServerMemory:
    """What one start of the server told.

    :param host: memory of the host, pinned buffers included.
    :param cards: device as the server names it (``CUDA0``) → its memory.
    :param offloaded: layers on cards and all layers; ``None``: it told nothing of cards.
    """

    host: DeviceMemory = DeviceMemory()
    cards: dict[str, DeviceMemory] = field(default_factory=dict)
    offloaded: tuple[int, int] | None = None

    @property
    def is_known(self) -> bool:
        """Whether it told of its memory at all."""
        return self.host.total_bytes > 0 or bool(self.cards)

    def to_data(self) -> dict[str, Any]:
        """Plain data, as a check leaves it in the report."""
        cards = {name: asdict(memory) for name, memory in self.cards.items()}
        return {"host": asdict(self.host), "cards": cards, "offloaded": list(self.offloaded or ())}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> ServerMemory:
        """Inverse of :meth:`to_data`; KeyError or TypeError on foreign data."""
        cards = {name: DeviceMemory(**one) for name, one in data["cards"].items()}
        told = data["offloaded"]
        return cls(DeviceMemory(**data["host"]), cards, (told[0], told[1]) if told else None)


def server_memory(lines: Iterable[str]) -> ServerMemory:
    """Add up the buffers that the server told of.

    A split model and a cache with windows have several buffers of one kind; the compute buffer is told
    again where the graph is reserved anew, and counts by its last size.
    """
    sizes: dict[tuple[str, str], int] = {}
    offloaded = None
    for line in lines:
        if found := _BUFFER.search(line):
            device, part = found["device"], found["part"]
            before = 0 if part == "compute" else sizes.get((device, part), 0)
            sizes[device, part] = before + round(float(found["mib"]) * _MIB)
        elif told := _OFFLOADED.search(line):
            offloaded = (int(told[1]), int(told[2]))
    names = dict.fromkeys(device for device, _ in sizes if not is_host(device))
    cards = {name: _memory(sizes, {name}) for name in names}
    return ServerMemory(_memory(sizes, {one for one, _ in sizes if is_host(one)}), cards, offloaded)


def _memory(sizes: Mapping[tuple[str, str], int], devices: set[str]) -> DeviceMemory:
    def part(*kinds: str) -> int:
        return sum(size for (device, kind), size in sizes.items() if device in devices and kind in kinds)

    return DeviceMemory(part("model"), part("KV", "RS"), part("compute"))


def is_host(device: str) -> bool:
    """Whether a buffer of that name is memory of the host (``CPU_Mapped``, ``CPU_REPACK``, ``CUDA_Host``)."""
    return device.startswith(_HOST_BUFFERS) or device.endswith(_PINNED)
