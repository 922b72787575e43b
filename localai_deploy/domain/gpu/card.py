"""A card as far as its PCI id tells, and how it is told as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from localai_deploy.domain.gpu.figures import Figures
from localai_deploy.domain.gpu.generation import CudaRange, KernelModules, cuda_range
from localai_deploy.domain.gpu.pci_id import PciId

CUDA_MAJORS = (12, 13)
"""Majors that the runtime is built for."""
NEWEST_CUDA_MAJOR = CUDA_MAJORS[-1]
FIRST_BRANCH_WITH_CUDA_12 = 525


class Knowledge(StrEnum):
    """How well a card is known."""

    CARD = "card"
    RULE = "rule"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Card:
    """A card, or one GPU of it where a board carries several.

    :param knowledge: ``card``: by its own row; ``rule``: old, told by the run of its id; ``unknown``: no list
        names it, what is said of it is the safe choice.
    :param chip: ``GA102``; empty where no run holds the id.
    :param compute_capability: ``(8, 6)``; ``None`` where it is unknown or older than 3.0.
    :param kernel_modules: variants that drive it, the recommended one first.
    :param first_branch: driver branch needed at least; 0: any that is still to be had.
    :param last_branch: ``None``: the current one has it.
    :param sources: where this comes from, for people.
    """

    pci_id: PciId
    knowledge: Knowledge
    figures: Figures
    generation: str
    chip: str
    compute_capability: tuple[int, int] | None
    kernel_modules: tuple[KernelModules, ...]
    first_branch: int
    last_branch: int | None
    sources: tuple[str, ...]

    @property
    def name(self) -> str:
        """As ``nvidia-smi`` would print it."""
        return self.figures.name

    @property
    def is_known(self) -> bool:
        """Whether a list names it."""
        return self.knowledge is not Knowledge.UNKNOWN

    @property
    def vram_bytes(self) -> int | None:
        """Memory of one GPU; the smaller size where an id was sold with several."""
        return min(self.figures.vram_choices, default=None)

    @property
    def cuda(self) -> CudaRange | None:
        """Toolkits that make programs for it."""
        return cuda_range(self.compute_capability)

    @property
    def cuda_majors(self) -> tuple[int, ...]:
        """Majors of the runtime's builds that run on it, ascending; empty for what is too old."""
        cuda = self.cuda
        if cuda is not None:
            return tuple(major for major in CUDA_MAJORS if cuda.has_major(major))
        if self.last_branch is None:
            return (NEWEST_CUDA_MAJOR,)
        return (CUDA_MAJORS[0],) if self.last_branch >= FIRST_BRANCH_WITH_CUDA_12 else ()


def card_data(card: Card) -> dict[str, Any]:
    """What ``gpu info -o json`` prints."""
    cuda = card.cuda
    return {
        "pci_id": str(card.pci_id),
        "known": card.is_known,
        "knowledge": card.knowledge.value,
        "name": card.name,
        "generation": card.generation,
        "chip": card.chip or None,
        "compute_capability": _dotted(card.compute_capability),
        "vram_bytes": card.vram_bytes,
        "vram_choices_bytes": list(card.figures.vram_choices),
        "memory_bandwidth_gb_s": card.figures.bandwidth_gb_s,
        "tdp_w": card.figures.tdp_w,
        "multiprocessors": card.figures.sms,
        "driver": {
            "kernel_modules": [one.value for one in card.kernel_modules],
            "first_branch": card.first_branch or None,
            "last_branch": card.last_branch,
            "recommended": card.kernel_modules[0].value,
        },
        "cuda": {"first": _dotted(cuda.first), "last": _dotted(cuda.last)} if cuda else None,
        "runtime_builds": [f"cuda{major}" for major in card.cuda_majors],
        "sources": list(card.sources),
    }


def _dotted(version: tuple[int, int] | None) -> str | None:
    return None if version is None else f"{version[0]}.{version[1]}"
