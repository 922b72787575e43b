"""What the mirror serves, by first part of the URL path."""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tests.lab.hub import Hub, Repositories
from tests.lab.mirror_answer import Answer, Request, Route, answer_file, file_tree, not_found
from tests.lab.mirror_debian import DebianArchive, upstream_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MirrorContent:
    """The folders a mirror serves. A missing one is as an empty one.

    :param conda: parent of channels (``conda-forge/linux-64/repodata.json`` below it).
    :param pypi: flat folders of wheels.
    :param files: arbitrary files for ``/files/…``.
    :param debian_cache: where forwarded Debian files are kept.
    :param hub: gives the hub's repositories; asked at every request, so that content may come later.
    """

    conda: Path
    pypi: tuple[Path, ...]
    files: Path
    debian_cache: Path
    hub: Repositories


def routes_of(content: MirrorContent) -> dict[str, Route]:
    """The routes of a mirror, by first part of the path."""
    return {
        "conda": file_tree(content.conda),
        "files": file_tree(content.files),
        "hf": Hub(content.hub),
        "pypi": simple_index(*content.pypi),
        "debian": _debian("debian", content),
        "debian-security": _debian("debian-security", content),
    }


def _debian(archive: str, content: MirrorContent) -> Route:
    return DebianArchive(lambda: upstream_of(archive), content.debian_cache / archive)


def simple_index(*folders: Path) -> Route:
    """A simple index (PEP 503) of flat folders: ``simple/``, ``simple/NAME/`` and ``files/FILE``."""

    def route(request: Request) -> Answer:
        kind, _, rest = request.path.partition("/")
        found = sorted(wheel for folder in folders for wheel in folder.glob("*.whl"))
        if kind == "files":
            return next((answer_file(wheel) for wheel in found if wheel.name == rest), not_found())
        if kind != "simple":
            return not_found()
        project = rest.strip("/")
        if not project:
            return _page(f'<a href="{name}/">{name}</a>' for name in sorted({_project(w) for w in found}))
        links = [_link(wheel) for wheel in found if _project(wheel) == _normalised(project)]
        return _page(links) if links else not_found()

    return route


def _project(wheel: Path) -> str:
    return _normalised(wheel.name.partition("-")[0])


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _link(wheel: Path) -> str:
    digest = _sha256(wheel, wheel.stat().st_mtime_ns)
    name = html.escape(wheel.name)
    return f'<a href="../../files/{name}#sha256={digest}">{name}</a>'


@lru_cache(maxsize=512)
def _sha256(wheel: Path, mtime_ns: int) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def _page(links: Iterable[str]) -> Answer:
    body = "<!DOCTYPE html><html><body>\n" + "<br>\n".join(links) + "\n</body></html>\n"
    return Answer(body=body.encode(), content_type="text/html; charset=utf-8")
