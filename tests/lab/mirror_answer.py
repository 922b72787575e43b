"""What the mirror's routes take and give: a request, and an answer with a body by range."""

from __future__ import annotations

import io
import mimetypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from pathlib import Path

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Headers(Protocol):
    """What routes ask of a request's headers."""

    def get(self, name: str, default: str, /) -> str: ...

    def __contains__(self, name: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Request:
    """One request: ``path`` is decoded and below the route's prefix, without a leading slash."""

    method: str
    path: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; ranges and faults are applied when it is sent."""

    status: int = 200
    body: bytes | Path = b""
    content_type: str = "application/octet-stream"
    etag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return len(self.body) if isinstance(self.body, bytes) else self.body.stat().st_size

    def open(self) -> BinaryIO:
        return io.BytesIO(self.body) if isinstance(self.body, bytes) else self.body.open("rb")


Route = Callable[[Request], Answer]


def not_found() -> Answer:
    return Answer(404, b"not here\n", "text/plain")


def answer_file(path: Path) -> Answer:
    """A file with an ETag made of its time and size."""
    stat = path.stat()
    return Answer(
        body=path,
        content_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        etag=f"{stat.st_mtime_ns:x}-{stat.st_size:x}",
        headers={"Last-Modified": formatdate(stat.st_mtime, usegmt=True)},
    )


def file_tree(directory: Path) -> Route:
    """Serve the files below ``directory``; a path that leads out of it is not found."""

    def route(request: Request) -> Answer:
        path = (directory / request.path).resolve()
        inside = path.is_relative_to(directory.resolve())
        return answer_file(path) if inside and path.is_file() else not_found()

    return route


def wanted_range(header: str, size_bytes: int) -> range | None:
    """The bytes that a Range header asks for; None: all of them; empty: it cannot be satisfied."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size_bytes - int(last)), size_bytes)
    end = size_bytes if not last else min(int(last) + 1, size_bytes)
    return range(int(first), max(int(first), end)) if int(first) < size_bytes else range(0)
