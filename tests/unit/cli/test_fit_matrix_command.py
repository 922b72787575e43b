"""``fit --matrix``: table, CSV, document and pictures."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from tests.unit.cli.conftest import Ended
from tests.unit.cli.fit_models import dense, mixture

Run = Callable[..., Ended]


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    names = {"lab-7b-Q4_0": dense(), "lab-moe-Q4_0": mixture(), "lab-7b-F16": dense("f16")}
    for name, content in names.items():
        (tmp_path / f"{name}.gguf-header").write_bytes(content)
    models = [part for name in names for part in ("--model", str(tmp_path / f"{name}.gguf-header"))]
    cards = ("--gpu", "RTX 3060", "--gpu", "RTX 3090", "--vram", "4GiB", "--ram", "12GiB")
    return ("fit", "--matrix", *models, *cards)


def test_the_table(words: tuple[str, ...], run: Run) -> None:
    done = run(*words)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split("  ")[-3:] == ["RTX 3060 12 GiB", "RTX 3090 24 GiB", "card of 4 GiB"]
    assert [line.split()[0] for line in lines[1:4]] == ["lab-7b-Q4_0", "lab-moe-Q4_0", "lab-7b-F16"]
    assert all(re.search(r"t/s 33/33 .*\? (33/33 -)?\d+", line) for line in lines[1:3])
    assert [line.partition(" ")[0] for line in done.err.splitlines()] == ["reading"] * 3


def test_the_document_and_csv(words: tuple[str, ...], tmp_path: Path, run: Run) -> None:
    found = json.loads(run(*words, "-o", "json", "--csv", str(tmp_path / "m.csv")).out)
    validator = Draft202012Validator(load_schema("fit-matrix"))
    assert [error.message for error in validator.iter_errors(found)] == []
    assert len(found["cells"]) == 9
    with (tmp_path / "m.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["gpu_layers"] for row in rows] == [str(cell["gpu_layers"]) for cell in found["cells"]]


def test_pictures(words: tuple[str, ...], tmp_path: Path, run: Run) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow, the extra for PNG, is not installed")
    assert run(*words, "--picture", str(tmp_path / "m.svg")).code == 0
    assert run(*words, "--picture", str(tmp_path / "m.png")).code == 0
    assert (tmp_path / "m.svg").read_text().startswith("<svg ")
    drawn = image.open(tmp_path / "m.png")
    assert drawn.width > 600
    assert len(drawn.convert("RGB").resize((200, 80)).getcolors(16000)) > 20


def test_png_without_its_library(
    words: tuple[str, ...], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    done = run(*words, "--picture", str(tmp_path / "m.png"))
    assert (done.code, "[picture-library-missing]" in done.err) == (3, True)


@pytest.mark.parametrize("more", [("--picture", "m.jpeg"), ("--gpu", "no such card")])
def test_what_is_refused(more: tuple[str, str], words: tuple[str, ...], run: Run) -> None:
    assert run(*words, *more).code == 2


def test_columns_where_none_are_named(words: tuple[str, ...], run: Run) -> None:
    done = run(*words[:4])
    assert done.out.splitlines()[0].endswith("RTX 5090 32 GiB  RTX 6000 Ada Generation 48 GiB")
