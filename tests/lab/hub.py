"""A double of the model hub: the part of its HTTP interface that clients use to fetch files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.lab.mirror_answer import Answer, Request

if TYPE_CHECKING:
    from pathlib import Path

GATED_TOKEN = "hf_labGatedRepositoryToken"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; ``sha256`` is what the hub calls the linked ETag."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository at its one commit (40 hex digits); a gated one wants :data:`GATED_TOKEN`."""

    commit: str
    files: Mapping[str, HubFile]
    gated: bool = False


Repositories = Callable[[], Mapping[str, HubRepository]]


def commit_of(name: str) -> str:
    """A fixed commit id for a repository of the lab."""
    return hashlib.sha1(f"lab:{name}".encode(), usedforsecurity=False).hexdigest()


class Hub:
    """The route ``/hf``: files below ``ORG/REPO/resolve/REV/``, facts below ``api/models/ORG/REPO``."""

    def __init__(self, repositories: Repositories) -> None:
        self._repositories = repositories

    def __call__(self, request: Request) -> Answer:
        parts = request.path.split("/")
        if parts[:2] == ["api", "models"]:
            return self._api(request, parts[2:])
        if len(parts) >= 5 and parts[2] == "resolve":
            return self._file(request, "/".join(parts[:2]), unquote(parts[3]), "/".join(parts[4:]))
        return _error(404, "EntryNotFound", "no such page")

    def _file(self, request: Request, name: str, revision: str, path: str) -> Answer:
        repository = self._open(request, name, revision)
        if isinstance(repository, Answer):
            return repository
        if repository.gated and request.headers.get("Authorization", "") != f"Bearer {GATED_TOKEN}":
            return _gated(request, name)
        file = repository.files.get(path)
        if file is None:
            return _error(404, "EntryNotFound", f"Entry not found: {path}", repository.commit)
        return Answer(
            body=file.path,
            etag=file.sha256,
            headers={
                "X-Repo-Commit": repository.commit,
                "X-Linked-Etag": f'"{file.sha256}"',
                "X-Linked-Size": str(file.path.stat().st_size),
            },
        )

    def _api(self, request: Request, parts: list[str]) -> Answer:
        name, rest = "/".join(parts[:2]), parts[2:]
        kind = rest[0] if rest else "revision"
        revision = unquote(rest[1]) if len(rest) > 1 else "main"
        repository = self._open(request, name, revision)
        if isinstance(repository, Answer):
            return repository
        if kind == "tree":
            return _json(_tree(repository))
        if kind == "revision":
            return _json(_model(name, repository))
        return _error(404, "EntryNotFound", "no such page")

    def _open(self, request: Request, name: str, revision: str) -> HubRepository | Answer:
        repository = self._repositories().get(name)
        if repository is None:
            status = 404 if "Authorization" in request.headers else 401
            return _error(status, "RepoNotFound", "Repository not found")
        if revision not in ("main", repository.commit):
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository


def _tree(repository: HubRepository) -> list[dict[str, object]]:
    return [_tree_entry(path, file) for path, file in sorted(repository.files.items())]


def _tree_entry(path: str, file: HubFile) -> dict[str, object]:
    size = file.path.stat().st_size
    oid = hashlib.sha1(file.sha256.encode(), usedforsecurity=False).hexdigest()
    lfs = {"oid": file.sha256, "size": size, "pointerSize": 134}
    return {"type": "file", "path": path, "size": size, "oid": oid, "lfs": lfs}


def _model(name: str, repository: HubRepository) -> dict[str, object]:
    return {
        "id": name,
        "modelId": name,
        "author": name.partition("/")[0],
        "sha": repository.commit,
        "private": False,
        "gated": "manual" if repository.gated else False,
        "disabled": False,
        "tags": ["gguf"],
        "siblings": [{"rfilename": path} for path in sorted(repository.files)],
    }


def _gated(request: Request, name: str) -> Answer:
    status = 403 if "Authorization" in request.headers else 401
    return _error(status, "GatedRepo", f"Access to model {name} is restricted.")


def _json(data: object) -> Answer:
    return Answer(body=json.dumps(data).encode(), content_type="application/json")


def _error(status: int, code: str, message: str, commit: str = "") -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    if commit:
        headers["X-Repo-Commit"] = commit
    return Answer(status, json.dumps({"error": message}).encode(), "application/json", headers=headers)
