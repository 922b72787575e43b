"""One part of the lab's content: a folder that is built once, appears whole or not at all, and is kept."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from tests.lab.layout import Lab

_STAMP = ".recipe"


def recipe_of(*modules: ModuleType) -> str:
    """64 hex digits that change when the code that builds a part changes."""
    digest = hashlib.sha256()
    for module in modules:
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def ensure_part(lab: Lab, name: str, recipe: str, build: Callable[[Path], None]) -> Path:
    """The folder ``content/NAME``, made by ``build(folder)`` unless ``recipe`` already made it.

    Processes take turns; one that dies while building leaves nothing that counts as built.
    """
    directory = lab.directory / "content" / name
    with lab.lock(f"content-{name}"):
        if not _is_built(directory, recipe):
            _build(directory, recipe, build)
    return directory


def _is_built(directory: Path, recipe: str) -> bool:
    stamp = directory / _STAMP
    return stamp.is_file() and stamp.read_text() == recipe


def _build(directory: Path, recipe: str, build: Callable[[Path], None]) -> None:
    building = directory.with_name(f".{directory.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    build(building)
    (building / _STAMP).write_text(recipe)
    shutil.rmtree(directory, ignore_errors=True)
    building.rename(directory)
