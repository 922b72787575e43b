"""What a reference offers to choose from: one model's header, or a repository's files."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from localai_deploy.domain.gguf.header import GgufModel
from localai_deploy.domain.reference import ModelReference, parse_model_reference, repository_of
from localai_deploy.errors import LocalaiError
from localai_deploy.hub.client import list_files, look_up, may_carry_token
from localai_deploy.hub.gguf import read_local, read_remote
from localai_deploy.hub.safetensors import read_directory, read_repository

_EXPLAINED = {"model-not-found", "model-gated"}


def parse_offered(text: str) -> ModelReference:
    """Read what a model, a repository (``hf:ORG/REPO``; its path is empty) or a plain path stands for.

    :raises InputError: ``model-reference-invalid`` and what :func:`parse_model_reference` raises else.
    """
    if repository := repository_of(text):
        return repository
    if text.startswith("http://"):
        return ModelReference(text, "https", text.rpartition("/")[2], url=text)
    path = text.removeprefix("file:")
    if path != text or "/" in text.partition(":")[0] or Path(text).is_file():
        return ModelReference(text, "file", Path(path).name, path=path)
    return parse_model_reference(text)


def read_offered(reference: ModelReference, *, endpoint: str, token: str | None) -> GgufModel:
    """Read the header of the model that ``reference`` names, with all its parts.

    :raises LocalaiError: as :func:`read_local` and :func:`read_remote`, for the hub as :func:`look_up`.
    """
    if reference.scheme == "file":
        return read_local(Path(reference.path).expanduser())
    if reference.scheme == "https":
        return read_remote(reference.url)
    revision = quote(reference.revision or "main", safe="")
    private = may_carry_token(endpoint)
    url = f"{endpoint}/{reference.repo}/resolve/{revision}/{quote(reference.path)}"
    try:
        return read_remote(url, token if private else None, plain=not private)
    except LocalaiError as error:
        if error.error_id in _EXPLAINED:
            look_up(reference, endpoint=endpoint, token=token)
        raise


def names_weights(reference: ModelReference) -> bool:
    """Whether ``reference`` names original weights: a safetensors file, or a directory here."""
    if reference.scheme == "file" and Path(reference.path).expanduser().is_dir():
        return True
    return (reference.url or reference.path).endswith(".safetensors")


def read_weights(reference: ModelReference, *, endpoint: str, token: str | None) -> GgufModel:
    """Read what a GGUF of the repository would hold that ``reference`` names, or a file of.

    :raises LocalaiError: as :func:`read_repository` and :func:`read_directory`.
    """
    if reference.scheme == "file":
        path = Path(reference.path).expanduser()
        return read_directory(path if path.is_dir() else path.parent)
    if reference.scheme == "https":
        return read_repository(reference.url.rpartition("/")[0])
    revision, folder = quote(reference.revision or "main", safe=""), reference.path.rpartition("/")[0]
    base = f"{endpoint}/{reference.repo}/resolve/{revision}/{quote(folder)}".rstrip("/")
    return read_repository(base, token)


def files_offered(reference: ModelReference, *, endpoint: str, token: str | None) -> list[tuple[str, int]]:
    """Path and size of a repository's files.

    :raises LocalaiError: ``model-not-found``, ``model-gated`` or ``hub-unreachable``.
    """
    return list_files(reference, endpoint=endpoint, token=token)
