"""From a host's facts to the driver of its cards; the plans that follow are golden cases ``card-*``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.gpu.driver_offer import DriverOffer, PackageSource
from localai_deploy.domain.gpu.driver_sources import assumed_offers, listed_offers, packages_of
from localai_deploy.domain.gpu.host_driver import HostDriver, driver_of, gpu_functions
from localai_deploy.domain.gpu.nvidia_facts import NvidiaFacts, PackageVersion
from localai_deploy.domain.plan import Finding

CASES = Path(__file__).parents[3] / "golden" / "cases"
DEBIAN = "http://deb.debian.org/debian bookworm/non-free"
NOBLE = "http://archive.ubuntu.com/ubuntu noble-updates/restricted"
VENDOR = "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64"
RTX_4090, SOUND, RTX_5090 = "10de:2684", "10de:22ba", "10de:2b85"


def facts_of(case: str) -> HostFacts:
    return HostFacts.from_data(json.loads((CASES / case / "facts.json").read_text()))


FRESH = facts_of("card-fresh")
TO_BE = replace(facts_of("fresh-debian13"), kernel="")


def found(facts: HostFacts, planned: tuple[str, ...] = (), wanted: str = "auto") -> HostDriver:
    driver = driver_of("box", facts, planned, wanted)
    assert isinstance(driver, HostDriver), driver
    return driver


def rows(source: str, *names: str) -> tuple[PackageVersion, ...]:
    return tuple(PackageVersion(*name.split("="), source) for name in names)


def summary(offers: tuple[DriverOffer, ...]) -> list[tuple[str, str, str, str]]:
    return [(one.source, one.package, str(one.version), str(one.libraries)) for one in offers]


def test_debians_two_variants_and_their_libraries() -> None:
    listed = rows(
        DEBIAN,
        "nvidia-kernel-dkms=535.309.01-1~deb12u1",
        "nvidia-open-kernel-dkms=535.261.03-1~deb12u1",
        "libcuda1=535.309.01-1~deb12u1",
    )
    assert summary(listed_offers(listed)) == [
        ("distribution", "nvidia-kernel-dkms", "535.309.01", "535.309.01"),
        ("distribution", "nvidia-open-kernel-dkms", "535.261.03", "535.309.01"),
    ]
    assert summary(listed_offers(listed[:1])) == []


def test_one_name_in_two_sources() -> None:
    both = (
        *rows(DEBIAN, "nvidia-kernel-dkms=535.309.01-1", "libcuda1=535.309.01-1"),
        *rows(VENDOR, "nvidia-kernel-dkms=580.95.05-1", "nvidia-driver-cuda=580.95.05-1"),
    )
    assert summary(listed_offers(both)) == [
        ("distribution", "nvidia-kernel-dkms", "535.309.01", "535.309.01"),
        ("nvidia", "nvidia-kernel-dkms", "580.95.05", "580.95.05"),
    ]


def test_modules_that_ubuntu_signed_take_the_libraries_version() -> None:
    listed = rows(
        NOBLE,
        "linux-modules-nvidia-580-server-open-6.8.0-87-generic=6.8.0-87.88+1",
        "nvidia-dkms-580-server-open=580.95.05-0ubuntu0.24.04.2",
        "libnvidia-compute-580-server=580.95.05-0ubuntu0.24.04.2",
    )
    signed, built = listed_offers(listed)
    assert (signed.signed_for_kernel, str(signed.version), signed.modules) == (True, "580.95.05", "open")
    assert packages_of(signed, "ubuntu") == (
        "linux-modules-nvidia-580-server-open-6.8.0-87-generic",
        "nvidia-headless-no-dkms-580-server-open",
        "nvidia-utils-580-server",
        "nvidia-compute-utils-580-server",
        "nvidia-modprobe",
    )
    assert packages_of(built, "ubuntu")[:2] == (
        "nvidia-dkms-580-server-open",
        "nvidia-headless-580-server-open",
    )


def test_sources_that_are_off_are_assumed_from_what_the_release_has() -> None:
    assert {one.source for one in assumed_offers("debian", "13", ())} == {"distribution", "nvidia"}
    listed = listed_offers(rows(DEBIAN, "nvidia-kernel-dkms=535.309.01-1", "libcuda1=535.309.01-1"))
    assert {one.source for one in assumed_offers("debian", "12", listed)} == {"nvidia"}
    assert assumed_offers("fedora", "42", ()) == ()


@pytest.mark.parametrize("version", ["22.04", "24.04"])
def test_every_assumed_offer_has_packages(version: str) -> None:
    for offer in assumed_offers("ubuntu", version, ()):
        assert packages_of(offer, "ubuntu")[0] == offer.package


def test_a_vm_to_be_by_the_ids_that_it_will_have() -> None:
    driver = found(TO_BE, (RTX_4090, SOUND))
    assert driver.cards == (RTX_4090,)
    assert (str(driver.choice.offer.version), driver.choice.cuda_major) == ("550.163.01", 12)
    assert found(TO_BE, (RTX_5090,)).choice.offer.source is PackageSource.NVIDIA
    assert isinstance(driver_of("box", TO_BE, (RTX_5090,), "distribution"), Finding)


def test_a_vm_that_is_up_by_what_is_on_its_bus() -> None:
    assert driver_of("box", facts_of("fresh-debian13"), (RTX_4090,), "auto") is None
    assert found(FRESH, (RTX_4090,)).cards == ("10de:2204:1043:87b3",)


def test_functions_beside_the_gpu_do_not_count() -> None:
    assert gpu_functions((RTX_4090, SOUND, "1002:744c")) == (RTX_4090,)


def test_device_nodes() -> None:
    assert found(FRESH).devices == ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0")
    two = replace(FRESH, nvidia=replace(FRESH.nvidia, cards=(RTX_4090, RTX_4090)))
    assert found(two).devices[2:] == ("/dev/nvidia0", "/dev/nvidia1")
    assert found(facts_of("card-wsl")).devices == ("/dev/dxg",)


def test_two_cards_get_what_both_can_use() -> None:
    mixed = replace(TO_BE, nvidia=NvidiaFacts())
    driver = found(mixed, (RTX_4090, "10de:1b38"))
    assert (driver.choice.offer.modules, driver.choice.cuda_major) == ("proprietary", 12)
    assert isinstance(driver_of("box", mixed, (RTX_5090, "10de:1b38"), "auto"), Finding)
    assert isinstance(driver_of("box", mixed, (RTX_5090, "10de:1b38"), "distribution"), Finding)


def test_wsl_is_never_given_packages() -> None:
    assert found(facts_of("card-wsl")).packages == ()


def test_what_was_installed_stays_while_it_suits() -> None:
    installed = facts_of("card-second-run")
    newer = replace(
        installed,
        nvidia=replace(
            installed.nvidia,
            offers=rows(VENDOR, "nvidia-kernel-open-dkms=580.95.05-1", "nvidia-driver-cuda=580.95.05-1"),
        ),
    )
    assert str(found(newer).choice.offer.version) == "550.163.01"
    other = replace(newer, nvidia=replace(newer.nvidia, cards=(RTX_5090,)))
    assert found(other).choice.offer.source is PackageSource.NVIDIA


def test_a_card_that_is_planned_takes_a_driver() -> None:
    declined = driver_of("box", TO_BE, (RTX_4090,), "none")
    assert isinstance(declined, Finding)
    assert declined.finding_id == "gpu-driver-declined"
    assert driver_of("box", FRESH, (), "none") is None
