"""Archives of a runtime's own releases, taken in place of a conda channel's packages.

A reference is ``https://HOST/PATH/NAME-TAG-….tar.gz#sha256=HEX``. llama.cpp's releases have such archives
for Linux with CUDA since b10969 (ggml-org/llama.cpp#28186): ``llama-TAG-bin-ubuntu-cuda-12.8-x64.tar.gz``
with the server and its backends in one folder, and ``cudart-llama-TAG-…`` with CUDA's own libraries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from localai_deploy.domain.lock import EnvironmentLock, LockedPackage, Variant
from localai_deploy.errors import InputError

VARIANTS: tuple[Variant, ...] = get_args(Variant)
_REFERENCE = re.compile(r"(https://[^/\s#?]+/[^\s#?]+)#sha256=([0-9a-f]{64})")
_FILE_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+-]{0,200})\.(?:tar\.gz|tgz|tar\.xz)")
_TAG = re.compile(r"(?:^|-)(?:b(\d+)|v?(\d+\.\d+\.\d+))(?=-|$)")


@dataclass(frozen=True, slots=True)
class Archive:
    """One archive.

    :param name: of its file, without the ending.
    :param version: number of the build or of the release in that name; empty: it names none.
    """

    url: str
    sha256: str
    name: str
    version: str


def parse_archive(text: str) -> Archive:
    """Parse a reference.

    :raises InputError: ``archive-reference-invalid``.
    """
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise _invalid(text, "expected https://HOST/PATH/FILE.tar.gz#sha256=HEX, with 64 hex digits")
    url, sha256 = found.groups()
    file = _FILE_NAME.fullmatch(url.rpartition("/")[2])
    if file is None:
        raise _invalid(text, "its file is no .tar.gz, .tgz or .tar.xz")
    tag = _TAG.search(file[1])
    return Archive(url, sha256, file[1], (tag[1] or tag[2]) if tag else "")


def parse_archives(texts: Sequence[str]) -> tuple[Archive, ...]:
    """Parse what belongs together; the first one holds the server.

    :raises InputError: ``archive-reference-invalid``.
    """
    found = tuple(map(parse_archive, texts))
    names = [archive.name for archive in found]
    if found and not found[0].version:
        raise _invalid(texts[0], "its name does not tell the build, such as b11191 or v0.7.0")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _invalid(texts[0], f"{', '.join(twice)} is there twice")
    return found


def archive_lock(
    archives: Sequence[Archive], *, package: str, variant: Variant, platform: str
) -> EnvironmentLock:
    """The lock of an environment that consists of ``archives``; the first one stands for ``package``."""
    first = archives[0]
    names = [package, *(archive.name for archive in archives[1:])]
    packages = (
        LockedPackage(
            name=name,
            version=archive.version or first.version,
            build=f"{variant}_archive",
            subdir=platform,
            url=archive.url,
            sha256=archive.sha256,
            size_bytes=0,
        )
        for name, archive in zip(names, archives, strict=True)
    )
    return EnvironmentLock(variant, platform, "", tuple(packages))


def checked_archives(value: Mapping[object, object]) -> dict[str, tuple[str, ...]]:
    """References by variant.

    :raises InputError: ``archive-reference-invalid``.
    """
    found: dict[str, tuple[str, ...]] = {}
    for variant, given in value.items():
        texts = [given] if isinstance(given, str) else given
        if variant not in VARIANTS or not isinstance(texts, list | tuple) or not texts:
            raise _invalid(str(variant), f"expected one or more archives for {', '.join(VARIANTS)}")
        parse_archives([str(text) for text in texts])
        found[str(variant)] = tuple(str(text) for text in texts)
    return found


def _invalid(text: str, why: str) -> InputError:
    return InputError("archive-reference-invalid", f"{text!r} cannot be used as a runtime's archive", why=why)
