"""The API key: read where it lies, compared there, and taken out of everything that is sent back."""

from __future__ import annotations

import os
import stat
from typing import Any

REDACTED = "[redacted]"
SECRET_OPTIONS = ("--api-key", "--hf-token", "-hft")
_SHORTEST_TO_REPLACE = 8


def read_keys(path: str) -> list[str]:
    """Keys of the file, one a line; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:  # noqa: PTH123
            return [line.strip() for line in lines if line.strip()]
    except OSError:
        return []


def key_file(path: str) -> dict[str, Any] | None:
    """Who may read the file, and how long its shortest key is; None when there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return {
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "uid": found.st_uid,
        "gid": found.st_gid,
        "is_regular": stat.S_ISREG(found.st_mode),
        "shortest_key": min((len(key) for key in read_keys(path)), default=0),
    }


def contains_key(data: bytes, keys: list[str]) -> bool:
    """Whether any key stands in ``data``."""
    return any(key.encode("utf-8", "surrogateescape") in data for key in keys)


def redact(value: Any, keys: list[str]) -> Any:  # noqa: ANN401 - plain data of any shape
    """``value`` with every key in every string replaced."""
    if isinstance(value, str):
        for key in keys:
            if len(key) >= _SHORTEST_TO_REPLACE:
                value = value.replace(key, REDACTED)
        return value
    if isinstance(value, dict):
        return {redact(name, keys): redact(item, keys) for name, item in value.items()}
    if isinstance(value, list):
        return [redact(item, keys) for item in value]
    return value


def redact_arguments(arguments: list[str]) -> list[str]:
    """The value of an option that takes a secret is replaced, whichever secret it is."""
    shown: list[str] = []
    for argument in arguments:
        option, equals, _ = argument.partition("=")
        if shown and shown[-1] in SECRET_OPTIONS:
            shown.append(REDACTED)
        elif equals and option in SECRET_OPTIONS:
            shown.append(f"{option}={REDACTED}")
        else:
            shown.append(argument)
    return shown
