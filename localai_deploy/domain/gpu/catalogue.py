"""What a PCI id says about a card: its own row where there is one, else the rule of its chip's id run."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from localai_deploy.domain.gpu import before_kepler, cards_ada_blackwell, cards_maxwell_volta
from localai_deploy.domain.gpu import cards_turing_ampere as cards_middle
from localai_deploy.domain.gpu import generation as gen
from localai_deploy.domain.gpu.card import Card, Knowledge
from localai_deploy.domain.gpu.chips import Chip, chip_of, is_other_function
from localai_deploy.domain.gpu.figures import GIB, Figures, merged
from localai_deploy.domain.gpu.generation import ONLY_PROPRIETARY, Generation
from localai_deploy.domain.gpu.pci_id import PciId
from localai_deploy.errors import LocalaiError

FIGURES = merged(
    (
        cards_maxwell_volta.KEPLER,
        cards_maxwell_volta.MAXWELL,
        cards_maxwell_volta.PASCAL,
        cards_maxwell_volta.VOLTA,
        cards_middle.TURING,
        cards_middle.AMPERE,
        cards_ada_blackwell.ADA,
        cards_ada_blackwell.HOPPER,
        cards_ada_blackwell.BLACKWELL,
    )
)
NO_OPEN_MODULES = frozenset({0x1E09, 0x1F0B, 0x2189})
"""Mining cards of Turing, which the vendor's list leaves out of the open modules."""
SINCE_550 = frozenset(
    {0x2335, 0x25B0, 0x25B2, 0x2685, 0x2702, 0x2705, 0x2709, 0x2783, 0x2788, 0x2808, 0x2822}
    | {0x28A3, 0x28B0, 0x28E3}
)
"""Ids in the vendor's list of driver 550.163.01 and not in that of 535.309.01."""
SINCE_570 = frozenset(
    {0x1E03, 0x1F92, 0x1F94, 0x1FD9, 0x2082, 0x20B8, 0x20B9, 0x20C2, 0x2337, 0x2338, 0x233B, 0x2348}
    | {0x248C, 0x248D, 0x248E, 0x24C8, 0x2501, 0x2509, 0x2561, 0x2583, 0x2689, 0x26B7, 0x2703, 0x27FA, 0x2878}
)
"""Ids of Turing to Hopper in our table that no list up to 550.163.01 has: taken for newer."""
DEBIAN_LIST_ONLY = frozenset({0x1BB3, 0x1DF5, 0x1E37, 0x1EB4, 0x1EB8, 0x1F09, 0x20B1, 0x26B8})
"""Ids that nvidia-detect has for 550.163.01 or an older branch, and the vendor's list has not."""
ID_LIST_ONLY = frozenset({0x137D, 0x13BD, 0x1676, 0x1C35, 0x1D56, 0x1DB2}) | SINCE_570
"""Ids in our table that only the public PCI id list has."""
FIRST_MAXWELL = 0x1340
FIRST_AFTER_550 = 0x2900
"""The first id of the generations that came after driver 550."""
_BY_SUBSYSTEM = {
    (0x1E30, 0x129E): ("Quadro RTX 8000", 48),
    (0x1E78, 0x13D8): ("Quadro RTX 8000", 48),
    (0x1E78, 0x13D9): ("Quadro RTX 6000", 24),
    (0x25B6, 0x14A9): ("NVIDIA A16", 16),
    (0x25B6, 0x157E): ("NVIDIA A2", 16),
}
"""Two cards with one id: device and subsystem device → name and GiB."""


class Source(StrEnum):
    """Where facts of a card come from."""

    DEBIAN_LIST = "Debian's lists of nvidia-detect"
    VENDOR_LIST = "NVIDIA's list of supported GPUs of driver 550.163.01"
    ID_LIST = "public PCI id list: chip by run of ids"
    FIGURES = "NVIDIA's published figures, held against a second collection (docs/gpu-catalogue.md)"
    TOOLKITS = "release notes of the CUDA toolkits"
    GUESS = "no source: the safe choice for what is not known"


