"""What speaks against a deployment on a host that is WSL, from facts alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from localai_deploy.domain import paths
from localai_deploy.domain.deployment import Deployment
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.spec import HostSpec
from localai_deploy.domain.units import format_bytes
from localai_deploy.domain.wsl.facts import MIRRORED, NAT, WslFacts

MEMORY_RESERVE = 1.25
"""The system, the runtime and a small context beside the weights: a rule of thumb."""
_DRIVER_PACKAGES = re.compile(
    r"libcuda1|libnvidia-(compute|ml1|gl|cfg1|decode|encode|extra|fbc1).*|cuda-drivers.*|nvidia-smi|nvidia-open.*"
    r"|nvidia-(driver|kernel|dkms|utils|compute-utils|firmware|headless|tesla|legacy).*"
    r"|linux-(modules|objects|signatures)-nvidia-.*|xserver-xorg-video-nvidia.*"
)
"""Debian's, Ubuntu's and NVIDIA's packages that bring a Linux driver or its libraries; toolkits may stay.

NVIDIA's guide for WSL: https://docs.nvidia.com/cuda/wsl-user-guide.
"""


def wsl_findings(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    """Everything about WSL that is known before models are looked up; nothing on other hosts."""
    if facts.wsl.version:
        yield from _version(spec.name, facts.wsl)
        yield from _restart(spec.name, facts)
        yield from _drivers(spec.name, facts)
        yield from _places(spec.name, facts.wsl)
        yield from _networking(spec.name, facts.wsl)


def tells_of_systemd(facts: HostFacts) -> bool:
    """Whether a finding about WSL already says why systemd does not run, and what to do."""
    return facts.wsl.version == 1 or switches_systemd_on(facts) or needs_restart(facts)


def switches_systemd_on(facts: HostFacts) -> bool:
    """Whether ``/etc/wsl.conf`` is what keeps systemd from running."""
    return (
        facts.wsl.version == 2
        and not facts.systemd_running
        and not facts.wsl.systemd_wanted
        and facts.systemd_version > 0
    )


def needs_restart(facts: HostFacts) -> bool:
    """Whether systemd is switched on and the distribution runs without it all the same."""
    return bool(facts.wsl.version == 2 and facts.wsl.systemd_wanted and not facts.systemd_running)


def wsl_memory(deployment: Deployment, facts: HostFacts, fit: PlannedFit | None) -> Iterator[Finding]:
    """Whether what Windows gives WSL holds what the model has in main memory."""
    served, windows = deployment.models[0], facts.wsl.windows
    need_bytes = fit.devices[-1].total_bytes if fit else int(served.size_bytes * MEMORY_RESERVE)
    if not facts.wsl.version or need_bytes <= facts.memory_bytes:
        return
    said = f"{windows.path} says memory={windows.memory}" if windows.memory else "half of what Windows has"
    yield Finding(
        "wsl-memory",
        Severity.WARNING,
        f"WSL gives {deployment.spec.name} {format_bytes(facts.memory_bytes)} of memory, "
        f"{served.file_name} wants {format_bytes(need_bytes)}",
        f"{said}; Windows keeps the rest for itself",
        f"write memory=… under [wsl2] into {windows.path or _PROFILE_FILE},\n"
        "then in Windows: wsl.exe --shutdown",
    )


_PROFILE_FILE = "%UserProfile%\\.wslconfig (in Windows)"


def _version(name: str, wsl: WslFacts) -> Iterator[Finding]:
    if wsl.version == 1:
        yield Finding(
            "wsl-version-1",
            Severity.BLOCKER,
            f"{name} is WSL 1",
            "it has no kernel of its own: neither systemd nor a card works there",
            f"in Windows: wsl.exe --set-version {wsl.distribution or 'DISTRIBUTION'} 2",
        )


def _restart(name: str, facts: HostFacts) -> Iterator[Finding]:
    if needs_restart(facts):
        yield Finding(
            "wsl-restart-needed",
            Severity.BLOCKER,
            f"{name} has to be restarted by Windows",
            "/etc/wsl.conf switches systemd on, and WSL reads that file only when it starts a distribution",
            restart_advice(facts.wsl),
        )
    elif switches_systemd_on(facts):
        yield Finding(
            "wsl-systemd-off",
            Severity.WARNING,
            f"systemd does not run on {name}: step prepare switches it on in /etc/wsl.conf and ends the run",
            "WSL reads that file only when it starts a distribution",
            restart_advice(facts.wsl),
        )


def restart_advice(wsl: WslFacts) -> str:
    """How a person restarts the distribution, and what else that ends."""
    return (
        f"in Windows: wsl.exe --terminate {wsl.distribution or 'DISTRIBUTION'} (it ends everything that "
        "runs in it),\nopen it again, then run the same command"
    )


def _drivers(name: str, facts: HostFacts) -> Iterator[Finding]:
    names = (one.package for one in facts.nvidia.packages)
    packages = [name for name in names if _DRIVER_PACKAGES.fullmatch(name)]
    if packages:
        yield Finding(
            "wsl-driver",
            Severity.BLOCKER,
            f"{name} is WSL and has Linux packages of the driver: {', '.join(packages)}",
            "they hide the libraries of Windows' own driver",
            f"sudo apt-get purge {' '.join(packages)}; the driver belongs on Windows only",
        )


def _places(name: str, wsl: WslFacts) -> Iterator[Finding]:
    for path, drive in wsl.on_windows.items():
        yield Finding(
            "wsl-windows-drive",
            Severity.BLOCKER,
            f"{path} of {name} lies on Windows' drive {drive}",
            "files there are read through Windows, many times slower, and have no owner of Linux",
            f"move it to the distribution's own disk: {path} as a plain directory",
        )


def _networking(name: str, wsl: WslFacts) -> Iterator[Finding]:
    if not is_reached_from_windows(wsl):
        windows = wsl.windows
        mode = windows.networking_mode
        off = "localhostForwarding=false" if mode == NAT else f"networkingMode={mode}"
        yield Finding(
            "wsl-networking",
            Severity.WARNING,
            f"Windows will not reach the API of {name}",
            f"{windows.path} says {off}",
            f"write networkingMode={MIRRORED} under [wsl2] there, then in Windows: wsl.exe --shutdown",
        )


def windows_access(wsl: WslFacts, port: int) -> dict[str, str]:
    """Where Windows' own programs find the API of a loopback address, and the command that shows its key.

    Empty when this is no WSL, or Windows does not reach it.
    """
    if not is_reached_from_windows(wsl):
        return {}
    named = f"-d {wsl.distribution} " if wsl.distribution else ""
    return {
        "endpoint": f"http://localhost:{port}/v1",
        "key_command": f"wsl.exe {named}-u root cat {paths.API_KEY_FILE}",
    }


def is_reached_from_windows(wsl: WslFacts) -> bool:
    """Whether Windows' own ``localhost`` leads to a server that listens on the distribution's loopback."""
    windows = wsl.windows
    forwarded = windows.networking_mode == NAT and windows.localhost_forwarding
    return bool(wsl.version) and (forwarded or windows.networking_mode == MIRRORED)
