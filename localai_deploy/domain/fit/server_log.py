"""What llama-server's own log says of devices, memory and layers.

The lines are those of its loader, which newer builds print from verbosity 4 on: ``using device CUDA0
(NVIDIA …) (0000:01:00.0) - …``, ``offloaded 31/31 layers to GPU``, and a ``buffer size`` for each device
and part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_MIB = 1 << 20
_BUFFER = re.compile(
    r"(?P<device>[A-Za-z][\w\[\]./:-]*) +(?P<part>model|KV|RS|output|compute) buffer size = +"
    r"(?P<mib>\d+(?:\.\d+)?) MiB"
)
_USING = re.compile(r"using device (\w+) \((.*?)\)(?: \(([0-9a-fA-F:.]+|unknown id)\))? - ")
_LOADED = re.compile(r"model loaded")
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
class UsedDevice:
    """A device that the server chose: ``CUDA0``, the card's name, its PCI address (empty when not told)."""

    backend: str
    name: str
    pci: str


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
    devices: tuple[UsedDevice, ...] = ()

    @property
    def cuda_bytes(self) -> int:
        """All that was reserved on CUDA devices; pinned memory of the host is none of it."""
        return sum(one.total_bytes for name, one in self.cards.items() if name.startswith("CUDA"))

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
    """What the lines of one start tell."""
    lines = list(lines)
    sizes = buffers(lines)
    layers = [told for told in map(_OFFLOADED.search, lines) if told]
    names = dict.fromkeys(device for device, _ in sizes if not is_host(device))
    return ServerMemory(
        host=_memory(sizes, {device for device, _ in sizes if is_host(device)}),
        cards={name: _memory(sizes, {name}) for name in names},
        offloaded=(int(layers[-1][1]), int(layers[-1][2])) if layers else None,
        devices=tuple(_device(told) for told in map(_USING.search, lines) if told),
    )


def buffers(lines: Iterable[str]) -> dict[tuple[str, str], int]:
    """Device and part (``model``, ``KV``, ``RS``, ``output``, ``compute``) → bytes.

    A split model and a cache with windows have several buffers of one kind, which add up; the compute
    buffer is told again where the graph is reserved anew, and counts by its last size.
    """
    sizes: dict[tuple[str, str], int] = {}
    for found in filter(None, map(_BUFFER.search, lines)):
        key = (found["device"], found["part"])
        before = 0 if found["part"] == "compute" else sizes.get(key, 0)
        sizes[key] = before + round(float(found["mib"]) * _MIB)
    return sizes


def load_seconds(log: Iterable[tuple[float, str]]) -> float | None:
    """Seconds from the service's start to the loaded model, of lines with their seconds; None: not told."""
    return next((seconds for seconds, line in log if _LOADED.search(line)), None)


def _device(told: re.Match[str]) -> UsedDevice:
    backend, name, pci = told.groups(default="")
    return UsedDevice(backend, name, pci if ":" in pci else "")


def _memory(sizes: Mapping[tuple[str, str], int], devices: set[str]) -> DeviceMemory:
    def part(*kinds: str) -> int:
        return sum(size for (device, kind), size in sizes.items() if device in devices and kind in kinds)

    return DeviceMemory(part("model"), part("KV", "RS"), part("compute"))


def is_host(device: str) -> bool:
    """Whether a buffer of that name is memory of the host (``CPU_Mapped``, ``CPU_REPACK``, ``CUDA_Host``)."""
    return device.startswith(_HOST_BUFFERS) or device.endswith(_PINNED)
