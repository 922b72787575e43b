"""What a host has of NVIDIA: functions on its bus, the driver, what its package sources offer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.gpu.driver_offer import SecureBoot
from localai_deploy.domain.gpu.generation import KernelModules

_DISPLAY = "0x03"
_WSL_LINE = re.compile(r"0x([0-9A-Fa-f]{4})([0-9A-Fa-f]{4}),\s*(\d{3}(?:\.\d+){1,2})")
_VERSION = re.compile(r"NVRM version:.*?(\d{2,3}(?:\.\d+){1,2})\s")


@dataclass(frozen=True, slots=True)
class PackageVersion:
    """A version of a package.

    :param source: where apt would get it, ``URL SUITE``; empty of what is installed.
    """

    package: str
    version: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class NvidiaFacts:
    """What was seen of NVIDIA on a host; all empty without a card.

    :param cards: PCI ids with subsystem (``10de:2204:1043:87b3``) of functions of class 03, by address.
    :param nouveau: the free driver of the kernel holds a card.
    :param module_version: of the loaded kernel module (on WSL: of Windows' driver); empty: none is loaded.
    :param module_kind: ``open`` or ``proprietary``; empty: none is loaded.
    :param headers: of the running kernel: ``installed``, ``offered``, ``unknown`` (apt has no lists), empty.
    :param packages: installed packages with NVIDIA in their name, and ``libcuda1``.
    :param offers: driver packages that apt knows.
    :param dxg: ``/dev/dxg`` is there, which on WSL stands for the cards.
    """

    cards: tuple[str, ...] = ()
    nouveau: bool = False
    module_version: str = ""
    module_kind: str = ""
    headers: str = ""
    secure_boot: SecureBoot = SecureBoot.OFF
    packages: tuple[PackageVersion, ...] = ()
    offers: tuple[PackageVersion, ...] = ()
    dxg: bool = False

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> NvidiaFacts:
        """Out of decoded JSON; fields may be absent.

        :raises TypeError: a field is unknown.
        """
        values = dict(data)
        values["cards"] = tuple(values.get("cards", ()))
        values["secure_boot"] = SecureBoot(values.get("secure_boot", SecureBoot.OFF))
        for name in ("packages", "offers"):
            values[name] = tuple(PackageVersion(**one) for one in values.get(name, ()))
        return cls(**values)


def nvidia_facts(sections: Mapping[str, str]) -> NvidiaFacts:
    """Out of the sections of ``targets/observe.sh``."""
    functions = [line.split() for line in sections.get("nvidia_devices", "").splitlines()]
    cards = [words for words in functions if len(words) > 3 and words[1].startswith(_DISPLAY)]
    on_bus = tuple(":".join(word.removeprefix("0x") for word in words[2:6]) for words in cards)
    wsl_cards, wsl_version = _wsl(sections.get("wsl_cards", ""))
    module = sections.get("nvidia_module", "")
    version = _VERSION.search(module)
    offers = tuple(_offers(sections.get("nvidia_offers", "")))
    return NvidiaFacts(
        cards=on_bus or wsl_cards,
        nouveau=any(words[-1].endswith("/nouveau") for words in cards),
        module_version=version[1] if version else wsl_version,
        module_kind=_kind(module),
        headers=_headers(sections, offers),
        secure_boot=_secure_boot(sections),
        packages=tuple(_packages(sections.get("nvidia_packages", ""))),
        offers=tuple(one for one in offers if not one.package.startswith("linux-headers-")),
        dxg=bool(sections.get("dxg", "").strip()),
    )


def _kind(module: str) -> str:
    if "NVRM version:" not in module:
        return ""
    return KernelModules.OPEN if "Open Kernel Module" in module else KernelModules.PROPRIETARY


def _headers(sections: Mapping[str, str], offers: tuple[PackageVersion, ...]) -> str:
    if sections.get("kernel_headers", "").strip():
        return "installed"
    if any(one.package.startswith("linux-headers-") for one in offers):
        return "offered"
    return "unknown" if sections.get("apt_lists", "").strip() == "0" else ""


def _secure_boot(sections: Mapping[str, str]) -> SecureBoot:
    if sections.get("secure_boot", "").strip() != "1":
        return SecureBoot.OFF
    enrolled = "is already enrolled" in sections.get("secure_boot_keys", "")
    return SecureBoot.ON_KEY_ENROLLED if enrolled else SecureBoot.ON


def _packages(text: str) -> Iterator[PackageVersion]:
    """Lines ``ii |NAME|VERSION`` of dpkg-query."""
    for line in text.splitlines():
        status, _, rest = line.partition("|")
        name, _, version = rest.partition("|")
        if status.startswith("ii"):
            yield PackageVersion(name, version)


def _offers(text: str) -> Iterator[PackageVersion]:
    """Lines of ``apt-cache madison``, ``NAME | VERSION | URL SUITE/COMPONENT ARCHITECTURE Packages``.

    A flat source has neither suite nor architecture.
    """
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == 3 and parts[2].endswith(" Packages"):
            yield PackageVersion(parts[0], parts[1], " ".join(parts[2].split()[:-1][:2]))


def _wsl(text: str) -> tuple[tuple[str, ...], str]:
    """Lines ``0x268410DE, 560.94`` of Windows' own nvidia-smi: cards and version."""
    found = [match for line in text.splitlines() if (match := _WSL_LINE.fullmatch(line.strip()))]
    cards = tuple(f"{match[2]}:{match[1]}".lower() for match in found)
    return cards, found[0][3] if found else ""
