"""The choice of a driver; offers are what the releases really had, where nothing else is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localai_deploy.domain.gpu.card import Card
from localai_deploy.domain.gpu.catalogue import card_of
from localai_deploy.domain.gpu.driver_choice import DriverChoice, choose_driver
from localai_deploy.domain.gpu.driver_offer import DriverHost, DriverOffer, PackageSource, SecureBoot
from localai_deploy.domain.gpu.driver_version import parse_driver_version
from localai_deploy.domain.gpu.generation import KernelModules
from localai_deploy.domain.gpu.pci_id import parse_pci_id
from localai_deploy.domain.plan import Finding, Severity

DISTRIBUTION, NVIDIA = PackageSource.DISTRIBUTION, PackageSource.NVIDIA
P40, T4, RTX_3090, RTX_4070_SUPER = "10de:1b38", "10de:1eb8", "10de:2204", "10de:2783"
RTX_5090, GH200, GT_710, CMP_50HX = "10de:2b85", "10de:2342", "10de:128b", "10de:1e09"


def offer(
    version: str,
    modules: str,
    source: PackageSource = DISTRIBUTION,
    *,
    libraries: str = "",
    tested: tuple[int, int] | None = None,
    signed: bool = False,
) -> DriverOffer:
    return DriverOffer(
        source=source,
        package=f"nvidia-{modules}",
        modules=KernelModules(modules),
        version=parse_driver_version(version),
        libraries=parse_driver_version(libraries or version),
        tested_kernel=tested,
        signed_for_kernel=signed,
    )


BOOKWORM = DriverHost(
    "box",
    "Debian 12",
    "6.1.0-40-amd64",
    SecureBoot.OFF,
    (
        offer("535.309.01", "proprietary", tested=(6, 16)),
        offer("535.261.03", "open", libraries="535.309.01", tested=(6, 15)),
        offer("470.256.02", "proprietary", tested=(6, 8)),
    ),
)
TRIXIE = DriverHost(
    "box",
    "Debian 13",
    "6.12.95+deb13-amd64",
    SecureBoot.OFF,
    (
        offer("550.163.01", "proprietary", tested=(6, 15)),
        offer("550.163.01", "open", tested=(6, 15)),
        offer("535.274.02", "proprietary", tested=(6, 16)),
    ),
)
# The vendor's source in the shape that its repository has; the versions are made up.
VENDOR = (
    offer("580.95.05", "proprietary", NVIDIA),
    offer("580.95.05", "open", NVIDIA),
    offer("590.44.01", "proprietary", NVIDIA),
    offer("590.44.01", "open", NVIDIA),
)


def card(pci_id: str) -> Card:
    return card_of(parse_pci_id(pci_id))


def chosen(pci_id: str, host: DriverHost, source: PackageSource | None = None) -> DriverChoice:
    found = choose_driver(card(pci_id), host, source=source)
    assert isinstance(found, DriverChoice), found
    return found


def refused(pci_id: str, host: DriverHost, source: PackageSource | None = None) -> Finding:
    found = choose_driver(card(pci_id), host, source=source)
    assert isinstance(found, Finding), found
    assert found.severity is Severity.BLOCKER
    return found


def with_vendor(host: DriverHost) -> DriverHost:
    return replace(host, offers=(*host.offers, *VENDOR))


def summary(choice: DriverChoice) -> tuple[str, str, str, int]:
    return choice.offer.source, str(choice.offer.version), choice.offer.modules, choice.cuda_major


@pytest.mark.parametrize(
    ("pci_id", "host", "expected"),
    [
        (P40, BOOKWORM, ("distribution", "535.309.01", "proprietary", 12)),
        (T4, BOOKWORM, ("distribution", "535.309.01", "proprietary", 12)),
        (RTX_3090, BOOKWORM, ("distribution", "535.309.01", "proprietary", 12)),
        (P40, TRIXIE, ("distribution", "550.163.01", "proprietary", 12)),
        (RTX_3090, TRIXIE, ("distribution", "550.163.01", "proprietary", 12)),
        (RTX_4070_SUPER, TRIXIE, ("distribution", "550.163.01", "proprietary", 12)),
        (GH200, TRIXIE, ("distribution", "550.163.01", "open", 12)),
        (CMP_50HX, TRIXIE, ("distribution", "550.163.01", "proprietary", 12)),
        (RTX_5090, with_vendor(BOOKWORM), ("nvidia", "590.44.01", "open", 13)),
        (RTX_5090, with_vendor(TRIXIE), ("nvidia", "590.44.01", "open", 13)),
        (RTX_4070_SUPER, with_vendor(BOOKWORM), ("nvidia", "590.44.01", "open", 13)),
        (RTX_3090, with_vendor(TRIXIE), ("distribution", "550.163.01", "proprietary", 12)),
    ],
)
def test_the_driver_that_a_host_gets(
    pci_id: str, host: DriverHost, expected: tuple[str, str, str, int]
) -> None:
    assert summary(chosen(pci_id, host)) == expected


def test_the_vendors_source_where_it_is_asked_for() -> None:
    host = with_vendor(TRIXIE)
    assert summary(chosen(RTX_3090, host, NVIDIA)) == ("nvidia", "590.44.01", "open", 13)
    assert summary(chosen(P40, host, NVIDIA)) == ("nvidia", "580.95.05", "proprietary", 12)


def test_cuda_13_is_kept_from_old_cards() -> None:
    choice = chosen(P40, with_vendor(TRIXIE), NVIDIA)
    assert choice.offer.version.cuda == (13, 0)
    assert (choice.cuda_major, choice.cuda) == (12, (12, 9))
    assert "CUDA 12: later ones leave Pascal out" in choice.reasons


def test_cuda_of_an_older_driver() -> None:
    choice = chosen(RTX_3090, BOOKWORM)
    assert (choice.cuda_major, choice.cuda) == (12, (12, 2))
    assert "CUDA 12: driver 535 runs no newer" in choice.reasons


@pytest.mark.parametrize("host", [BOOKWORM, TRIXIE], ids=["bookworm", "trixie"])
def test_no_rtx_50_from_debian(host: DriverHost) -> None:
    finding = refused(RTX_5090, host)
    assert finding.finding_id == "gpu-no-driver"
    assert "needs branch 570 or newer" in finding.why
    assert "NVIDIA's own package source" in finding.hint
    assert refused(RTX_5090, with_vendor(host), DISTRIBUTION).finding_id == "gpu-no-driver"


def test_a_card_that_came_after_535() -> None:
    assert "needs branch 550 or newer" in refused(RTX_4070_SUPER, BOOKWORM).why


def test_the_open_modules_of_535_are_not_taken_for_geforce() -> None:
    only_open = replace(BOOKWORM, offers=(offer("535.261.03", "open"),))
    assert "only with an extra option" in refused(RTX_3090, only_open).why
    assert summary(chosen(GH200, only_open))[2] == "open"


def test_modules_and_libraries_of_two_versions_do_not_mix() -> None:
    """Debian 12's security updates had newer libraries than its open modules."""
    finding = refused(GH200, BOOKWORM)
    assert "the libraries beside it are 535.309.01" in finding.why


