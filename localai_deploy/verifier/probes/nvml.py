"""NVML (``libnvidia-ml.so.1``): cards, their memory by process, utilisation, energy, and versions.

Functions, structures and units: NVIDIA's NVML API reference.
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any

from localai_deploy.verifier.probes.libraries import CallFailed, call, code_of, load, path_of, text_of

NOT_AVAILABLE = (1 << 64) - 1
"""Memory of a process where the platform does not tell it (Windows' display model, so WSL)."""
MOST_PROCESSES = 1024


class _PciInfo(ctypes.Structure):
    _fields_ = [
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("pci_device_id", ctypes.c_uint),
        ("pci_subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    ]


class _Memory(ctypes.Structure):
    _fields_ = [
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _ProcessOld(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_uint), ("used", ctypes.c_ulonglong)]


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


_PROCESS_LISTS = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", _Process),
    ("nvmlDeviceGetComputeRunningProcesses_v2", _Process),
    ("nvmlDeviceGetComputeRunningProcesses", _ProcessOld),
)


class Nvml:
    """An initialised NVML; use it in a ``with``.

    :raises CallFailed: no library, no driver, or versions that do not fit (error 18).
    """

    def __init__(self, names: list[str]) -> None:
        self._library = load(names)

    def __enter__(self) -> Nvml:
        call(self._library, "nvmlInit_v2")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code_of(self._library, "nvmlShutdown")

    def driver_version(self) -> str:
        """The loaded driver's version, as the kernel module told it."""
        return text_of(self._library, "nvmlSystemGetDriverVersion", size=80)

    def handles(self) -> list[ctypes.c_void_p]:
        """Every card that NVML shows."""
        count = ctypes.c_uint()
        call(self._library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        return [self._handle(index) for index in range(count.value)]

    def identity(self, handle: ctypes.c_void_p) -> dict[str, Any]:
        """``uuid``, ``name``, ``pci`` (``00000000:01:00.0``), ``ids`` (``10de:2684``), ``memory_bytes``."""
        pci, memory = _PciInfo(), _Memory()
        call(self._library, "nvmlDeviceGetPciInfo_v3", handle, ctypes.byref(pci))
        call(self._library, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        return {
            "uuid": self.uuid(handle),
            "name": text_of(self._library, "nvmlDeviceGetName", handle),
            "pci": pci.bus_id.decode("ascii", "replace").lower(),
            "ids": f"{pci.pci_device_id & 0xFFFF:04x}:{pci.pci_device_id >> 16:04x}",
            "memory_bytes": memory.total,
            "used_bytes": memory.used,
        }

    def uuid(self, handle: ctypes.c_void_p) -> str:
        """``GPU-…``."""
        return text_of(self._library, "nvmlDeviceGetUUID", handle)

    def processes(self, handle: ctypes.c_void_p) -> list[dict[str, Any]]:
        """Processes that compute on the card; ``bytes`` is None where the platform does not tell."""
        for name, structure in _PROCESS_LISTS:
            try:
                return self._processes(handle, name, structure)
            except CallFailed as error:
                reason = error
        raise reason

    def used_bytes(self, handle: ctypes.c_void_p) -> int:
        """Memory of the card that is in use, whoever uses it."""
        memory = _Memory()
        call(self._library, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        return int(memory.used)

    def energy_mj(self, handle: ctypes.c_void_p) -> int | None:
        """Millijoules since the driver was loaded; None before Volta."""
        value = ctypes.c_ulonglong()
        name = "nvmlDeviceGetTotalEnergyConsumption"
        return None if self._fails(name, handle, value) else int(value.value)

    def power_mw(self, handle: ctypes.c_void_p) -> int | None:
        """Board power now or over the last second, in milliwatts; None where the card has no sensor."""
        value = ctypes.c_uint()
        return None if self._fails("nvmlDeviceGetPowerUsage", handle, value) else int(value.value)

    def utilisation(self, handle: ctypes.c_void_p) -> int | None:
        """Per cent of the last sample period (1/6 to 1 s) in which a kernel ran."""
        value = _Utilization()
        return None if self._fails("nvmlDeviceGetUtilizationRates", handle, value) else int(value.gpu)

    def _handle(self, index: int) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        call(self._library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
        return handle

    def _fails(self, name: str, handle: ctypes.c_void_p, value: Any) -> bool:  # noqa: ANN401
        try:
            call(self._library, name, handle, ctypes.byref(value))
        except CallFailed:
            return True
        return False

    def _processes(self, handle: ctypes.c_void_p, name: str, structure: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        count = ctypes.c_uint(MOST_PROCESSES)
        found = (structure * MOST_PROCESSES)()
        call(self._library, name, handle, ctypes.byref(count), found)
        return [
            {"pid": one.pid, "bytes": None if one.used == NOT_AVAILABLE else one.used}
            for one in found[: count.value]
        ]


def read(names: list[str]) -> dict[str, Any]:
    """Versions and cards; ``error`` says why there are none.

    The library tells its own version (``12.550.163.01``) also where it does not fit the module.
    """
    found: dict[str, Any] = {
        "error": "",
        "library_version": "",
        "driver_version": "",
        "file": "",
        "cards": [],
    }
    try:
        library = load(names)
        found["file"] = path_of("libnvidia-ml.so")
        found["library_version"] = text_of(library, "nvmlSystemGetNVMLVersion", size=80)
        with Nvml(names) as nvml:
            found["driver_version"] = nvml.driver_version()
            found["cards"] = [nvml.identity(handle) for handle in nvml.handles()]
    except CallFailed as error:
        found["error"] = str(error)
    return found
