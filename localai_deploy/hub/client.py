"""The only importer of the Hugging Face client: what the hub says about one file."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import localai_deploy
from localai_deploy.domain.reference import SAFE_FORMATS, ModelReference
from localai_deploy.errors import LocalaiError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file at one commit; ``size_bytes`` is 0 when the hub does not tell."""

    url: str
    commit: str
    sha256: str
    size_bytes: int


def may_carry_token(url: str) -> bool:
    """Whether nobody on the way can read a header: https, or this machine itself."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "https" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def look_up(reference: ModelReference, *, endpoint: str, token: str | None) -> HubFile:
    """Ask the hub for commit, SHA-256 and size of the file that an ``hf:`` reference names.

    :param endpoint: base URL of the hub or of its mirror.
    :param token: sent only when :func:`may_carry_token` allows it; the user's cached token never is.
    :raises LocalaiError: ``model-not-found``, ``model-gated``, ``model-hash-unknown`` or ``hub-unreachable``.
    """
    from huggingface_hub import hf_hub_url

    api = _api(endpoint, token if may_carry_token(endpoint) else None)
    with _HubErrors(api, reference, token):
        url = hf_hub_url(
            reference.repo, reference.path, revision=reference.revision or "main", endpoint=endpoint
        )
        found = api.get_hf_file_metadata(url=url, timeout=_TIMEOUT_S)
        commit = found.commit_hash or ""
        pinned = hf_hub_url(reference.repo, reference.path, revision=commit, endpoint=endpoint)
    if not commit or not _SHA256.fullmatch(found.etag or ""):
        raise _hash_unknown(reference)
    return HubFile(url=pinned, commit=commit, sha256=found.etag or "", size_bytes=found.size or 0)


def list_files(reference: ModelReference, *, endpoint: str, token: str | None) -> list[tuple[str, int]]:
    """Path and size of every file of the repository that ``reference`` names.

    :raises LocalaiError: ``model-not-found``, ``model-gated`` or ``hub-unreachable``.
    """
    api = _api(endpoint, token if may_carry_token(endpoint) else None)
    with _HubErrors(api, reference, token):
        tree = api.list_repo_tree(reference.repo, recursive=True, revision=reference.revision or "main")
        return [(entry.path, entry.size) for entry in tree if hasattr(entry, "size")]


def _api(endpoint: str, token: str | None) -> HfApi:
    os.environ.update(_SETTINGS)
    from huggingface_hub import HfApi

    name, version = "localai-deploy", localai_deploy.__version__
    return HfApi(endpoint=endpoint, token=token or False, library_name=name, library_version=version)


class _HubErrors:
    """Turns the client's exceptions into ours."""

    def __init__(self, api: HfApi, reference: ModelReference, token: str | None) -> None:
        self._api, self._reference, self._token = api, reference, token

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, LocalaiError):
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> Exception:
        from huggingface_hub import errors

        refused = not isinstance(error, errors.RepositoryNotFoundError)
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if isinstance(error, errors.GatedRepoError) or (refused and status in (401, 403)):
            return self._gated(status)
        if isinstance(error, errors.EntryNotFoundError):
            return self._no_file()
        if isinstance(error, errors.RevisionNotFoundError):
            return self._not_found(f"{self._reference.repo} has no revision {self._reference.revision!r}")
        if isinstance(error, errors.RepositoryNotFoundError):
            return self._not_found(
                f"{self._api.endpoint} shows no repository {self._reference.repo}",
                f"check the spelling; {self._token_hint('a private repository needs a token (HF_TOKEN)')}",
            )
        if isinstance(error, _unanswered()):
            return self._unreachable(error)
        return error

    def _no_file(self) -> LocalaiError:
        names = self._file_names()
        close = close_names(self._reference.path, names)
        hint = f"close to it: {', '.join(close)}" if close else ""
        if not close and names:
            hint = f"it holds: {', '.join(names[:5])}"
        return self._not_found(f"{self._reference.repo} has no file {self._reference.path!r}", hint)

    def _file_names(self) -> list[str]:
        revision = self._reference.revision or "main"
        try:
            tree = self._api.list_repo_tree(self._reference.repo, recursive=True, revision=revision)
            names = [entry.path for entry in tree]
        except _unanswered():
            return []
        return sorted(name for name in names if name.lower().endswith(SAFE_FORMATS))

    def _not_found(self, why: str, hint: str = "") -> LocalaiError:
        what = f"model {self._reference.text!r} does not exist"
        return LocalaiError("model-not-found", what, why=why, hint=hint)

    def _gated(self, status: int) -> LocalaiError:
        why = f"the hub answers HTTP {status}" + (
            " to the token given" if self._token else " without a token"
        )
        page = f"{self._api.endpoint}/{self._reference.repo}"
        hint = self._token_hint(f"accept the terms at {page}, then give a token that may read it (HF_TOKEN)")
        return LocalaiError("model-gated", f"model {self._reference.text!r} is not open", why=why, hint=hint)

    def _token_hint(self, otherwise: str) -> str:
        if self._token and not may_carry_token(self._api.endpoint):
            return f"the token was not sent to {self._api.endpoint}: it is plain http; give the mirror TLS"
        return otherwise

    def _unreachable(self, error: Exception) -> LocalaiError:
        return LocalaiError(
            "hub-unreachable",
            f"the model hub {self._api.endpoint} did not answer for {self._reference.text!r}",
            why=str(error).strip().partition("\n")[0] or type(error).__name__,
            hint="check the network, or set localai_mirrors.huggingface to a mirror of your own",
        )


def _unanswered() -> tuple[type[Exception], ...]:
    """List what the client raises when the hub cannot be asked or answers with an error."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    return HTTPError, OSError


def close_names(path: str, names: list[str], limit: int = 3) -> list[str]:
    """Names like ``path``, best first, whatever their case."""
    folded = {name.casefold(): name for name in names}
    found = difflib.get_close_matches(path.casefold(), folded, n=limit, cutoff=0.6)
    return [folded[name] for name in found]


def _hash_unknown(reference: ModelReference) -> LocalaiError:
    return LocalaiError(
        "model-hash-unknown",
        f"the hub tells no SHA-256 of {reference.text!r}",
        why="the file is kept in plain git, or the mirror leaves out X-Linked-Etag or X-Repo-Commit",
        hint="use the hub itself, or an https:// reference with #sha256=",
    )