def card_of(pci_id: PciId) -> Card:
    """The card behind an id; one that no table has is named unknown and given the safe choice.

    :raises LocalaiError: ``gpu-not-nvidia``, ``gpu-no-card`` (a sound or USB function, a bridge).
    """
    device = pci_id.device
    if not pci_id.is_nvidia:
        raise LocalaiError(
            "gpu-not-nvidia",
            f"{pci_id} is not from NVIDIA",
            why=f"its vendor is {pci_id.vendor:04x}; the catalogue has NVIDIA's cards (10de)",
        )
    if is_other_function(device) and device not in FIGURES:
        raise LocalaiError(
            "gpu-no-card",
            f"{pci_id} is no GPU",
            why="it is a sound or USB function of a card, a bridge or a switch",
            hint="take the id of the function of class 0300 or 0302 (lspci -nn -d 10de:)",
        )
    chip = chip_of(device)
    if chip is not None:
        return _of_chip(pci_id, chip)
    if device < FIRST_MAXWELL:
        return _card(pci_id, before_kepler.generation_before_kepler(device), Knowledge.RULE, None)
    return _in_no_run(pci_id)


def _of_chip(pci_id: PciId, chip: Chip) -> Card:
    generation = before_kepler.GRID_K if before_kepler.is_grid_k(pci_id.device) else chip.generation
    figures = _figures_of(pci_id)
    if figures is None and generation.last_branch in {470, 367}:
        return _card(pci_id, generation, Knowledge.RULE, chip)
    return _card(pci_id, generation, Knowledge.CARD if figures else Knowledge.UNKNOWN, chip, figures)


def _figures_of(pci_id: PciId) -> Figures | None:
    figures = FIGURES.get(pci_id.device)
    variant = _BY_SUBSYSTEM.get((pci_id.device, pci_id.subdevice or 0))
    if figures is None or variant is None:
        return figures
    name, vram_gib = variant
    return replace(figures, name=name, vram_choices=(vram_gib * GIB,))


def _in_no_run(pci_id: PciId) -> Card:
    """Beyond the newest run: open modules. In a gap: what the nearest older chip needs."""
    beyond = pci_id.device >= FIRST_AFTER_550
    nearest = gen.UNKNOWN if beyond else _chip_below(pci_id.device).generation
    safe = Generation("unknown", nearest.modules, nearest.last_branch)
    return _card(pci_id, safe, Knowledge.UNKNOWN, None)


def _chip_below(device: int) -> Chip:
    chips = (chip_of(below) for below in range(device, FIRST_MAXWELL - 1, -1))
    return next(chip for chip in chips if chip is not None)


def _card(
    pci_id: PciId,
    generation: Generation,
    knowledge: Knowledge,
    chip: Chip | None,
    figures: Figures | None = None,
) -> Card:
    return Card(
        pci_id=pci_id,
        knowledge=knowledge,
        figures=figures or Figures(_stand_in_name(pci_id, generation, knowledge, chip), (), None, None, None),
        generation=generation.name,
        chip="" if chip is None else chip.name,
        compute_capability=None if chip is None else chip.compute_capability,
        kernel_modules=ONLY_PROPRIETARY if pci_id.device in NO_OPEN_MODULES else generation.modules,
        first_branch=_first_branch(pci_id.device, generation, knowledge, chip),
        last_branch=generation.last_branch,
        sources=tuple(_sources(pci_id.device, knowledge, chip)),
    )


def _stand_in_name(pci_id: PciId, generation: Generation, knowledge: Knowledge, chip: Chip | None) -> str:
    of_chip = f"{chip.name}, {generation.name}" if chip else generation.name
    if knowledge is Knowledge.RULE:
        return f"NVIDIA card {pci_id} ({of_chip})"
    return (
        f"unknown NVIDIA card {pci_id} (by its number {of_chip})" if chip else f"unknown NVIDIA card {pci_id}"
    )


def _first_branch(device: int, generation: Generation, knowledge: Knowledge, chip: Chip | None) -> int:
    """Branch that a driver must be of at least; 0 where any will do."""
    by_chip = chip.first_branch if chip else 0
    came_late = knowledge is Knowledge.UNKNOWN and generation.last_branch is None
    if device in SINCE_570 or came_late:
        return max(by_chip, 570)
    return max(by_chip, 550) if device in SINCE_550 else by_chip


def _sources(device: int, knowledge: Knowledge, chip: Chip | None) -> list[str]:
    found: list[Source] = []
    if device in DEBIAN_LIST_ONLY:
        found = [Source.DEBIAN_LIST]
    elif knowledge is not Knowledge.UNKNOWN and device not in ID_LIST_ONLY and device < FIRST_AFTER_550:
        found = [Source.VENDOR_LIST]
    if chip is not None:
        found.append(Source.ID_LIST)
    if knowledge is Knowledge.CARD:
        found.append(Source.FIGURES)
    if chip is not None and chip.compute_capability:
        found.append(Source.TOOLKITS)
    if knowledge is Knowledge.UNKNOWN:
        found.append(Source.GUESS)
    return [source.value for source in found]
