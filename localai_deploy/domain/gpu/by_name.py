"""Cards by the names people use: ``RTX 3090``, ``rtx3060 12gb``, ``A100-PCIE-40GB``."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from localai_deploy.domain.gpu.card import Card
from localai_deploy.domain.gpu.catalogue import FIGURES, card_of
from localai_deploy.domain.gpu.figures import GIB
from localai_deploy.domain.gpu.pci_id import NVIDIA, PciId
from localai_deploy.errors import InputError

_LEFT_OUT = re.compile(r"nvidia|geforce|generation|[^a-z0-9]")
_SIZE = re.compile(r"[\s:]+([0-9]{1,3})\s*gi?b$", re.I)


@dataclass(frozen=True, slots=True)
class NamedCard:
    """A card by name, with the memory meant.

    :param other_sizes: with which it was sold too, in bytes.
    """

    card: Card
    vram_bytes: int
    other_sizes: tuple[int, ...]


def card_named(text: str) -> NamedCard:
    """Find the card that is called ``text``; a size behind it chooses among those it was sold with.

    Without one the size under most PCI ids is taken, the smaller of equals.

    :raises InputError: ``gpu-name-unknown``.
    """
    names = _names(text)
    size = _SIZE.search(text)
    wanted = 0
    if not names and size:
        names, wanted = _names(text[: size.start()]), int(size[1]) * GIB
    if len(names) != 1:
        raise _unknown(text, names)
    cards = [
        card_of(PciId(NVIDIA, device)) for device, figures in FIGURES.items() if figures.name == names[0]
    ]
    sizes = Counter(choice for card in cards for choice in card.figures.vram_choices)
    if not sizes or (wanted and wanted not in sizes):
        sold = ", ".join(f"{one // GIB} GiB" for one in sorted(sizes)) or "no known size"
        raise InputError("gpu-name-unknown", f"{names[0]} was sold with {sold}", hint="give its PCI id")
    vram = wanted or min(sizes, key=lambda one: (-sizes[one], one))
    return NamedCard(_poorest(cards, vram), vram, tuple(sorted(set(sizes) - {vram})))


def _poorest(cards: Sequence[Card], vram_bytes: int) -> Card:
    """Among cards with that memory, the one with the least known bandwidth."""
    alike = [card for card in cards if vram_bytes in card.figures.vram_choices]
    return min(alike, key=lambda card: (card.figures.bandwidth_gb_s or 1e9, card.pci_id))


def _names(text: str) -> list[str]:
    """Full names that ``text`` may stand for: an exact one, else all that end in it."""
    key = _key(text)
    known = sorted({figures.name for figures in FIGURES.values()})
    exact = [name for name in known if _key(name) == key]
    return exact or [name for name in known if key and _key(name).endswith(key)]


def _key(text: str) -> str:
    return _LEFT_OUT.sub("", text.lower())


def _unknown(text: str, names: Sequence[str]) -> InputError:
    if names:
        why = f"it may be {', '.join(names[:4])}" + (" and others" if len(names) > 4 else "")
        return InputError("gpu-name-unknown", f"{text!r} is several cards", why=why, hint="name one of them")
    by_key = {_key(figures.name): figures.name for figures in FIGURES.values()}
    close = [by_key[key] for key in difflib.get_close_matches(_key(text), by_key, n=3, cutoff=0.6)]
    return InputError(
        "gpu-name-unknown",
        f"no card is called {text!r}",
        why=f"close to it: {', '.join(close)}" if close else "the catalogue has no name like it",
        hint="give a name as nvidia-smi prints it, a PCI id (10de:2204), or --vram 24GiB",
    )
