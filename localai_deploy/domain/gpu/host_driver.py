"""From what a host is to the driver of its cards: the choice, the packages, what the runtime may count on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.gpu.card import Card
from localai_deploy.domain.gpu.catalogue import FIGURES, card_of
from localai_deploy.domain.gpu.chips import is_other_function
from localai_deploy.domain.gpu.driver_choice import DriverChoice, choose_driver
from localai_deploy.domain.gpu.driver_fit import misfits
from localai_deploy.domain.gpu.driver_offer import DriverHost, DriverOffer, PackageSource
from localai_deploy.domain.gpu.driver_sources import assumed_offers, listed_offers, packages_of
from localai_deploy.domain.gpu.driver_version import parse_driver_version
from localai_deploy.domain.gpu.generation import KernelModules
from localai_deploy.domain.gpu.pci_id import PciId, parse_pci_id
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.errors import InputError

NO_DRIVER = "none"
ANY_SOURCE = "auto"


@dataclass(frozen=True, slots=True)
class HostDriver:
    """The driver of a host's cards.

    :param cards: PCI ids, one a card.
    :param packages: what apt is asked for; empty: the driver that is there is left alone.
    :param is_wsl: Windows has the driver, and ``/dev/dxg`` stands for all cards.
    """

    choice: DriverChoice
    cards: tuple[str, ...]
    packages: tuple[str, ...] = ()
    is_wsl: bool = False

    @property
    def devices(self) -> tuple[str, ...]:
        """Device nodes that the runtime may use."""
        if self.is_wsl:
            return ("/dev/dxg",)
        cards = (f"/dev/nvidia{number}" for number in range(len(self.cards)))
        return ("/dev/nvidiactl", "/dev/nvidia-uvm", *cards)


def gpu_functions(pci_ids: Iterable[str]) -> tuple[str, ...]:
    """Those of NVIDIA's GPUs, without a card's sound and USB functions."""
    return tuple(text for text in pci_ids if _is_gpu(parse_pci_id(text)))


def _is_gpu(pci_id: PciId) -> bool:
    other = is_other_function(pci_id.device) and pci_id.device not in FIGURES
    return pci_id.is_nvidia and not other


def driver_of(
    name: str, facts: HostFacts, planned: Iterable[str], wanted: str
) -> HostDriver | Finding | None:
    """The driver for a host's cards, the finding that none can be had, or ``None`` without a card.

    What was installed before stays for as long as it suits: another version comes by a named action only.


    :param planned: PCI ids of the functions that a VM is to have; they count until it is up.
    :param wanted: ``auto``, ``none``, or the one package source that may be used.
    """
    given = gpu_functions(planned)
    ids = given if not facts.kernel else gpu_functions(facts.nvidia.cards)
    if wanted == NO_DRIVER:
        return _declined(name) if given else None
    if not ids:
        return None
    cards = [card_of(parse_pci_id(one)) for one in ids]
    if not given and not any(card.cuda_majors for card in cards):
        return _unused(name, cards[0])
    choice = _chosen(name, facts, cards, None if wanted == ANY_SOURCE else PackageSource(wanted))
    if isinstance(choice, Finding):
        return choice
    packages = packages_of(choice.offer, facts.os_id)
    return HostDriver(choice, ids, packages, is_wsl=facts.virtualization == "wsl")


def _chosen(
    name: str, facts: HostFacts, cards: list[Card], source: PackageSource | None
) -> DriverChoice | Finding:
    if own := _own(facts):
        return _choose(cards, _driver_host(name, facts, own), None)
    kept = _choose(cards, _driver_host(name, facts, _recorded(facts)), source)
    if isinstance(kept, DriverChoice):
        return kept
    listed = listed_offers(facts.nvidia.offers)
    offers = (*listed, *assumed_offers(facts.os_id, facts.os_version, listed))
    return _choose(cards, _driver_host(name, facts, offers), source)


def _choose(cards: list[Card], host: DriverHost, source: PackageSource | None) -> DriverChoice | Finding:
    """One driver for all cards; the oldest card says up to which CUDA."""
    first, *others = sorted(cards, key=lambda card: (len(card.cuda_majors), card.cuda_majors))
    for card in others:
        if isinstance(alone := choose_driver(card, host, source=source), Finding):
            return alone
    suited = tuple(one for one in host.offers if not any(misfits(card, host, one) for card in others))
    return choose_driver(first, replace(host, offers=suited), source=source)


def _driver_host(name: str, facts: HostFacts, offers: tuple[DriverOffer, ...]) -> DriverHost:
    return DriverHost(
        name=name,
        os_name=f"{facts.os_id.capitalize()} {facts.os_version}",
        kernel=facts.kernel,
        secure_boot=facts.nvidia.secure_boot,
        offers=offers,
        has_headers=not facts.kernel or facts.nvidia.headers != "",
    )


def _own(facts: HostFacts) -> tuple[DriverOffer, ...]:
    """The host's own driver: loaded, and not put there by us."""
    nvidia = facts.nvidia
    if not nvidia.module_version or facts.driver is not None:
        return ()
    version = parse_driver_version(nvidia.module_version)
    kinds = [KernelModules(nvidia.module_kind)] if nvidia.module_kind else list(KernelModules)
    return tuple(
        DriverOffer(PackageSource.HOST, "", kind, version, version, signed_for_kernel=True) for kind in kinds
    )


def _recorded(facts: HostFacts) -> tuple[DriverOffer, ...]:
    """What our role wrote down, as the one offer; nothing where it cannot be read."""
    record = facts.driver
    if not isinstance(record, dict):
        return ()
    try:
        version = parse_driver_version(str(record["version"]))
        source, modules = PackageSource(record["source"]), KernelModules(record["modules"])
        package = str(record["packages"][0])
    except (InputError, ValueError, KeyError, IndexError, TypeError):
        return ()
    signed = package.startswith("linux-modules-")
    return (DriverOffer(source, package, modules, version, version, signed_for_kernel=signed),)


def _declined(name: str) -> Finding:
    return Finding(
        "gpu-driver-declined",
        Severity.BLOCKER,
        f"{name} is given a card, and localai_driver is none",
        "without a driver the runtime would be a build for the CPU",
        "leave localai_driver at auto, or give no card (--gpu none)",
    )


def _unused(name: str, card: Card) -> Finding:
    return Finding(
        "gpu-card-too-old",
        Severity.WARNING,
        f"{card.name} in {name} is not used: it is too old for the runtime",
        "CUDA 12 begins with Maxwell",
        "set localai_driver: none if that is as it should be",
    )
