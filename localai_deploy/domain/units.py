"""Sizes for people: binary units, as disks and memory are counted in this field."""

from __future__ import annotations

import re

from localai_deploy.errors import InputError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def format_bytes(count: int) -> str:
    """``98362432`` → ``93.8 MiB``."""
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < 1024 or unit == _UNITS[-1]:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(I?)(B?)", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_bytes(text: str) -> int:
    """``8GiB``, ``8G``, ``8192 MiB`` → bytes; ``8GB`` is decimal, as it is written; a bare number is GiB.

    :raises InputError: ``size-invalid``.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise InputError(
            "size-invalid", f"{text!r} is no size of a memory", hint="write 8GiB, 24576MiB or 1.5TiB"
        )
    number, unit, binary, byte = found.groups()
    if not (unit or binary or byte):
        unit = "G"
    base = 1000 if unit and byte and not binary else 1024
    size = int(float(number) * base ** _POWERS[unit.upper()])
    if not 1 <= size < 1 << 50:
        raise InputError("size-invalid", f"{text!r} is no size of a memory", why="it is beyond any machine")
    return size
