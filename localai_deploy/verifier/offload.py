"""What llama-server's own log tells of its devices.

The lines are those of llama.cpp's loader (b6000 to b11669), which it prints from verbosity 4 on in newer
builds: ``using device CUDA0 (NVIDIA …) (0000:01:00.0)``, ``offloaded 31/31 layers to GPU``, and a
``buffer size`` for each device and part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 1 << 20
_LAYERS = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
_USING = re.compile(r"using device (\w+) \((.*?)\)(?: \(([0-9a-fA-F:.]+|unknown id)\))? - ")
_BUFFER = re.compile(r"(\S+)\s+(?:(model|KV|RS|output|compute) )?buffer size\s*=\s*([0-9.]+) MiB")
_LOADED = re.compile(r"model loaded")


@dataclass(frozen=True, slots=True)
class UsedDevice:
    """A device that the server chose: ``CUDA0``, the card's name, its PCI address (empty when not told)."""

    backend: str
    name: str
    pci: str


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory that the server reserved on a device for one part: ``model``, ``KV``, ``compute``."""

    device: str
    part: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Offload:
    """The log's statements; ``layers`` is None when it tells of no offload."""

    layers: tuple[int, int] | None
    devices: tuple[UsedDevice, ...]
    buffers: tuple[Buffer, ...]

    @property
    def cuda_bytes(self) -> int:
        """All that was reserved on CUDA devices; pinned host memory (``CUDA_Host``) is none of it."""
        return sum(one.size_bytes for one in self.buffers if re.fullmatch(r"CUDA\d+", one.device))


def read_log(text: str) -> Offload:
    """Read the lines of one start."""
    layers = _LAYERS.search(text)
    return Offload(
        layers=(int(layers.group(1)), int(layers.group(2))) if layers else None,
        devices=tuple(
            UsedDevice(backend, name, pci if ":" in pci else "")
            for backend, name, pci in _USING.findall(text)
        ),
        buffers=tuple(
            Buffer(device, part or "model", round(float(size) * MIB))
            for device, part, size in _BUFFER.findall(text)
        ),
    )


def load_seconds(log: tuple[tuple[float, str], ...]) -> float | None:
    """Seconds from the service's start to the loaded model; None when the log does not tell."""
    return next((seconds for seconds, line in log if _LOADED.search(line)), None)
