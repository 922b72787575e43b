"""Package sources as offers of drivers: what apt lists, and what the releases are known to have.

A source that is not switched on (Debian's non-free, NVIDIA's own) is in no list of apt; for it, and for a
machine that is not there yet, the versions below stand in: of those the branch is what counts, for the role
installs what the source then has of it. Names: Debian's and Ubuntu's archives, NVIDIA's driver installation
guide (compute-only packages).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from localai_deploy.domain.gpu.driver_offer import DriverOffer, PackageSource
from localai_deploy.domain.gpu.driver_version import DriverVersion, parse_driver_version
from localai_deploy.domain.gpu.generation import KernelModules
from localai_deploy.domain.gpu.nvidia_facts import PackageVersion
from localai_deploy.errors import InputError

DISTRIBUTION, NVIDIA = PackageSource.DISTRIBUTION, PackageSource.NVIDIA
OPEN, PROPRIETARY = KernelModules.OPEN, KernelModules.PROPRIETARY
VENDOR_PATH = "/compute/cuda/repos/"
"""Part of the address of NVIDIA's repositories, also of a mirror's."""
TESTED_KERNELS = {"535.309.01": (6, 16), "550.163.01": (6, 15)}
"""Version → newest Linux that Debian's package of it says it was built for."""
_UBUNTU_DKMS = re.compile(r"nvidia-dkms-(\d+)(-server)?(-open)?")
_UBUNTU_SIGNED = re.compile(r"linux-modules-nvidia-(\d+)(-server)?(-open)?-\d.*")
_DEBIAN_PACKAGES = ("libcuda1", "nvidia-smi", "nvidia-persistenced", "nvidia-modprobe", "firmware-nvidia-gsp")


def listed_offers(found: Iterable[PackageVersion]) -> tuple[DriverOffer, ...]:
    """Offers among the packages that apt lists; a version that cannot be read is left out."""
    rows = tuple(found)
    return tuple(offer for row in rows if (offer := _offer(row, rows)))


def assumed_offers(os_id: str, os_version: str, listed: Iterable[DriverOffer]) -> tuple[DriverOffer, ...]:
    """Offers of sources that are not switched on yet: those of which apt lists none."""
    switched_on = {offer.source for offer in listed}
    rows = _ASSUMED.get((os_id, os_version), ())
    return tuple(offer for offer in rows if offer.source not in switched_on)


def packages_of(offer: DriverOffer, os_id: str) -> tuple[str, ...]:
    """What apt is asked for: modules, libraries for computing, nvidia-smi, persistence; no display parts."""
    if offer.source is PackageSource.HOST:
        return ()
    if offer.source is NVIDIA:
        library = "nvidia-driver-cuda" if os_id == "debian" else "libnvidia-compute"
        return (offer.package, library, "nvidia-modprobe")
    if os_id == "debian":
        return (offer.package, *_DEBIAN_PACKAGES)
    return _ubuntu_packages(offer.package)


def _ubuntu_packages(package: str) -> tuple[str, ...]:
    built, signed = _UBUNTU_DKMS.fullmatch(package), _UBUNTU_SIGNED.fullmatch(package)
    match = built or signed
    assert match is not None, package  # noqa: S101 - only such packages become offers
    branch, server, is_open = match[1], match[2] or "", match[3] or ""
    headless = "nvidia-headless" if built else "nvidia-headless-no-dkms"
    tools = (f"nvidia-utils-{branch}{server}", f"nvidia-compute-utils-{branch}{server}", "nvidia-modprobe")
    return (package, f"{headless}-{branch}{server}{is_open}", *tools)


def _offer(row: PackageVersion, rows: tuple[PackageVersion, ...]) -> DriverOffer | None:
    source = NVIDIA if VENDOR_PATH in row.source else DISTRIBUTION
    kind = _kind(row.package)
    if kind is None:
        return None
    modules, library, signed = kind
    libraries = list(_versions(rows, library, source))
    of_modules = _version(row.version)
    version = max(libraries, default=None) if signed else of_modules
    if version is None or not libraries:
        return None
    return DriverOffer(
        source,
        row.package,
        modules,
        version,
        libraries=version if version in libraries else max(libraries),
        tested_kernel=TESTED_KERNELS.get(str(version)),
        signed_for_kernel=signed,
    )


def _kind(package: str) -> tuple[KernelModules, tuple[str, ...], bool] | None:
    """Variant of a modules package, the packages that may bring its libraries, whether it is signed."""
    if package in {"nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "nvidia-kernel-open-dkms"}:
        return (OPEN if "open" in package else PROPRIETARY), ("libcuda1", "nvidia-driver-cuda"), False
    if package in {"nvidia-dkms", "nvidia-dkms-open"}:
        return (OPEN if "open" in package else PROPRIETARY), ("libnvidia-compute",), False
    match = _UBUNTU_DKMS.fullmatch(package) or _UBUNTU_SIGNED.fullmatch(package)
    if match is None:
        return None
    library = f"libnvidia-compute-{match[1]}{match[2] or ''}"
    return (OPEN if match[3] else PROPRIETARY), (library,), package.startswith("linux-modules-")


def _versions(
    rows: Iterable[PackageVersion], names: tuple[str, ...], source: PackageSource
) -> Iterator[DriverVersion]:
    for row in rows:
        is_of_source = (VENDOR_PATH in row.source) == (source is NVIDIA)
        if row.package in names and is_of_source and (version := _version(row.version)):
            yield version


def _version(text: str) -> DriverVersion | None:
    try:
        return parse_driver_version(text)
    except InputError:
        return None


def _assumed(
    source: PackageSource, package: str, modules: KernelModules, version: str, libraries: str = ""
) -> DriverOffer:
    found, beside = parse_driver_version(version), parse_driver_version(libraries or version)
    return DriverOffer(source, package, modules, found, beside, TESTED_KERNELS.get(version))


_VENDOR_DEBIAN = (
    _assumed(NVIDIA, "nvidia-kernel-dkms", PROPRIETARY, "580.95.05"),
    _assumed(NVIDIA, "nvidia-kernel-open-dkms", OPEN, "580.95.05"),
)
_VENDOR_UBUNTU = (
    _assumed(NVIDIA, "nvidia-dkms", PROPRIETARY, "580.95.05"),
    _assumed(NVIDIA, "nvidia-dkms-open", OPEN, "580.95.05"),
)
_UBUNTU = tuple(
    _assumed(DISTRIBUTION, f"nvidia-dkms-{branch}-server{suffix}", modules, version)
    for branch, version in ((535, "535.274.02"), (570, "570.195.03"), (580, "580.95.05"))
    for suffix, modules in (("", PROPRIETARY), ("-open", OPEN))
)
_ASSUMED: dict[tuple[str, str], tuple[DriverOffer, ...]] = {
    ("debian", "12"): (
        _assumed(DISTRIBUTION, "nvidia-kernel-dkms", PROPRIETARY, "535.309.01"),
        _assumed(DISTRIBUTION, "nvidia-open-kernel-dkms", OPEN, "535.261.03", "535.309.01"),
        *_VENDOR_DEBIAN,
    ),
    ("debian", "13"): (
        _assumed(DISTRIBUTION, "nvidia-kernel-dkms", PROPRIETARY, "550.163.01"),
        _assumed(DISTRIBUTION, "nvidia-open-kernel-dkms", OPEN, "550.163.01"),
        *_VENDOR_DEBIAN,
    ),
    ("ubuntu", "22.04"): (*_UBUNTU, *_VENDOR_UBUNTU),
    ("ubuntu", "24.04"): (*_UBUNTU, *_VENDOR_UBUNTU),
}
