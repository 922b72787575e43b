"""Model references as people write them, and the exact file they stand for.

Grammar::

    NAME[:QUANTIZATION]  of the catalogue; it stands for a hub's file, and that is what is recorded
    hf:ORG/REPO/PATH/TO/FILE.gguf[@REVISION]
    hf:ORG/REPO[@REVISION]  the file of it that suits a host (:func:`repository_of`)
    https://HOST/PATH/FILE.gguf[#sha256=HEX]
    file:PATH            a file on the machine that runs the command
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from localai_deploy.domain.models.catalogue import close_model, find_model
from localai_deploy.errors import InputError

Scheme = Literal["hf", "https", "file"]

SAFE_FORMATS = (".gguf", ".safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}")
_REPO_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")
_REPOSITORY = re.compile(
    r"hf:([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([A-Za-z0-9][\w./-]{0,200}))?", re.ASCII
)
_HINT = (
    "write a name of the catalogue (localai-deploy model catalogue), hf:ORG/REPO[/FILE.gguf][@REVISION], "
    "https://HOST/FILE.gguf#sha256=HEX, or file:PATH"
)


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A parsed reference.

    :param text: what the user wrote; for a name of the catalogue the full reference it stands for.
    :param sha256: what the file must have; empty: nothing but its source says.
    """

    text: str
    scheme: Scheme
    file_name: str
    repo: str = ""
    path: str = ""
    revision: str = ""
    url: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file to have in a host's model store.

    :param reference: the reference it came from, as written.
    :param file_name: its name in the store.
    :param url: where the host fetches it; empty for a file that the controller uploads.
    :param local_path: file on the controller; empty when ``url`` is set.
    :param sha256: 64 hex digits, or empty with ``trust_first_download``.
    :param size_bytes: exact size; 0 when the server does not tell.
    :param revision: the commit it was resolved to; empty outside the Hub.
    :param trust_first_download: accept the first download's hash and record it.
    """

    reference: str
    file_name: str
    url: str = ""
    local_path: str = ""
    sha256: str = ""
    size_bytes: int = 0
    revision: str = ""
    trust_first_download: bool = False


def hub_url(endpoint: str, reference: ModelReference, commit: str) -> str:
    """Where the hub at ``endpoint``, or a mirror of it, has the file of an ``hf:`` reference."""
    return f"{endpoint}/{reference.repo}/resolve/{commit}/{reference.path}"


def repository_of(text: str) -> ModelReference | None:
    """Read ``hf:ORG/REPO[@REVISION]``, a whole repository; ``None`` for all else."""
    found = _REPOSITORY.fullmatch(text)
    return ModelReference(text, "hf", "", repo=found[1], revision=found[2] or "") if found else None


def parse_model_reference(text: str) -> ModelReference:
    """Parse ``text``.

    :raises InputError: ``model-reference-invalid``, ``model-format-unsafe``, ``model-no-runtime`` or
        ``model-quantization-unknown``.
    """
    found = find_model(text)
    if found is not None:
        model, file = found
        return replace(parse_model_reference(model.reference(file)), sha256=file.sha256)
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise _invalid(text, "the catalogue has no such name, and it names no source")
    if scheme == "hf":
        return _parse_hf(text, rest)
    if scheme == "https":
        return _parse_https(text)
    if scheme == "file":
        return _parse_file(text, rest)
    if scheme == "http":
        raise _invalid(text, "plain http is not accepted: nobody vouches for the answer")
    raise _invalid(text, f"{scheme!r} is not a known source")


def _parse_hf(text: str, rest: str) -> ModelReference:
    body, _, revision = rest.partition("@")
    parts = body.split("/")
    if len(parts) < 3 or not all(_REPO_PART.fullmatch(part) for part in parts):
        raise _invalid(text, "expected hf:ORG/REPO/FILE of letters, digits and . _ -")
    if "@" in rest and not _REVISION.fullmatch(revision):
        raise _invalid(text, f"{revision!r} is not a revision")
    path = "/".join(parts[2:])
    return ModelReference(
        text=text,
        scheme="hf",
        repo="/".join(parts[:2]),
        path=path,
        revision=revision,
        file_name=_checked_file_name(text, parts[-1]),
    )


def _parse_https(text: str) -> ModelReference:
    try:
        url = urlsplit(text)
    except ValueError as error:
        raise _invalid(text, str(error)) from error
    if not url.hostname:
        raise _invalid(text, "the URL names no host")
    if url.username or url.password:
        raise _invalid(text, "credentials do not belong in a URL: they end in logs")
    sha256 = ""
    if url.fragment:
        key, _, sha256 = url.fragment.partition("=")
        if key != "sha256" or not _SHA256.fullmatch(sha256):
            raise _invalid(text, "after '#' only sha256= with 64 lower-case hex digits is understood")
    name = _checked_file_name(text, unquote(PurePosixPath(url.path).name))
    return ModelReference(
        text=text,
        scheme="https",
        url=url._replace(fragment="").geturl(),
        sha256=sha256,
        file_name=name,
    )


def _parse_file(text: str, rest: str) -> ModelReference:
    path = rest.removeprefix("//") if rest.startswith("///") else rest
    if not path:
        raise _invalid(text, "it names no path")
    return ModelReference(
        text=text, scheme="file", path=path, file_name=_checked_file_name(text, PurePosixPath(path).name)
    )


def _checked_file_name(text: str, name: str) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise _invalid(text, f"{name!r} is not a plain file name (letters, digits and . _ + -)")
    if not name.lower().endswith(SAFE_FORMATS):
        raise InputError(
            "model-format-unsafe",
            f"model {text!r} is not a GGUF or safetensors file",
            why="other formats (pickle: .bin, .pt, .pth, .ckpt) can run code when loaded",
            hint="choose a .gguf or .safetensors file of the same model",
        )
    return name


def _invalid(text: str, why: str) -> InputError:
    close = close_model(text)
    hint = f"did you mean {close}? Or {_HINT}" if close else _HINT
    return InputError(
        "model-reference-invalid", f"model reference {text!r} cannot be read", why=why, hint=hint
    )
