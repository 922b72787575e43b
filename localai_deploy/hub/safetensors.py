"""Tables and configs of safetensors repositories, without their weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from localai_deploy.domain.gguf.header import GgufModel
from localai_deploy.domain.safetensors.as_gguf import as_gguf
from localai_deploy.domain.safetensors.header import parse_safetensors
from localai_deploy.errors import LocalaiError
from localai_deploy.hub.ranges import RemoteFile

_READERS = 8
_MOST_TEXT_BYTES = 32 << 20
_WHOLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
BEGINS = (_WHOLE, _INDEX)
"""A repository of such weights has one of them."""
_MOST_FILES = 1000


def read_repository(base_url: str, token: str | None = None) -> GgufModel:
    """Read what a GGUF of the repository below ``base_url`` would hold: two round trips.

    :raises LocalaiError: what :meth:`RemoteFile.read` raises, ``safetensors-header-invalid``.
    """
    return _converted(lambda name: RemoteFile(f"{base_url}/{quote(name)}", token).read)


def read_directory(directory: Path) -> GgufModel:
    """Read what a GGUF of the repository in ``directory`` would hold.

    :raises LocalaiError: ``model-file-missing`` or ``safetensors-header-invalid``.
    """
    return _converted(lambda name: _LocalFile(directory / name).read)


def _converted(opened: Callable[[str], Callable[[int, int], bytes]]) -> GgufModel:
    with ThreadPoolExecutor(_READERS) as readers:
        config = readers.submit(_document, opened("config.json"))
        index = readers.submit(_index, opened(_INDEX))
        tables = list(readers.map(lambda name: parse_safetensors(opened(name)), index.result()))
        return as_gguf((row for table in tables for row in table), config.result())


def _index(read: Callable[[int, int], bytes]) -> list[str]:
    """Names of the files that hold the weights; one where there is no index."""
    told = _document(read).get("weight_map")
    names = {name for name in told.values() if isinstance(name, str)} if isinstance(told, dict) else {_WHOLE}
    if (
        not names
        or len(names) > _MOST_FILES
        or any("/" in name or not name.endswith(".safetensors") for name in names)
    ):
        raise _wrong_index()
    return sorted(names)


def _document(read: Callable[[int, int], bytes]) -> Mapping[str, object]:
    """A small JSON document; empty where it is missing."""
    try:
        told = json.loads(read(0, _MOST_TEXT_BYTES))
    except LocalaiError as error:
        if error.error_id in ("model-not-found", "model-file-missing"):
            return {}
        raise
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _wrong_index() -> LocalaiError:
    return LocalaiError(
        "safetensors-header-invalid",
        "the index of the safetensors files cannot be right",
        why="it names no files, too many, or files of other places",
        hint="take the repository from its publisher",
    )


class _LocalFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        try:
            with self._path.open("rb") as stream:
                stream.seek(offset)
                return stream.read(length)
        except OSError as error:
            raise LocalaiError(
                "model-file-missing",
                f"model file {self._path} cannot be read",
                why=error.strerror or str(error),
            ) from error
