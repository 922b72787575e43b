"""From what the catalogue of cards says to a card that a model is fitted to."""

from __future__ import annotations

from localai_deploy.domain.fit.wish import Card
from localai_deploy.domain.gpu.by_name import card_named
from localai_deploy.domain.gpu.card import Card as KnownCard
from localai_deploy.domain.gpu.catalogue import card_of
from localai_deploy.domain.gpu.pci_id import parse_pci_id
from localai_deploy.errors import InputError, LocalaiError

_NO_TENSOR_CORES = ("TU116", "TU117")
_FIRST_TENSOR_CORES = (7, 0)


def card_from(text: str) -> Card:
    """Find a card by PCI id or by name.

    :raises InputError: ``gpu-name-unknown``.
    :raises LocalaiError: ``gpu-not-nvidia``, ``gpu-no-card``, ``gpu-memory-unknown``.
    """
    try:
        pci_id = parse_pci_id(text)
    except InputError:
        named = card_named(text)
        return fit_card(named.card, named.vram_bytes)
    return fit_card(card_of(pci_id))


def fit_card(known: KnownCard, vram_bytes: int = 0) -> Card:
    """Take over what is known of a card.

    :param vram_bytes: its real memory; 0: the smallest it was sold with.
    :raises LocalaiError: ``gpu-memory-unknown``.
    """
    memory = vram_bytes or known.vram_bytes
    if not memory:
        raise LocalaiError(
            "gpu-memory-unknown",
            f"the memory of {known.name} is not known",
            hint="give it with --vram, for instance --vram 24GiB",
        )
    capability = known.compute_capability or _FIRST_TENSOR_CORES
    return Card(
        name=known.name,
        memory_bytes=memory,
        multiprocessors=known.figures.sms or 0,
        bandwidth_bytes_s=(known.figures.bandwidth_gb_s or 0) * 1e9,
        stacked_memory=known.chip.endswith("100"),
        tensor_cores=capability >= _FIRST_TENSOR_CORES and known.chip not in _NO_TENSOR_CORES,
    )
