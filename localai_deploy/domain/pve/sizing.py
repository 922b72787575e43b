"""How large a VM must be for what it is to serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localai_deploy.domain.fit.estimate import DeviceNeed
from localai_deploy.domain.fit.machine import Machine, needed_bytes
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.pve.storages import GIB
from localai_deploy.domain.reference import ModelFile

SYSTEM_DISK_BYTES = 3 * GIB
"""What a cloud image's system takes of its disk, generously."""
_KERNEL_SHARE = 1.05
"""A guest's kernel keeps a part of the memory that the VM is given."""
_UNPACKED = 5
"""A conda environment with its archives is at most about five times the archives."""
_FREE = 1.10
"""What stays free of a disk."""


@dataclass(frozen=True, slots=True)
class VmSize:
    """Memory and disk of a VM."""

    memory_mib: int
    disk_gib: int


def size_for(host: DeviceNeed | None, lock: EnvironmentLock, models: Sequence[ModelFile]) -> VmSize:
    """The least size of a VM, in whole GiB.

    :param host: what the served model needs of the host's memory; ``None``: not known, so none is asked for.
    """
    memory = needed_bytes(host, Machine()) * _KERNEL_SHARE if host else 0.0
    files = lock.download_bytes * _UNPACKED + sum(model.size_bytes for model in models)
    return VmSize(_whole_gib(memory) * 1024, _whole_gib(files * _FREE + SYSTEM_DISK_BYTES))


def _whole_gib(size: float) -> int:
    return -int(-size // GIB)
