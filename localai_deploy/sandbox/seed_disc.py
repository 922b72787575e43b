"""The seed that a guest finds on its discs, read as a guest would: by label, with tools of the system."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from localai_deploy.sandbox.command import run

_LABELS = {"cidata", "CIDATA"}
_PLACE = Path("var/lib/cloud/seed/nocloud")


def find_seed(disks: Mapping[str, str]) -> Path | None:
    """The first disc that carries cloud-init's label, if any.

    :param disks: files by slot.
    """
    for _, file in sorted(disks.items()):
        if (
            run("blkid", "--probe", "--output", "value", "--match-tag", "LABEL", file, check=False).strip()
            in _LABELS
        ):
            return Path(file)
    return None


def plant_seed(disc: Path | None, root: Path) -> None:
    """Make the disc's content the seed of the system in `root`; None: it has no seed. Raises MachineError."""
    place = root / _PLACE
    shutil.rmtree(place, ignore_errors=True)
    if disc is not None:
        place.mkdir(parents=True)
        run("bsdtar", "--extract", "--no-same-owner", "--file", str(disc), "--directory", str(place))
