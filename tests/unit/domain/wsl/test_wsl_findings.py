"""What speaks against a deployment on WSL, and what does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from localai_deploy.domain.connection import parse_destination
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.gpu.nvidia_facts import PackageVersion
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.preflight import preflight
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.domain.spec import host_spec
from localai_deploy.domain.wsl.facts import WindowsSettings, WslFacts
from localai_deploy.domain.wsl.findings import windows_access

CASES = Path(__file__).parents[3] / "golden" / "cases"
SPEC = host_spec(
    "box",
    parse_destination("admin@box"),
    resolve_settings([{"localai_models": Sourced(("hf:O/R/m.gguf",), "test")}]),
)
READY = HostFacts.from_data(json.loads((CASES / "card-wsl" / "facts.json").read_text()))
PROFILE = "/mnt/c/Users/ann/.wslconfig"


def findings(facts: HostFacts) -> dict[str, Finding]:
    return {one.finding_id: one for one in preflight(SPEC, facts)}


def with_packages(*names: str) -> HostFacts:
    nvidia = replace(READY.nvidia, packages=tuple(PackageVersion(name, "1") for name in names))
    return replace(READY, nvidia=nvidia)


def test_a_ready_distribution_has_nothing_against_it() -> None:
    assert findings(READY) == {}


@pytest.mark.parametrize(
    "package",
    [
        *("libcuda1", "nvidia-driver", "nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "nvidia-smi"),
        *("nvidia-driver-580-open", "libnvidia-compute-580-server", "nvidia-utils-580", "nvidia-dkms-580"),
        *(
            "linux-modules-nvidia-580-generic",
            "cuda-drivers",
            "cuda-drivers-580",
            "nvidia-open",
            "libnvidia-ml1",
        ),
    ],
)
def test_a_linux_driver_is_refused_also_where_the_card_is_hidden_by_it(package: str) -> None:
    seen = findings(replace(with_packages(package), kernel="6.6.87.2-microsoft-standard-WSL2"))["wsl-driver"]
    assert seen.severity is Severity.BLOCKER
    assert f"sudo apt-get purge {package};" in seen.hint
    hidden = replace(with_packages(package).nvidia, cards=(), module_version="")
    assert "wsl-driver" in findings(replace(READY, nvidia=hidden))


@pytest.mark.parametrize(
    "package", ["nvidia-cuda-toolkit", "nvidia-container-toolkit", "libnvidia-container1", "nvidia-modprobe"]
)
def test_toolkits_may_stay(package: str) -> None:
    assert findings(with_packages(package)) == {}


def test_a_driver_is_no_trouble_elsewhere() -> None:
    assert "wsl-driver" not in findings(
        replace(with_packages("libcuda1"), wsl=WslFacts(), virtualization="none")
    )


def test_without_systemd_it_is_switched_on_and_then_a_restart_is_waited_for() -> None:
    off = replace(READY, systemd_running=False, wsl=WslFacts(version=2, distribution="Debian"))
    (seen,) = findings(off).values()
    assert (seen.finding_id, seen.severity) == ("wsl-systemd-off", Severity.WARNING)
    assert "wsl.exe --terminate Debian " in seen.hint
    (seen,) = findings(replace(off, wsl=replace(off.wsl, systemd_wanted=True))).values()
    assert (seen.finding_id, seen.severity) == ("wsl-restart-needed", Severity.BLOCKER)


def test_without_systemd_installed_nothing_is_switched() -> None:
    none = replace(READY, systemd_running=False, systemd_version=0, wsl=WslFacts(version=2))
    assert list(findings(none)) == ["systemd-missing"]


def test_wsl_1_is_refused() -> None:
    first = replace(READY, systemd_running=False, wsl=WslFacts(version=1, distribution="Debian"))
    (seen,) = findings(first).values()
    assert (seen.finding_id, seen.hint) == ("wsl-version-1", "in Windows: wsl.exe --set-version Debian 2")


def test_a_store_on_a_windows_drive_is_refused() -> None:
    wsl = replace(READY.wsl, on_windows={"/var/lib/localai-deploy/models": "/mnt/d"})
    (seen,) = findings(replace(READY, wsl=wsl)).values()
    assert (seen.finding_id, seen.severity) == ("wsl-windows-drive", Severity.BLOCKER)
    assert "/mnt/d" in seen.what


@pytest.mark.parametrize(
    ("windows", "reached"),
    [
        (WindowsSettings(), True),
        (WindowsSettings(PROFILE, networking_mode="mirrored", localhost_forwarding=False), True),
        (WindowsSettings(PROFILE, localhost_forwarding=False), False),
        (WindowsSettings(PROFILE, networking_mode="none"), False),
        (WindowsSettings(PROFILE, networking_mode="bridged"), False),
    ],
)
def test_how_windows_reaches_the_api(windows: WindowsSettings, reached: bool) -> None:
    wsl = replace(READY.wsl, windows=windows)
    assert [one.severity for one in findings(replace(READY, wsl=wsl)).values()] == (
        [] if reached else [Severity.WARNING]
    )
    access = windows_access(wsl, 8080)
    assert access == (
        {
            "endpoint": "http://localhost:8080/v1",
            "key_command": "wsl.exe -d Debian -u root cat /etc/localai-deploy/api-key",
        }
        if reached
        else {}
    )


def test_elsewhere_there_is_no_windows_to_reach_it() -> None:
    assert windows_access(WslFacts(), 8080) == {}


@pytest.mark.parametrize("path", ["/etc", "/tmp", "/usr", "/var"])
def test_a_full_disk_below_the_system_blocks(path: str) -> None:
    facts = replace(READY, free_bytes={**READY.free_bytes, path: 4096})
    (seen,) = findings(facts).values()
    assert (seen.finding_id, seen.severity) == ("no-space", Severity.BLOCKER)
    assert seen.what == f"{path} on box has 4.0 KiB free"


def test_half_installed_packages_block_unless_somebody_is_installing() -> None:
    broken = replace(READY, packages_broken="grub-pc")
    (seen,) = findings(broken).values()
    assert (seen.finding_id, seen.severity, seen.why) == ("packages-broken", Severity.BLOCKER, "grub-pc")
    assert list(findings(replace(broken, apt_locked=True))) == ["apt-lock"]
