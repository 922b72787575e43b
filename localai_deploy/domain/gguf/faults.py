"""The errors of GGUF headers."""

from __future__ import annotations

from localai_deploy.errors import LocalaiError

KNOWN_VERSIONS = (2, 3)


def not_gguf(head: bytes) -> LocalaiError:
    """Build ``model-format-wrong``."""
    return LocalaiError(
        "model-format-wrong",
        "the file is not a GGUF file",
        why=f"it begins with {head[:16]!r}",
        hint="a web page, a Git LFS pointer or an archive may stand in its place",
    )


def truncated(offset: int, wanted: int, got: int) -> LocalaiError:
    """Build ``gguf-truncated`` for ``wanted`` bytes at ``offset`` of which ``got`` came."""
    return LocalaiError(
        "gguf-truncated",
        "the GGUF file ends inside its header",
        why=f"{wanted} bytes were expected at {offset}, {got} are there",
        hint="fetch the file again",
    )


def unknown_version(version: int) -> LocalaiError:
    """Build ``gguf-version-unknown``."""
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    why = f"it says version {version}; known are {' and '.join(map(str, KNOWN_VERSIONS))}"
    if swapped in KNOWN_VERSIONS:
        why = f"it is written big-endian (version {swapped})"
    return LocalaiError(
        "gguf-version-unknown",
        "this version of GGUF is not read",
        why=why,
        hint="choose a file that was converted with a current llama.cpp",
    )


def invalid(why: str) -> LocalaiError:
    """Build ``gguf-header-invalid``."""
    return LocalaiError(
        "gguf-header-invalid",
        "the GGUF file's header cannot be right",
        why=why,
        hint="fetch the file again, or take it from its publisher",
    )
