"""Models by cards: what share of each model a card holds, and how fast it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from localai_deploy.domain.fit.choice import Freedom, Option, choose
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.offer import Candidate
from localai_deploy.domain.fit.speed import Timing
from localai_deploy.domain.fit.wish import Wish


@dataclass(frozen=True, slots=True)
class Row:
    """A model with its candidates, as it is called."""

    name: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """What a card makes of a model; ``option`` is ``None`` where nothing fits."""

    model: str
    card: str
    option: Option | None

    @property
    def share(self) -> float:
        """Share of layers on the card, blocks whose experts stay on the host counted as half."""
        if self.option is None:
            return 0.0
        found, blocks = self.option.estimate, len(self.option.candidate.shape.blocks)
        aside = 0 if self.option.whole else min(self.option.wish.cpu_expert_layers, blocks)
        return max(found.gpu_layers - aside / 2, 0) / found.layers


@dataclass(frozen=True, slots=True)
class Matrix:
    """All cells, row by row."""

    models: tuple[str, ...]
    cards: tuple[str, ...]
    cells: tuple[Cell, ...]

    def rows(self) -> Iterator[tuple[str, tuple[Cell, ...]]]:
        """Each model with its cells."""
        width = len(self.cards)
        for number, model in enumerate(self.models):
            yield model, self.cells[number * width : (number + 1) * width]


def matrix_of(
    rows: Sequence[Row],
    machines: Sequence[Machine],
    wish: Wish,
    freedom: Freedom,
    timing: Timing | None = None,
) -> Matrix:
    """Choose for every model and machine of one card (or none, which is the host alone).

    :raises InputError: ``fit-wish-impossible``.
    """
    names = tuple(_named(machine) for machine in machines)
    cells = tuple(
        Cell(row.name, name, choose(row.candidates, wish, machine, freedom, timing).best)
        for row in rows
        for machine, name in zip(machines, names, strict=True)
    )
    return Matrix(tuple(row.name for row in rows), names, cells)


def _named(machine: Machine) -> str:
    """``NVIDIA GeForce RTX 4060 Ti 16 GiB``: cards of one name differ in memory."""
    if not machine.cards:
        return "host"
    card = machine.cards[0]
    size = f"{card.memory_bytes / (1 << 30):.0f} GiB"
    return card.name if size in card.name else f"{card.name} {size}"


def layers_text(cell: Cell) -> str:
    """``17/47``; ``49/49 -33`` where the experts of 33 blocks stay on the host."""
    if cell.option is None:
        return "-"
    found, aside = cell.option.estimate, cell.option.wish.cpu_expert_layers
    text = f"{found.gpu_layers}/{found.layers}"
    return text if cell.option.whole or not aside else f"{text} -{aside}"


def speed_text(cell: Cell) -> str:
    """``38 t/s``; empty where it is unknown."""
    rate = cell.option.speed.generation if cell.option else None
    return f"{rate:.1f} t/s" if rate and rate < 10 else f"{rate:.0f} t/s" if rate else ""
