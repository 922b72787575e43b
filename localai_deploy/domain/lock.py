"""The lock of a conda environment: exactly which packages, by hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Variant = Literal["cpu", "cuda12", "cuda13"]
"""What a runtime computes on; of CUDA its major version."""


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package: ``url`` is below the channel's base, ``sha256`` is the archive's."""

    name: str
    version: str
    build: str
    subdir: str
    url: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class EnvironmentLock:
    """All packages of one environment in one variant, ordered by name.

    :param channel: the conda channel that they come from; empty: each ``url`` is an archive's whole address.
    """

    variant: Variant
    platform: str
    channel: str
    packages: tuple[LockedPackage, ...]

    @property
    def from_archives(self) -> bool:
        """The packages are a release's archives, and no conda channel's."""
        return not self.channel

    @property
    def digest(self) -> str:
        """SHA-256 over what is installed, independent of where it is fetched from."""
        identity = [[p.name, p.version, p.build, p.subdir, p.sha256] for p in self.packages]
        return hashlib.sha256(json.dumps([self.variant, self.platform, identity]).encode()).hexdigest()

    @property
    def download_bytes(self) -> int:
        """Sum of the archives' sizes."""
        return sum(package.size_bytes for package in self.packages)

    def package(self, name: str) -> LockedPackage | None:
        """The package of that name, if it is in the lock."""
        return next((package for package in self.packages if package.name == name), None)

    def to_data(self) -> dict[str, Any]:
        """Plain data, as it is kept in a file and given to the ``conda`` role."""
        data = asdict(self)
        data["packages"] = [asdict(package) for package in self.packages]
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> EnvironmentLock:
        """Inverse of :meth:`to_data`; raises KeyError or TypeError on foreign data."""
        return cls(
            variant=data["variant"],
            platform=data["platform"],
            channel=data["channel"],
            packages=tuple(LockedPackage(**package) for package in data["packages"]),
        )