def test_old_cards_never_get_open_modules() -> None:
    only_open = replace(TRIXIE, offers=(offer("550.163.01", "open"),))
    assert "the card needs the proprietary kernel modules" in refused(P40, only_open).why


def test_branches_after_the_last_are_refused() -> None:
    newest_only = replace(TRIXIE, offers=VENDOR[2:])
    assert "branch 580 is the last that has the card" in refused(P40, newest_only).why


def test_a_driver_that_the_runtime_is_too_new_for() -> None:
    old_only = replace(BOOKWORM, offers=(offer("470.256.02", "proprietary"),))
    assert "runs CUDA 11 at most" in refused(P40, old_only).why


def test_cards_that_no_build_runs_on() -> None:
    finding = refused(GT_710, with_vendor(BOOKWORM))
    assert finding.finding_id == "gpu-card-too-old"
    assert "470" in finding.why


def test_a_source_without_offers() -> None:
    assert refused(T4, replace(TRIXIE, offers=())).why == "no package source offers any"


def test_secure_boot_without_a_key() -> None:
    locked = replace(TRIXIE, secure_boot=SecureBoot.ON)
    finding = refused(RTX_3090, locked)
    assert finding.finding_id == "gpu-secure-boot"
    assert "mokutil" in finding.hint


def test_secure_boot_does_not_hide_that_nothing_suits_anyway() -> None:
    assert refused(RTX_5090, replace(TRIXIE, secure_boot=SecureBoot.ON)).finding_id == "gpu-no-driver"


def test_secure_boot_with_an_enrolled_key() -> None:
    choice = chosen(RTX_3090, replace(TRIXIE, secure_boot=SecureBoot.ON_KEY_ENROLLED))
    assert choice.needs_signing
    assert not chosen(RTX_3090, TRIXIE).needs_signing


def test_modules_that_the_distribution_signed() -> None:
    """Ubuntu builds modules for its kernels and signs them."""
    offers = (offer("580.95.05", "open"), offer("570.211.01", "open", signed=True))
    noble = DriverHost("box", "Ubuntu 24.04", "6.8.0-87-generic", SecureBoot.ON, offers)
    choice = chosen(RTX_3090, noble)
    assert str(choice.offer.version) == "570.211.01"
    assert not choice.needs_signing
    assert str(chosen(RTX_3090, replace(noble, secure_boot=SecureBoot.OFF)).offer.version) == "580.95.05"


def test_a_kernel_newer_than_the_package_was_tried_with() -> None:
    newer = replace(TRIXIE, kernel="6.19.3-1-amd64")
    choice = chosen(RTX_3090, newer)
    assert [finding.finding_id for finding in choice.warnings] == ["gpu-kernel-untested"]
    assert "6.15" in choice.warnings[0].why or "6.16" in choice.warnings[0].why
    assert chosen(RTX_3090, with_vendor(newer)).offer.source is NVIDIA
    assert chosen(RTX_3090, TRIXIE).warnings == ()


def test_a_build_that_is_known_to_fail() -> None:
    host = replace(TRIXIE, kernel="7.1.0-amd64", offers=VENDOR[:2])
    assert "does not build for Linux 7.1.0-amd64" in refused(RTX_3090, host).why
    fixed = offer("580.159.04", "open", NVIDIA)
    assert chosen(RTX_3090, replace(host, offers=(*VENDOR[:2], fixed))).offer == fixed
    prebuilt = replace(VENDOR[1], signed_for_kernel=True)
    assert chosen(RTX_3090, replace(host, offers=(prebuilt,))).offer == prebuilt


def test_an_unknown_card_gets_the_newest_open_modules_and_a_warning() -> None:
    choice = chosen("10de:5000", with_vendor(BOOKWORM))
    assert summary(choice) == ("nvidia", "590.44.01", "open", 13)
    assert [finding.finding_id for finding in choice.warnings] == ["gpu-card-unknown"]
    assert refused("10de:5000", TRIXIE).finding_id == "gpu-no-driver"


def test_the_order_of_offers_does_not_matter() -> None:
    host = with_vendor(TRIXIE)
    backwards = replace(host, offers=host.offers[::-1])
    for pci_id in (P40, T4, RTX_3090, RTX_5090, GH200):
        assert chosen(pci_id, host) == chosen(pci_id, backwards)
