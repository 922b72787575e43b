"""The Debian archive, forwarded from the mirror that this machine's own apt uses, and cached."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

from tests.lab.mirror_answer import Answer, Request, answer_file, not_found

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_INDEX_LIFETIME_S = 600
_TIMEOUT_S = 60
_DEFAULTS = {
    "debian": "http://deb.debian.org/debian",
    "debian-security": "http://deb.debian.org/debian-security",
}


@cache
def upstream_of(archive: str) -> str:
    """Base URL of ``debian`` or ``debian-security`` in this machine's apt sources, else Debian's own."""
    targets = _output("apt-get", "indextargets", "--format", "$(REPO_URI)")
    found = [uri.rstrip("/") for uri in targets.split()]
    matching = [uri for uri in found if uri.startswith("http") and uri.endswith(f"/{archive}")]
    return matching[0] if matching else _DEFAULTS[archive]


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


class DebianArchive:
    """A route over one archive: package files and by-hash indexes are kept, others revalidated by age."""

    def __init__(self, upstream: Callable[[], str], cache: Path) -> None:
        self._upstream = upstream
        self._cache = cache
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __call__(self, request: Request) -> Answer:
        if not re.fullmatch(r"(dists|pool)(/[A-Za-z0-9._+~:-]+)+", request.path) or ".." in request.path:
            return not_found()
        cached = self._cache / request.path
        with self._locks[request.path]:
            if not self._is_fresh(cached):
                answer = self._fetch(request.path, cached)
                if answer is not None:
                    return answer
        return answer_file(cached)

    @staticmethod
    def _is_fresh(cached: Path) -> bool:
        if not cached.is_file():
            return False
        immutable = "pool" in cached.parts or "by-hash" in cached.parts
        return immutable or time.time() - cached.stat().st_mtime < _INDEX_LIFETIME_S

    def _fetch(self, path: str, cached: Path) -> Answer | None:
        """Bring a file into the cache; an answer when that failed and no older copy is there."""
        partial = cached.with_name(f"{cached.name}.partial")
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            url = f"{self._upstream()}/{path}"
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply, partial.open("wb") as file:
                shutil.copyfileobj(reply, file)
            if partial.stat().st_size != int(reply.headers.get("Content-Length", -1)):
                raise ConnectionError(f"{url} ended early")
            partial.rename(cached)
        except urllib.error.HTTPError as error:
            return Answer(error.code, b"upstream refused\n", "text/plain")
        except OSError as error:
            if not cached.is_file():
                return Answer(502, f"upstream: {error}\n".encode(), "text/plain")
        return None
