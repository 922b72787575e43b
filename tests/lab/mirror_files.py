"""Where a lab's mirror finds its content, and what hosts are told about it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from tests.lab.hub import HubFile, HubRepository, commit_of
from tests.lab.mirror_routes import MirrorContent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.lab.layout import Lab

MODEL_REPOSITORY = "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF"
GATED_REPOSITORY = "lab/gated-GGUF"


def mirror_content(lab: Lab) -> MirrorContent:
    """The content below the lab's folder; parts that are not built yet are absent."""
    content = lab.directory / "content"
    lab.files.mkdir(parents=True, exist_ok=True)
    return MirrorContent(
        conda=content / "conda",
        pypi=(content / "pypi", content / "gateway-wheels"),
        files=lab.files,
        debian_cache=lab.debian_cache,
        hub=lambda: _repositories(content / "models"),
    )


def _repositories(models: Path) -> Mapping[str, HubRepository]:
    files = {
        path.name: HubFile(path, _sha256(path, path.stat().st_mtime_ns)) for path in models.glob("*.gguf")
    }
    return {
        MODEL_REPOSITORY: HubRepository(commit_of(MODEL_REPOSITORY), files),
        GATED_REPOSITORY: HubRepository(commit_of(GATED_REPOSITORY), files, gated=True),
    }


@lru_cache(maxsize=64)
def _sha256(path: Path, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
