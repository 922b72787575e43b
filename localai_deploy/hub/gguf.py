"""GGUF headers of files here and on web servers; split models as one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from localai_deploy.domain.gguf.faults import truncated
from localai_deploy.domain.gguf.header import GgufHeader, GgufModel
from localai_deploy.domain.gguf.parser import parse_header
from localai_deploy.domain.gguf.split import joined, part_count, part_names
from localai_deploy.errors import LocalaiError
from localai_deploy.hub.ranges import RemoteFile

HEADER_ALONE = ".gguf-header"
"""Ends the name of a file that was cut off behind its tensor table on purpose."""
_READERS = 4


def read_local(path: Path) -> GgufModel:
    """Read the model at ``path`` with all its parts.

    :raises LocalaiError: ``model-file-missing``, ``model-format-wrong`` and the ``gguf-…`` errors, also
        when a file is shorter than its table says (:data:`HEADER_ALONE` excepted).
    """
    return _whole(str(path), lambda name: _local_header(Path(name)))


def read_remote(url: str, token: str | None = None, *, plain: bool = False) -> GgufModel:
    """Read the model at ``url`` with all its parts: one or two requests for each.

    :param plain: see :class:`RemoteFile`.
    :raises LocalaiError: what :meth:`RemoteFile.read` raises, ``model-format-wrong``, the ``gguf-…`` errors.
    """
    return _whole(url, lambda part: parse_header(RemoteFile(part, token, plain=plain).read))


def _whole(first: str, read: Callable[[str], GgufHeader]) -> GgufModel:
    header = read(first)
    names = part_names(first, part_count(header))
    with ThreadPoolExecutor(_READERS) as readers:
        return joined([header, *readers.map(read, names[1:])])


def _local_header(path: Path) -> GgufHeader:
    def read(offset: int, length: int) -> bytes:
        stream.seek(offset)
        return stream.read(length)

    try:
        with path.open("rb") as stream:
            header = parse_header(read)
            size = stream.seek(0, 2)
    except OSError as error:
        raise LocalaiError(
            "model-file-missing", f"model file {path} cannot be read", why=error.strerror or str(error)
        ) from error
    if size < header.least_file_bytes and path.suffix != HEADER_ALONE:
        raise truncated(0, header.least_file_bytes, size)
    return header
