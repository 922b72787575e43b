"""What a host has of NVIDIA, out of the look's sections."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from localai_deploy.domain.gpu.driver_offer import SecureBoot
from localai_deploy.domain.gpu.nvidia_facts import NvidiaFacts, PackageVersion, nvidia_facts

DEVICES = """\
0000:01:00.0 0x030000 0x10de 0x2204 0x1043 0x87b3 ../../../../bus/pci/drivers/nouveau
0000:01:00.1 0x040300 0x10de 0x1aef 0x1043 0x87b3 ../../../../bus/pci/drivers/snd_hda_intel
0000:02:00.0 0x030200 0x10de 0x1eb8 0x10de 0x12a2
"""
PROPRIETARY = """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8 12:41:17 UTC 2025
GCC version:  gcc version 14.2.0 (Debian 14.2.0-19)
"""
OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)\n"
)
OFFERS = """\
nvidia-kernel-dkms | 535.309.01-1~deb12u1 | http://deb.debian.org/debian-security bookworm-security/non-free amd64 Packages
nvidia-kernel-dkms | 580.95.05-1 | https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64  Packages
linux-headers-6.1.0-40-amd64 | 6.1.153-1 | http://deb.debian.org/debian bookworm/main amd64 Packages
nvidia-graphics-drivers | 535.309.01-1~deb12u1 | http://deb.debian.org/debian bookworm/non-free Sources
"""  # noqa: E501 - as apt prints it


def test_cards_are_functions_that_show_or_compute() -> None:
    facts = nvidia_facts({"nvidia_devices": DEVICES})
    assert facts.cards == ("10de:2204:1043:87b3", "10de:1eb8:10de:12a2")
    assert facts.nouveau
    assert not nvidia_facts({"nvidia_devices": DEVICES.replace("nouveau", "nvidia")}).nouveau


def test_a_host_without_a_card() -> None:
    assert nvidia_facts({}) == NvidiaFacts()


@pytest.mark.parametrize(
    ("module", "version", "kind"),
    [(PROPRIETARY, "550.163.01", "proprietary"), (OPEN, "580.95.05", "open"), ("", "", ""), ("x", "", "")],
)
def test_the_loaded_module(module: str, version: str, kind: str) -> None:
    facts = nvidia_facts({"nvidia_module": module})
    assert (facts.module_version, facts.module_kind) == (version, kind)


def test_what_apt_offers() -> None:
    facts = nvidia_facts({"nvidia_offers": OFFERS})
    debian = "http://deb.debian.org/debian-security bookworm-security/non-free"
    vendor = "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64"
    assert facts.offers == (
        PackageVersion("nvidia-kernel-dkms", "535.309.01-1~deb12u1", debian),
        PackageVersion("nvidia-kernel-dkms", "580.95.05-1", vendor),
    )
    assert facts.headers == "offered"
    assert nvidia_facts({"kernel_headers": "/lib/modules/6/build/Makefile\n"}).headers == "installed"
    assert nvidia_facts({}).headers == ""


@pytest.mark.parametrize(
    ("value", "keys", "expected"),
    [
        ("", "", SecureBoot.OFF),
        ("   0\n", "", SecureBoot.OFF),
        ("   1\n", "", SecureBoot.ON),
        ("   1\n", "/var/lib/dkms/mok.pub is not enrolled\n", SecureBoot.ON),
        ("   1\n", "/var/lib/dkms/mok.pub is already enrolled\n", SecureBoot.ON_KEY_ENROLLED),
    ],
)
def test_secure_boot(value: str, keys: str, expected: SecureBoot) -> None:
    assert nvidia_facts({"secure_boot": value, "secure_boot_keys": keys}).secure_boot is expected


def test_only_what_is_fully_installed_counts() -> None:
    facts = nvidia_facts({"nvidia_packages": "ii |nvidia-smi|550.163.01-2\nrc |nvidia-driver|535-1\n"})
    assert facts.packages == (PackageVersion("nvidia-smi", "550.163.01-2"),)


def test_wsl_tells_cards_by_windows_own_program() -> None:
    facts = nvidia_facts({"dxg": "yes\n", "wsl_cards": "0x268410DE, 560.94\n"})
    assert (facts.cards, facts.module_version, facts.dxg) == (("10de:2684",), "560.94", True)


def test_round_trip_by_json() -> None:
    facts = nvidia_facts({"nvidia_devices": DEVICES, "nvidia_offers": OFFERS, "secure_boot": "1"})
    assert NvidiaFacts.from_data(json.loads(json.dumps(asdict(facts)))) == facts
