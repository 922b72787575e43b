"""What people see of literal figures, against files; the estimate itself is tested elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import pytest

from localai_deploy.cli.fit_data import assumptions
from localai_deploy.cli.fit_matrix import table_lines
from localai_deploy.cli.fit_view import option_lines, rejected_lines
from localai_deploy.domain.fit.choice import Choice, Rejected
from localai_deploy.domain.fit.machine import Machine, Shortage
from localai_deploy.domain.fit.matrix import Cell, Matrix
from localai_deploy.domain.fit.near import near_lines
from localai_deploy.domain.fit.wish import Card, Wish
from tests.unit.domain.fit.fit_values import GIB, moved_option, partial_option

GOLDEN = Path(__file__).parents[2] / "golden" / "fit"
CARD = Card("NVIDIA GeForce RTX 3070", 8 * GIB, 46)
BARE = Card("card of 8 GiB", 8 * GIB)


def shown(name: str) -> list[str]:
    partial, moved = partial_option(), moved_option()
    if name == "partial":
        choice = Choice(partial, (Rejected(moved, "fits too; Q5_K_M keeps more"),))
        machine = Machine((CARD,), 32 * GIB)
        return [*option_lines(partial, machine), *rejected_lines(choice), *assumptions(machine)]
    if name == "experts":
        machine = Machine((BARE,))
        return [*option_lines(moved, machine), *assumptions(machine), *near_lines([partial, moved], Wish())]
    if name == "too-large":
        short = replace(partial, shortages=(Shortage("card", "gpu", 9 * GIB, 4 * GIB, 8 * GIB),))
        return list(option_lines(short, Machine((replace(CARD, memory_bytes=4 * GIB),))))
    cells = (Cell("a", "x 8 GiB", partial), Cell("a", "y", None), Cell("b", "x 8 GiB", moved))
    cells += (Cell("b", "y", partial),)
    return list(table_lines(Matrix(("a", "b"), ("x 8 GiB", "y"), cells)))


@pytest.mark.parametrize("name", ["partial", "experts", "too-large", "matrix"])
def test_as_in_the_file(name: str) -> None:
    assert click.unstyle("\n".join(shown(name))) + "\n" == (GOLDEN / f"{name}.txt").read_text()


def test_every_file_is_tested() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {"partial", "experts", "too-large", "matrix"}
