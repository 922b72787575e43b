"""What the catalogue says of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["chat", "embedding"]


@dataclass(frozen=True, slots=True)
class CatalogueFile:
    """One quantization of a model.

    :param path: in the repository.
    :param size_bytes: exact, or rounded as the hub's page shows it; 0: not known.
    :param sha256: only if the hub's page of the file showed it, or if several independent public projects
        pin it for this repository and file; empty: unverified, the hub's own is taken at the look-up.
    """

    quantization: str
    path: str
    size_bytes: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model that has a short name.

    :param parameters: how many, in thousands of millions.
    :param revision: the commit that has files of these hashes; empty: the repository's newest.
    :param files: the first one is meant by the name alone; none: no runtime of ours runs it, ``note`` says
        which one does.
    :param gate: page on which terms are to be accepted before a token opens the repository.
    """

    name: str
    kind: Kind
    parameters: float
    repository: str
    licence: str
    files: tuple[CatalogueFile, ...]
    revision: str = ""
    gate: str = ""
    note: str = ""

    def reference(self, file: CatalogueFile) -> str:
        """The full reference of a file, as people may write it, too."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repository}/{file.path}{revision}"
