"""Which driver a host with a card gets: package source, branch, kernel modules; or why none."""

from __future__ import annotations

from dataclasses import dataclass

from localai_deploy.domain.gpu.card import CUDA_MAJORS, Card
from localai_deploy.domain.gpu.driver_fit import (
    OPEN_IS_DEFAULT,
    SECURE_BOOT,
    is_untested_kernel,
    misfits,
)
from localai_deploy.domain.gpu.driver_offer import DriverHost, DriverOffer, PackageSource, SecureBoot
from localai_deploy.domain.gpu.driver_version import DriverVersion
from localai_deploy.domain.gpu.generation import CudaVersion, KernelModules
from localai_deploy.domain.gpu.secure_boot import enrolment_steps
from localai_deploy.domain.plan import Finding, Severity


@dataclass(frozen=True, slots=True)
class DriverChoice:
    """The driver for a host.

    :param cuda_major: major of the runtime's build to install.
    :param cuda: what the solver is told the host has (``__cuda``): the driver's version, or the last toolkit
        that has the card where that is older.
    :param needs_signing: modules are built on the host and signed with its enrolled key.
    :param reasons: why this one, for people.
    """

    offer: DriverOffer
    cuda_major: int
    cuda: CudaVersion
    needs_signing: bool
    reasons: tuple[str, ...]
    warnings: tuple[Finding, ...] = ()


def choose_driver(
    card: Card, host: DriverHost, *, source: PackageSource | None = None
) -> DriverChoice | Finding:
    """The driver that suits, or the blocker.

    :param source: use this package source only.
    """
    if not card.cuda_majors:
        return _too_old(card)
    offers = [offer for offer in host.offers if source in (None, offer.source)]
    suited = [offer for offer in offers if not misfits(card, host, offer)]
    if not suited:
        return _none_suits(card, host, offers, source)
    return _choice(card, host, max(suited, key=lambda offer: _rank(host, offer)))


def _rank(host: DriverHost, offer: DriverOffer) -> tuple[bool, bool, int, DriverVersion, bool]:
    """Tested kernel; signed where that counts; distribution before vendor; newest; favoured variant."""
    signed = offer.signed_for_kernel and host.secure_boot is not SecureBoot.OFF
    preference = -list(PackageSource).index(offer.source)
    favoured = offer.modules is _favoured(offer.version.branch)
    return not is_untested_kernel(host, offer), signed, preference, offer.version, favoured


def _favoured(branch: int) -> KernelModules:
    return KernelModules.OPEN if branch >= OPEN_IS_DEFAULT else KernelModules.PROPRIETARY


def _choice(card: Card, host: DriverHost, offer: DriverOffer) -> DriverChoice:
    by_card = card.cuda.last if card.cuda else None
    cuda = offer.version.cuda if by_card is None else min(offer.version.cuda, by_card)
    major = max(major for major in card.cuda_majors if major <= cuda[0])
    return DriverChoice(
        offer=offer,
        cuda_major=major,
        cuda=cuda,
        needs_signing=host.secure_boot is SecureBoot.ON_KEY_ENROLLED and not offer.signed_for_kernel,
        reasons=_reasons(card, host, offer, major),
        warnings=_warnings(card, host, offer),
    )


def _reasons(card: Card, host: DriverHost, offer: DriverOffer, major: int) -> tuple[str, ...]:
    there = offer.source is PackageSource.HOST
    reasons = [
        f"{offer.version} is loaded" if there else f"{host.os_name} offers {offer.version} ({offer.source})"
    ]
    if card.last_branch is not None:
        reasons.append(f"{card.last_branch} is the last branch for {card.generation}")
    if len(card.kernel_modules) == 1:
        reasons.append(f"{card.generation} needs the {offer.modules} kernel modules")
    elif offer.modules is _favoured(offer.version.branch):
        reasons.append(f"branch {offer.version.branch} prefers the {offer.modules} kernel modules")
    if major < CUDA_MAJORS[-1]:
        newer_fits = CUDA_MAJORS[-1] in card.cuda_majors
        why = (
            f"driver {offer.version.branch} runs no newer"
            if newer_fits
            else f"later ones leave {card.generation} out"
        )
        reasons.append(f"CUDA {major}: {why}")
    return tuple(reasons)


def _warnings(card: Card, host: DriverHost, offer: DriverOffer) -> tuple[Finding, ...]:
    found = []
    if not card.is_known:
        found.append(
            _warning(
                "gpu-card-unknown",
                f"{card.pci_id} on {host.name} is in no list that this program has",
                f"it is given the safe choice: {offer.modules} kernel modules, driver {offer.version}",
                "look at what the verification says before you rely on it",
            )
        )
    if is_untested_kernel(host, offer):
        found.append(
            _warning(
                "gpu-kernel-untested",
                f"driver {offer.version} was not tried with Linux {host.kernel} by its packagers",
                f"the newest that they name is {_dotted(offer.tested_kernel)}",
                "if its module does not build, boot the distribution's own kernel",
            )
        )
    return tuple(found)


def _too_old(card: Card) -> Finding:
    return _blocker(
        "gpu-card-too-old",
        f"{card.name} ({card.generation}) is too old for the runtime",
        f"its last driver branch is {card.last_branch}; CUDA 12 begins with Maxwell",
        "use --gpu none (on a host of its own localai_driver: none), or another card",
    )


def _none_suits(
    card: Card, host: DriverHost, offers: list[DriverOffer], source: PackageSource | None
) -> Finding:
    against = {offer: misfits(card, host, offer) for offer in offers}
    if any([one.finding_id for one in reasons] == [SECURE_BOOT] for reasons in against.values()):
        return _secure_boot(host)
    first = {reasons[0].finding_id for reasons in against.values()}
    said = [f"{offer.version} {offer.modules} ({offer.source}): {why[0]}" for offer, why in against.items()]
    return _blocker(
        first.pop() if len(first) == 1 else "gpu-no-driver",
        f"no driver that {host.os_name} on {host.name} is offered suits {card.name}",
        "; ".join(said) or "no package source offers any",
        _way_out(host, source),
    )


def _way_out(host: DriverHost, source: PackageSource | None) -> str:
    asked = {offer.source for offer in host.offers}
    if PackageSource.HOST in asked:
        return "remove the driver that is there, and reboot; a fitting one is then installed"
    if source is PackageSource.DISTRIBUTION or PackageSource.NVIDIA not in asked:
        return "allow NVIDIA's own package source, or use a newer release of the distribution"
    return "use a newer release of the distribution, or another card"


def _secure_boot(host: DriverHost) -> Finding:
    os_id = host.os_name.split()[0].lower()
    return _blocker(
        "gpu-secure-boot",
        f"Secure Boot is on at {host.name}, and no key for our own modules is enrolled",
        "the driver's module is built on the host; firmware and kernel let only signed modules in",
        f"localai-deploy driver key {host.name} makes the key; {enrolment_steps(os_id)}; then run this "
        "again. Or switch Secure Boot off; new VMs: pre-enrolled-keys=0",
    )


def _blocker(finding_id: str, what: str, why: str = "", hint: str = "") -> Finding:
    return Finding(finding_id, Severity.BLOCKER, what, why, hint)


def _warning(finding_id: str, what: str, why: str = "", hint: str = "") -> Finding:
    return Finding(finding_id, Severity.WARNING, what, why, hint)


def _dotted(version: tuple[int, int] | None) -> str:
    return "" if version is None else f"{version[0]}.{version[1]}"
