"""A matrix as a picture: boxes and labels that any drawing program can place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as Xml

from localai_deploy.domain.fit.matrix import Cell, Matrix, layers_text, speed_text

Anchor = Literal["start", "middle", "end"]
CELL_WIDTH, CELL_HEIGHT = 112, 52
PADDING, TITLE_HEIGHT, LEGEND_HEIGHT = 16, 44, 80
LETTER_WIDTH = 0.6
"""Of a letter's size; labels are given room by it."""
TEXT_SIZE = 13
_LIGHT, _DARK = (239, 243, 255), (8, 81, 156)
_NOTHING, _INK, _PAPER = "#d9d9d9", "#1a1a1a", "#ffffff"
_DARK_FROM = 0.65
"""Share from which labels are white."""
_LEGEND = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle, in pixels."""

    x: int
    y: int
    width: int
    height: int
    fill: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text whose middle line is at ``y``."""

    x: int
    y: int
    text: str
    size: int = TEXT_SIZE
    anchor: Anchor = "middle"
    fill: str = _INK


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes below labels."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    labels: tuple[Label, ...]


def picture_of(matrix: Matrix, title: str) -> Picture:
    """Lay out ``matrix``: models downwards, cards across, the share of layers as the depth of blue."""
    left = PADDING + _room(matrix.models)
    lines = [_wrapped(name) for name in matrix.cards]
    top = TITLE_HEIGHT + PADDING + max(map(len, lines), default=1) * (TEXT_SIZE + 4)
    width = max(left + len(matrix.cards) * CELL_WIDTH, left + len(_LEGEND) * CELL_WIDTH) + PADDING
    height = top + len(matrix.models) * CELL_HEIGHT + LEGEND_HEIGHT
    boxes = [Box(0, 0, width, height, _PAPER)]
    labels = [Label(PADDING, TITLE_HEIGHT // 2 + 4, title, 17, "start")]
    for column, words in enumerate(lines):
        x = left + column * CELL_WIDTH + CELL_WIDTH // 2
        for number, line in enumerate(reversed(words)):
            labels.append(Label(x, top - 12 - number * (TEXT_SIZE + 4), line))
    for row, (model, cells) in enumerate(matrix.rows()):
        y = top + row * CELL_HEIGHT
        labels.append(Label(left - 10, y + CELL_HEIGHT // 2, model, TEXT_SIZE, "end"))
        for column, cell in enumerate(cells):
            _draw(cell, left + column * CELL_WIDTH, y, boxes, labels)
    _draw_legend(left, height - LEGEND_HEIGHT + 20, boxes, labels)
    return Picture(width, height, tuple(boxes), tuple(labels))


def _draw(cell: Cell, x: int, y: int, boxes: list[Box], labels: list[Label]) -> None:
    fill = _NOTHING if cell.option is None else _blue(cell.share)
    ink = _PAPER if cell.option and cell.share > _DARK_FROM else _INK
    boxes.append(Box(x + 1, y + 1, CELL_WIDTH - 2, CELL_HEIGHT - 2, fill))
    middle = x + CELL_WIDTH // 2
    told = [text for text in (speed_text(cell), layers_text(cell)) if text]
    first = y + CELL_HEIGHT // 2 - 9 * (len(told) - 1)
    for number, text in enumerate(told):
        size = TEXT_SIZE + 2 if number == 0 else TEXT_SIZE - 1
        labels.append(Label(middle, first + 19 * number, text, size, "middle", ink))


def _draw_legend(x: int, y: int, boxes: list[Box], labels: list[Label]) -> None:
    labels.append(Label(x - 10, y + 10, "layers on the card", TEXT_SIZE - 1, "end"))
    labels.append(Label(x, y + 36, "-12: experts of 12 blocks on the host", TEXT_SIZE - 1, "start"))
    for number, share in enumerate(_LEGEND):
        boxes.append(Box(x + number * CELL_WIDTH, y, CELL_WIDTH, 20, _blue(share)))
        ink = _PAPER if share > _DARK_FROM else _INK
        middle = x + number * CELL_WIDTH + CELL_WIDTH // 2
        labels.append(Label(middle, y + 10, f"{share:.0%}", TEXT_SIZE - 1, "middle", ink))


def _blue(share: float) -> str:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(_LIGHT, _DARK, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _room(texts: tuple[str, ...]) -> int:
    return round(max(map(len, (*texts, "layers on the card"))) * TEXT_SIZE * LETTER_WIDTH) + 10


def _wrapped(name: str) -> list[str]:
    """A card's name without its maker's, in lines that a column takes; a size keeps its unit."""
    most = int(CELL_WIDTH / (TEXT_SIZE * LETTER_WIDTH))
    short = name.removeprefix("NVIDIA ").removeprefix("GeForce ")
    lines: list[str] = []
    for word in re.findall(r"[0-9.]+ GiB|[^ ]+", short):
        if lines and len(lines[-1]) + 1 + len(word) <= most:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def svg_of(picture: Picture) -> str:
    """Write ``picture`` as SVG."""
    size = {"width": str(picture.width), "height": str(picture.height)}
    view = f"0 0 {picture.width} {picture.height}"
    root = Xml.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": view, **size})
    root.extend(_svg_boxes(picture))
    root.extend(_svg_labels(picture))
    Xml.indent(root)
    return f"{Xml.tostring(root, encoding='unicode')}\n"


def _svg_boxes(picture: Picture) -> Iterator[Xml.Element]:
    for box in picture.boxes:
        place = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
        yield Xml.Element("rect", {**{key: str(value) for key, value in place.items()}, "fill": box.fill})


def _svg_labels(picture: Picture) -> Iterator[Xml.Element]:
    for label in picture.labels:
        element = Xml.Element(
            "text",
            {
                "x": str(label.x),
                "y": str(label.y),
                "font-family": "sans-serif",
                "font-size": str(label.size),
                "text-anchor": label.anchor,
                "dominant-baseline": "central",
                "fill": label.fill,
            },
        )
        element.text = label.text
        yield element
