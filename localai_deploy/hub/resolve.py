"""From a model reference to the exact file a host shall have; runs on the controller, changes nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from localai_deploy.domain.reference import ModelFile, ModelReference
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.hub.client import look_up
from localai_deploy.hub.formats import check_model_file
from localai_deploy.hub.web import content_length

if TYPE_CHECKING:
    from localai_deploy.domain.mirrors import Mirrors


def resolve_model(
    reference: ModelReference, *, mirrors: Mirrors, token: str | None, trust_first_download: bool
) -> ModelFile:
    """Find out url (pinned to a commit), SHA-256 and size of the file that ``reference`` names.

    :param token: the hub's; nothing but ``hf:`` references use it.
    :param trust_first_download: take an ``https:`` file without a known SHA-256.
    :raises InputError: ``model-hash-missing``.
    :raises LocalaiError: ``model-not-found``, ``model-gated``, ``model-hash-unknown``,
        ``model-hash-mismatch``, ``hub-unreachable``, ``model-file-missing``, ``model-format-wrong``,
        ``model-tls-failed`` or ``model-redirect-refused``.
    """
    if reference.scheme == "hf":
        return _resolve_hf(reference, mirrors, token)
    if reference.scheme == "https":
        return _resolve_https(reference, trust_first_download=trust_first_download)
    return _resolve_file(reference)


def _resolve_hf(reference: ModelReference, mirrors: Mirrors, token: str | None) -> ModelFile:
    found = look_up(reference, endpoint=mirrors.huggingface, token=token)
    if reference.sha256 and found.sha256 != reference.sha256:
        raise _not_of_the_catalogue(reference, found.sha256)
    return ModelFile(
        reference=reference.text,
        file_name=reference.file_name,
        url=found.url,
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        revision=found.commit,
    )


def _not_of_the_catalogue(reference: ModelReference, offered: str) -> LocalaiError:
    return LocalaiError(
        "model-hash-mismatch",
        f"the hub has another {reference.file_name} than the catalogue",
        why=f"sha256 {offered}, the catalogue says {reference.sha256}",
        hint=f"to take the hub's all the same, name it in full: {reference.text}",
    )


def _resolve_https(reference: ModelReference, *, trust_first_download: bool) -> ModelFile:
    if not reference.sha256 and not trust_first_download:
        raise InputError(
            "model-hash-missing",
            f"nothing says which SHA-256 {reference.text!r} must have",
            hint=(
                f"write {reference.url}#sha256=HEX, "
                "or accept the first download's and have it recorded: --trust-first-download"
            ),
        )
    return ModelFile(
        reference=reference.text,
        file_name=reference.file_name,
        url=reference.url,
        sha256=reference.sha256,
        size_bytes=content_length(reference.url),
        trust_first_download=not reference.sha256,
    )


def _resolve_file(reference: ModelReference) -> ModelFile:
    path = Path(reference.path).expanduser().absolute()
    try:
        check_model_file(path)
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size_bytes = path.stat().st_size
    except OSError as error:
        raise LocalaiError(
            "model-file-missing", f"model file {path} cannot be read", why=error.strerror or str(error)
        ) from error
    return ModelFile(
        reference=reference.text,
        file_name=reference.file_name,
        local_path=str(path),
        sha256=sha256,
        size_bytes=size_bytes,
    )
