"""Why an offered driver does not suit a card on a host; nothing to say means that it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from localai_deploy.domain.gpu.card import Card
from localai_deploy.domain.gpu.driver_offer import DriverHost, DriverOffer
from localai_deploy.domain.gpu.driver_version import DriverVersion, parse_driver_version, parse_kernel_release
from localai_deploy.domain.gpu.generation import ONLY_OPEN, KernelModules

SECURE_BOOT = "gpu-secure-boot"
OPEN_NEEDS_NO_OPTION = 545
"""Before this branch the open modules drove GeForce and workstation cards only with an extra option."""
OPEN_IS_DEFAULT = 560
"""From this branch on the vendor prefers the open modules where both suit."""


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """Versions of one branch that are known not to build for kernels from ``kernel`` on."""

    fixed_in: DriverVersion
    kernel: tuple[int, int]
    where: str

    def hits(self, version: DriverVersion, kernel: tuple[int, int]) -> bool:
        """Whether this build would fail."""
        return version.branch == self.fixed_in.branch and version < self.fixed_in and kernel >= self.kernel


KNOWN_FAILURES = (KnownFailure(parse_driver_version("580.159.04"), (7, 1), "void-linux/void-packages#61087"),)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A reason against an offer.

    :param finding_id: what the plan is blocked with where all offers fall for this one.
    :param text: words that follow ``VERSION (SOURCE):``.
    """

    finding_id: str
    text: str

    def __str__(self) -> str:
        return self.text


def misfits(card: Card, host: DriverHost, offer: DriverOffer) -> tuple[Misfit, ...]:
    """Reasons against this offer."""
    return tuple(reason for check in _CHECKS for reason in check(card, host, offer))


def is_untested_kernel(host: DriverHost, offer: DriverOffer) -> bool:
    """Whether the kernel is newer than any that the package says it was built for."""
    kernel = parse_kernel_release(host.kernel)
    return kernel is not None and offer.tested_kernel is not None and kernel > offer.tested_kernel


def _branch(card: Card, host: DriverHost, offer: DriverOffer) -> Iterator[Misfit]:
    del host
    if offer.version.branch < card.first_branch:
        yield Misfit("gpu-no-driver", f"the card needs branch {card.first_branch} or newer")
    if card.last_branch is not None and offer.version.branch > card.last_branch:
        yield Misfit("legacy-gpu", f"branch {card.last_branch} is the last that has the card")


def _modules(card: Card, host: DriverHost, offer: DriverOffer) -> Iterator[Misfit]:
    del host
    if offer.modules not in card.kernel_modules:
        yield Misfit("open-module", f"the card needs the {card.kernel_modules[0]} kernel modules")
    elif _needs_option(card, offer):
        yield Misfit("open-module", "its open modules drive such a card only with an extra option")


def _needs_option(card: Card, offer: DriverOffer) -> bool:
    return (
        offer.modules is KernelModules.OPEN
        and card.kernel_modules != ONLY_OPEN
        and offer.version.branch < OPEN_NEEDS_NO_OPTION
    )


def _libraries(card: Card, host: DriverHost, offer: DriverOffer) -> Iterator[Misfit]:
    del card, host
    if offer.libraries != offer.version:
        yield Misfit(
            "gpu-no-driver",
            f"the libraries beside it are {offer.libraries}, which do not work with other modules",
        )


def _kernel(card: Card, host: DriverHost, offer: DriverOffer) -> Iterator[Misfit]:
    del card
    kernel = parse_kernel_release(host.kernel)
    if kernel is None or offer.signed_for_kernel:
        return
    if not host.has_headers:
        yield Misfit(
            "kernel-floor", f"the headers of Linux {host.kernel}, which it is built with, are not to be had"
        )
    for failure in KNOWN_FAILURES:
        if failure.hits(offer.version, kernel):
            yield Misfit(
                "kernel-floor",
                f"it does not build for Linux {host.kernel} ({failure.where}; fixed in {failure.fixed_in})",
            )


def _runtime(card: Card, host: DriverHost, offer: DriverOffer) -> Iterator[Misfit]:
    del host
    oldest = min(card.cuda_majors, default=0)
    if offer.version.cuda[0] < oldest:
        yield Misfit(
            "gpu-no-driver", f"it runs CUDA {offer.version.cuda[0]} at most, and the runtime needs {oldest}"
        )


def _signature(card: Card, host: DriverHost, offer: DriverOffer) -> Iterator[Misfit]:
    del card
    if host.secure_boot.refuses_ours and not offer.signed_for_kernel:
        why = "Secure Boot is on and would refuse a module that is built on the host"
        yield Misfit(SECURE_BOOT, why)


_CHECKS: tuple[Callable[[Card, DriverHost, DriverOffer], Iterator[Misfit]], ...] = (
    _branch,
    _modules,
    _libraries,
    _runtime,
    _kernel,
    _signature,
)
