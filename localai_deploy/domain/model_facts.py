"""What the model store of a host holds, from its listing and its records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from localai_deploy.domain.facts import ModelFact
from localai_deploy.domain.observation_sections import decode_text
from localai_deploy.domain.reference import SAFE_FORMATS

_PART = ".part"
_RECORD = ".json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""As references allow; files of other names are not of ours."""


def model_facts(listing: str, records: str) -> tuple[ModelFact, ...]:
    """Every model that is there, whole or in part.

    :param listing: ``SIZE NAME`` of each file, each ended by NUL.
    :param records: lines of a record's name and content, both in base64.
    """
    sizes = dict(_sizes(listing))
    known = dict(_records(records))
    names = {name.removesuffix(_PART) for name in sizes}
    return tuple(
        _fact(name, sizes, known.get(name, {}))
        for name in sorted(names)
        if _NAME.fullmatch(name) and name.lower().endswith(SAFE_FORMATS)
    )


def _fact(name: str, sizes: Mapping[str, int], record: Mapping[str, Any]) -> ModelFact:
    if name not in sizes:
        return ModelFact(name, partial_bytes=sizes[name + _PART])
    return ModelFact(
        name,
        size_bytes=sizes[name],
        sha256=_text(record, "sha256"),
        partial_bytes=sizes.get(name + _PART, 0),
        reference=_text(record, "reference"),
        url=_text(record, "url"),
        revision=_text(record, "revision"),
        trusted_first_download=record.get("trusted_first_download") is True,
    )


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _sizes(listing: str) -> Iterator[tuple[str, int]]:
    for entry in listing.split("\0"):
        size, _, name = entry.partition(" ")
        if size.isdecimal() and name:
            yield name, int(size)


def _records(records: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for line in records.splitlines():
        name, _, content = line.partition(" ")
        try:
            value = json.loads(decode_text(content))
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield decode_text(name).removesuffix(_RECORD), value
