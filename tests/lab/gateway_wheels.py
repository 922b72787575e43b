"""Wheels of the gateway's lock for the targets' Pythons, as the lab's index serves them."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.markers import Marker

from tests.lab import pypi_files
from tests.lab.content_part import ensure_part, recipe_of
from tests.lab.layout import REPOSITORY, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK = REPOSITORY / "playbooks" / "roles" / "gateway" / "files" / "requirements.txt"
PART = "gateway-wheels"
_PLATFORMS = ("2014", "_2_5", "_2_12", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28", "1", "2010")
_ENTRY = re.compile(
    r"^(?P<pin>\S+==\S+)(?: ; (?P<marker>[^\\]+))? \\\n(?P<hashes>(?:    --hash=\S+(?: \\)?\n)+)", re.M
)


def ensure_gateway_wheels(lab: Lab) -> Path:
    """The folder of wheels, fetched once for each state of the lock."""
    recipe = recipe_of(pypi_files) + LOCK.read_text()
    return ensure_part(lab, PART, recipe, fetch_gateway_wheels)


def fetch_gateway_wheels(directory: Path) -> None:
    """Put the wheels into ``directory``, flat, by pinned hash."""
    for version in pypi_files.TARGET_PYTHONS:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
            requirements.writelines(entries_for(LOCK.read_text(), version))
            requirements.flush()
            pypi_files.pip_download(
                directory,
                "--only-binary=:all:",
                "--no-deps",
                f"--python-version={version}",
                *(f"--platform=manylinux{name}_x86_64" for name in _PLATFORMS),
                "--implementation=cp",
                "--require-hashes",
                f"--requirement={requirements.name}",
            )


def entries_for(lock: str, version: str) -> Iterator[str]:
    """Entries of a lock that count for a Python, without their markers.

    pip itself asks the markers of the Python that runs it, also when it downloads for another one.
    """
    environment = {"python_version": version, "python_full_version": f"{version}.0"}
    for match in _ENTRY.finditer(lock):
        if not match["marker"] or Marker(match["marker"].strip()).evaluate(environment):
            yield f"{match['pin']} \\\n{match['hashes']}"
