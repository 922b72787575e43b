"""What the probes ``gpu`` and ``gpu_work`` saw, typed; the shapes are those that they print."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DISPLAY_CLASSES = ("0300", "0302")
_MODULE_VERSION = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+\.\d+(?:\.\d+)?)")
_LIBRARY_VERSION = re.compile(r"^\d+\.(\d+\.\d+(?:\.\d+)?)$")
_FILE_VERSION = re.compile(r"\.so\.(\d+\.\d+(?:\.\d+)?)$")
_PCI = re.compile(r"^(?:[0-9a-f]*([0-9a-f]{4}):)?([0-9a-f]{2}:[0-9a-f]{2})(?:\.[0-9a-f])?$")


@dataclass(frozen=True, slots=True)
class NvmlCard:
    """One card as NVML shows it; ``ids`` is vendor and device (``10de:2684``)."""

    uuid: str
    name: str
    pci: str
    ids: str
    memory_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """One device as CUDA's driver API shows it.

    :param kernel: ``error``, ``words`` that came back, ``wrong`` ones, ``seed``, ``seconds``.
    """

    uuid: str
    pci: str
    name: str
    compute_capability: str
    memory_bytes: int
    kernel: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Library:
    """One of the driver's libraries: why it could not be used, its version as it tells, and its file."""

    error: str
    version: str
    file: str

    @property
    def driver_version(self) -> str:
        """The driver that it belongs to, by its own word or its file's name; empty when neither tells."""
        told = _LIBRARY_VERSION.match(self.version)
        named = _FILE_VERSION.search(self.file)
        return told.group(1) if told else named.group(1) if named else ""


@dataclass(frozen=True, slots=True)
class GpuState:
    """The host's cards.

    :param functions: NVIDIA's PCI functions: ``address``, ``ids``, ``class``, ``driver``.
    :param module: first line of ``/proc/driver/nvidia/version``; empty: no module.
    :param module_cards: PCI address → UUID by the module.
    :param log_error: why the kernel's log cannot be read.
    """

    wsl: bool
    functions: tuple[Mapping[str, str], ...]
    module: str
    module_cards: Mapping[str, str]
    nvml: Library
    cards: tuple[NvmlCard, ...]
    cuda: Library
    devices: tuple[CudaDevice, ...]
    log_error: str
    xids: tuple[Mapping[str, Any], ...]

    @property
    def platform(self) -> str:
        """``wsl`` or ``linux``."""
        return "wsl" if self.wsl else "linux"

    @property
    def module_version(self) -> str:
        """The loaded module's version; empty when none is loaded."""
        found = _MODULE_VERSION.search(self.module)
        return found.group(1) if found else ""

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> GpuState:
        """Read the ``gpu`` probe's evidence; KeyError or TypeError on another shape."""
        nvml, cuda = data["nvml"], data["cuda"]
        return cls(
            wsl=data["wsl"],
            functions=tuple(data["functions"]),
            module=data["module"],
            module_cards=data["module_cards"],
            nvml=Library(nvml["error"], nvml["library_version"], nvml["file"]),
            cards=tuple(NvmlCard(**one) for one in nvml["cards"]),
            cuda=Library(cuda["error"], "", cuda["file"]),
            devices=tuple(CudaDevice(**one) for one in cuda["devices"]),
            log_error=data["log"]["error"],
            xids=tuple(data["log"]["xids"]),
        )


@dataclass(frozen=True, slots=True)
class Span:
    """Cards over ``seconds``: by UUID ``energy_j``, ``power_w``, ``utilisation``, ``processes``."""

    seconds: float
    cards: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class GpuWork:
    """An idle and a busy span, and the service beside them.

    :param pids: the service's processes, the main one first.
    :param libraries: files of CUDA and other GPU libraries that they have mapped; ``devices`` they hold open.
    :param log: seconds since the service's start, and a line of its log that tells of devices.
    """

    error: str
    idle: Span
    busy: Span
    completion: Mapping[str, Any]
    pids: tuple[int, ...]
    libraries: tuple[str, ...]
    devices: tuple[str, ...]
    log_error: str
    log: tuple[tuple[float, str], ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The log's lines without their times."""
        return tuple(line for _, line in self.log)

    def held_bytes(self, uuid: str) -> int | None:
        """The service's memory on a card; None where the platform does not tell it."""
        processes = self.busy.cards.get(uuid, {}).get("processes", {})
        own = [processes[str(pid)] for pid in self.pids if str(pid) in processes]
        return None if None in own else sum(own)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> GpuWork:
        """Read the ``gpu_work`` probe's evidence; KeyError or TypeError on another shape."""
        service = data["service"]
        return cls(
            error=data["error"],
            idle=Span(**data["idle"]),
            busy=Span(**data["busy"]),
            completion=data["completion"],
            pids=tuple(service["pids"]),
            libraries=tuple(service["libraries"]),
            devices=tuple(service["devices"]),
            log_error=service["log"]["error"],
            log=tuple((seconds, line) for seconds, line in service["log"]["lines"]),
        )


def same_slot(one: str, other: str) -> bool:
    """Whether two PCI addresses name the same slot: NVML, CUDA, kernel and log write them differently."""
    return _slot(one) == _slot(other)


def _slot(address: str) -> tuple[str, str]:
    found = _PCI.match(address.lower())
    return (found.group(1) or "0000", found.group(2)) if found else ("", address)
