"""The matrix and its picture."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as Xml

from localai_deploy.domain.fit.choice import Freedom
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.matrix import Matrix, Row, layers_text, matrix_of, speed_text
from localai_deploy.domain.fit.matrix_picture import picture_of, svg_of
from localai_deploy.domain.fit.wish import Card, Wish
from tests.unit.domain.fit.fit_values import candidate

GIB = 1 << 30
CARDS = (Card("NVIDIA GeForce RTX 1", 8 * GIB, 34, 400e9), Card("NVIDIA GeForce RTX 1", 24 * GIB, 34, 400e9))


def matrix(ram_gib: int = 64) -> Matrix:
    machines = [Machine((card,), ram_gib * GIB) for card in CARDS]
    rows = [Row("dense <27b>", (candidate(),)), Row("mixture", (candidate(experts=90),))]
    return matrix_of(rows, machines, Wish(), Freedom())


def test_cells_are_in_order() -> None:
    found = matrix()
    assert found.cards == ("NVIDIA GeForce RTX 1 8 GiB", "NVIDIA GeForce RTX 1 24 GiB")
    (name, (small, large)), (_, (moved, _)) = found.rows()
    assert name == "dense <27b>"
    assert (large.share, layers_text(large)) == (1.0, "33/33")
    assert 0 < small.share < 0.6
    assert layers_text(moved).startswith("33/33 -")
    assert 0.5 < moved.share < 1
    assert speed_text(large).endswith(" t/s")


def test_what_does_not_fit() -> None:
    found = matrix(ram_gib=2)
    small = found.cells[0]
    assert (small.option, small.share, layers_text(small), speed_text(small)) == (None, 0.0, "-", "")


def test_no_card_is_the_host() -> None:
    found = matrix_of([Row("dense", (candidate(),))], [Machine()], Wish(), Freedom())
    assert found.cards == ("host",)
    assert found.cells[0].share == 0


def test_the_picture_holds_all_cells_inside() -> None:
    picture = picture_of(matrix(), "a title")
    for box in picture.boxes:
        assert box.x >= 0 and box.x + box.width <= picture.width
        assert box.y >= 0 and box.y + box.height <= picture.height
    texts = [label.text for label in picture.labels]
    assert all(text.isascii() for text in texts), "the font that is drawn with has little else"
    assert {"a title", "dense <27b>", "33/33", "RTX 1 8 GiB"} <= set(texts)


def test_the_svg_is_xml_with_all_labels() -> None:
    picture = picture_of(matrix(), "a title")
    root = Xml.fromstring(svg_of(picture))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == [label.text for label in picture.labels]


def test_more_layers_are_darker() -> None:
    found = matrix()
    whole = picture_of(replace(found, models=found.models[:1], cells=found.cells[:2]), "")
    small, large = (box.fill for box in whole.boxes[1:3])
    assert int(large[1:3], 16) < int(small[1:3], 16)
