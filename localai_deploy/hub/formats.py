"""The two model formats that are taken, told by their first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localai_deploy.errors import LocalaiError

if TYPE_CHECKING:
    from pathlib import Path

SAFETENSORS_HEADER_LIMIT = 100_000_000


def is_model(name: str, head: bytes) -> bool:
    """Whether ``head`` (16 bytes or more) begins a file of the kind that ``name`` says."""
    if name.lower().endswith(".gguf"):
        return head[:4] == b"GGUF" and 1 <= int.from_bytes(head[4:8], "little") <= 99
    header_bytes = int.from_bytes(head[:8], "little")
    return 2 <= header_bytes <= SAFETENSORS_HEADER_LIMIT and head[8:9] == b"{"


def check_model_file(path: Path) -> None:
    """Look at a file's first bytes.

    :raises LocalaiError: ``model-format-wrong`` when they are not what its name says.
    """
    with path.open("rb") as stream:
        head = stream.read(16)
    if not is_model(path.name, head):
        raise LocalaiError(
            "model-format-wrong",
            f"{path} is not what its name says",
            why=f"it begins with {head!r}",
            hint="fetch the file again; a web page or a Git LFS pointer may have been saved in its place",
        )
