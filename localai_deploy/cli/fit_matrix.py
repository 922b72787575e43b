"""``fit --matrix``: models by cards, as a table, CSV, a document and a picture."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from localai_deploy.cli.fit_options import Asked, asked
from localai_deploy.cli.fit_picture import write_picture
from localai_deploy.cli.output import print_json
from localai_deploy.cli.terminal import note, show
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.matrix import Cell, Matrix, Row, layers_text, matrix_of, speed_text
from localai_deploy.domain.fit.matrix_picture import picture_of
from localai_deploy.domain.models.chat import CHAT_7B
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.workflow.fitting import Hub, look_at

USUAL_CARDS = ("RTX 3060", "RTX 4060 Ti 16GB", "RTX 3090", "RTX 4090", "RTX 5090", "RTX 6000 Ada")
"""Columns where none are named: what stands in homes and small offices, by memory."""
_COLUMNS = ("model", "card", "quantization", "gpu_layers", "layers", "cpu_expert_layers", "tokens_per_second")


def print_matrix(options: Mapping[str, Any], hub: Hub) -> int:
    """Work out and print the matrix that the options ask for."""
    real = options["real"] or options["node"]
    given = options["gpu"] or options["vram"] or real
    wanted = asked(options if given else {**options, "gpu": USUAL_CARDS})
    rows = list(_rows(options["model"], wanted, hub))
    matrix = matrix_of(rows, _machines(wanted), wanted.wish, wanted.freedom, wanted.timing)
    if options["csv"]:
        _write_csv(matrix, options["csv"])
    if options["picture"]:
        title = (
            f"layers on the card and expected generation, {wanted.wish.context or 'most'} tokens of context"
        )
        write_picture(picture_of(matrix, title), options["picture"])
    if options["output"] == "json":
        print_json("fit-matrix", **_data(matrix, wanted))
    else:
        for line in table_lines(matrix):
            show(line)
    return int(ExitCode.DONE)


def _rows(texts: Sequence[str], wanted: Asked, hub: Hub) -> Iterator[Row]:
    """The models that are named; else those of the catalogue's 7B class that can be read."""
    for text in texts or [model.name for model in CHAT_7B if model.files]:
        note(f"reading {text}")
        try:
            yield Row(_short(text), look_at(text, _largest_room(wanted), hub).candidates)
        except LocalaiError as error:
            if texts or error.error_id != "model-gated":
                raise
            note(f"left out: {error.what}")


def _machines(wanted: Asked) -> list[Machine]:
    """One machine for each card; the host alone when there is none."""
    machine = wanted.machine
    return [replace(machine, cards=(card,)) for card in machine.cards] or [machine]


def _largest_room(wanted: Asked) -> int:
    return max((card.memory_bytes for card in wanted.machine.cards), default=wanted.machine.room_bytes)


def _short(text: str) -> str:
    """A row's name: file or repository without what is before and behind it."""
    return text.partition("@")[0].rpartition("/")[2].removesuffix("-header").removesuffix(".gguf")


def table_lines(matrix: Matrix) -> Iterator[str]:
    """The table: speed and layers of each model on each card."""
    heads = ["", *(name.removeprefix("NVIDIA ").removeprefix("GeForce ") for name in matrix.cards)]
    rows = [heads, *([model, *map(_cell_text, cells)] for model, cells in matrix.rows())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        line = "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        yield line if number else click.style(line, bold=True)
    yield "t/s: generation with an empty context; 17/47: layers on the card; -12: experts of 12 on the host"


def _cell_text(cell: Cell) -> str:
    return f"{speed_text(cell) or '?':>7} {layers_text(cell)}" if cell.option else "does not fit"


def _cell_data(cell: Cell) -> dict[str, Any]:
    option = cell.option
    rate = option.speed.generation if option else None
    return {
        "model": cell.model,
        "card": cell.card,
        "name": option.candidate.name if option else "",
        "quantization": option.candidate.quantization if option else "",
        "fits": option is not None,
        "gpu_layers": option.estimate.gpu_layers if option else 0,
        "layers": option.estimate.layers if option else 0,
        "cpu_expert_layers": option.wish.cpu_expert_layers if option else 0,
        "tokens_per_second": round(rate, 2) if rate else None,
        "basis": option.speed.basis if option else "unknown",
    }


def _data(matrix: Matrix, wanted: Asked) -> dict[str, Any]:
    sizes = [card.memory_bytes for card in wanted.machine.cards] or [wanted.machine.ram_bytes]
    cards = [{"name": name, "memory_bytes": size} for name, size in zip(matrix.cards, sizes, strict=True)]
    return {
        "context": wanted.wish.context,
        "models": list(matrix.models),
        "cards": cards,
        "cells": [_cell_data(cell) for cell in matrix.cells],
    }


def _write_csv(matrix: Matrix, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(_cell_data(cell) for cell in matrix.cells)
