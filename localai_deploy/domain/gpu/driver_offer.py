"""What the package sources of a host offer, and what a host is for the choice of a driver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from localai_deploy.domain.gpu.driver_version import DriverVersion
from localai_deploy.domain.gpu.generation import KernelModules


class PackageSource(StrEnum):
    """Where driver packages come from; the order is the order of preference.

    ``host``: a driver that somebody else put there, and that is loaded; it is left as it is.
    """

    HOST = "host"
    DISTRIBUTION = "distribution"
    NVIDIA = "nvidia"


class SecureBoot(StrEnum):
    """What ``mokutil --sb-state`` and ``--test-key`` tell."""

    OFF = "off"
    ON = "on"
    ON_KEY_ENROLLED = "on, and our module key is enrolled"

    @property
    def refuses_ours(self) -> bool:
        """Whether a module that is built on the host would not be loaded."""
        return self is SecureBoot.ON


@dataclass(frozen=True, slots=True)
class DriverOffer:
    """One variant of the kernel modules in one version, as a source offers it to this host.

    :param package: the package that brings the modules.
    :param libraries: version of the libraries that the same source would install beside them.
    :param tested_kernel: newest Linux that the package says it was built for; ``None``: it says nothing.
    :param signed_for_kernel: built and signed by the distribution for the running kernel (no DKMS).
    """

    source: PackageSource
    package: str
    modules: KernelModules
    version: DriverVersion
    libraries: DriverVersion
    tested_kernel: tuple[int, int] | None = None
    signed_for_kernel: bool = False


@dataclass(frozen=True, slots=True)
class DriverHost:
    """A host as the choice of its driver sees it.

    :param name: for messages.
    :param os_name: ``Debian 12``, for messages.
    :param kernel: the running kernel, ``uname -r``.
    :param offers: of all package sources that it may use, in any order.
    :param has_headers: the running kernel's headers are there, or to be had from a package source.
    """

    name: str
    os_name: str
    kernel: str
    secure_boot: SecureBoot
    offers: tuple[DriverOffer, ...]
    has_headers: bool = True
