"""Solve a runtime's conda environment into a lock. The only importer of rattler."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from localai_deploy.domain.gpu.generation import CudaVersion
from localai_deploy.domain.lock import EnvironmentLock, LockedPackage, Variant
from localai_deploy.errors import LocalaiError

if TYPE_CHECKING:
    from rattler import GenericVirtualPackage

SOLVE_TIMEOUT_S = 120


def solve_environment(
    *,
    channel: str,
    channel_url: str,
    match_spec: str,
    variant: Variant,
    platform: str,
    libc_version: str,
    cuda: CudaVersion | None = None,
) -> EnvironmentLock:
    """Solve ``match_spec`` for a host that is described by ``platform``, ``libc_version`` and ``cuda``.

    :param cuda: newest CUDA that the host's driver and card will run; ``None`` without a card.

    :raises LocalaiError: ``environment-unsolvable`` or ``channel-unreachable``.
    """
    from rattler import Gateway, Subdir, solve
    from rattler.exceptions import GatewayError, SolverError

    try:
        records = asyncio.run(
            solve(
                sources=[channel_url],
                specs=[match_spec],
                gateway=Gateway(),
                platforms=[Subdir(platform), Subdir("noarch")],
                virtual_packages=_virtual_packages(platform, libc_version, cuda),
                timeout=timedelta(seconds=SOLVE_TIMEOUT_S),
            )
        )
    except SolverError as error:
        raise LocalaiError(
            "environment-unsolvable",
            f"no set of packages satisfies {match_spec!r} on {platform}",
            why=str(error).strip(),
            hint=f"look whether {channel_url} has the package for this platform",
        ) from error
    except GatewayError as error:
        raise LocalaiError(
            "channel-unreachable",
            f"conda channel {channel_url} cannot be read",
            why=str(error).strip(),
            hint="check the network, or set localai_mirrors.conda",
        ) from error
    base = f"{channel_url.rstrip('/')}/"
    packages = [
        LockedPackage(
            name=record.name.normalized,
            version=str(record.version),
            build=str(record.build),
            subdir=record.subdir,
            url=str(record.url).removeprefix(base),
            sha256=record.sha256.hex() if record.sha256 else "",
            size_bytes=record.size or 0,
        )
        for record in records
    ]
    return EnvironmentLock(variant, platform, channel, tuple(sorted(packages, key=lambda p: p.name)))


def _virtual_packages(
    platform: str, libc_version: str, cuda: CudaVersion | None
) -> list[GenericVirtualPackage]:
    """What the target offers, set from its facts and never from the controller.

    ``__cuda`` comes from the choice of the driver, as that is not installed yet; without it no CUDA build
    can be chosen.
    """
    from rattler import BuildString, GenericVirtualPackage, PackageName, Version

    architecture = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}[platform]
    offered = [("__unix", "0", "0"), ("__linux", "5.10", "0"), ("__archspec", "1", architecture)]
    if libc_version:
        offered.append(("__glibc", libc_version, "0"))
    if cuda is not None:
        offered.append(("__cuda", f"{cuda[0]}.{cuda[1]}", "0"))
    return [GenericVirtualPackage(PackageName(n), Version(v), BuildString(b)) for n, v, b in offered]
