"""Downloads as the node makes them: over HTTP, into a file, with what a log needs to know."""

from __future__ import annotations

import hashlib
import struct
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Fetched:
    """What a URL gave; `file` is None where the content is only described (`digests`, `virtual_size`)."""

    size: int
    mime: str = "application/octet-stream"
    filename: str = ""
    file: str | None = None
    digests: dict[str, str] = field(default_factory=dict)
    virtual_size: int | None = None
    is_image: bool = True

    def digest(self, algorithm: str) -> str:
        """The checksum of the content, in hex."""
        if self.file is None:
            return self.digests[algorithm]
        with Path(self.file).open("rb") as stream:
            return hashlib.file_digest(stream, algorithm).hexdigest()


class Unreachable(Exception):  # noqa: N818
    """The host of a URL has no address or does not answer; the text says why."""


class Refused(Exception):  # noqa: N818
    """The server answered with an error; the text is `STATUS REASON`."""


Fetcher = Callable[[str, "str | None"], Fetched]


def fetch_by_http(url: str, target: str | None) -> Fetched:
    """Fetch into `target`, or ask only for the headers without one; raises Unreachable or Refused."""
    request = urllib.request.Request(url, method="GET" if target else "HEAD")  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            size = int(answer.headers.get("Content-Length") or 0)
            mime = answer.headers.get_content_type()
            if target is None:
                return Fetched(size, mime, _file_name(url))
            with Path(target).open("wb") as file:
                while block := answer.read(1 << 20):
                    file.write(block)
    except urllib.error.HTTPError as error:
        raise Refused(f"{error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise Unreachable(_why(error)) from error
    return described(target, mime, _file_name(url))


def _why(error: urllib.error.URLError) -> str:
    reason = error.reason
    text = getattr(reason, "strerror", None) or str(reason)
    return "Temporary failure in name resolution" if "resol" in text or "known" in text else text


def _file_name(url: str) -> str:
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def described(file: str, mime: str, name: str) -> Fetched:
    """A file on disk, its image header read."""
    path = Path(file)
    with path.open("rb") as stream:
        head = stream.read(32)
    is_qcow = head[:4] == b"QFI\xfb" and len(head) == 32
    virtual = struct.unpack(">Q", head[24:32])[0] if is_qcow else path.stat().st_size
    return Fetched(path.stat().st_size, mime, name, file, {}, virtual, is_qcow)
