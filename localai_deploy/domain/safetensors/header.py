"""Reads a safetensors header: u64 length, then JSON of name → dtype, shape and place of its bytes.

Source: the format's own description (``safetensors`` README): no holes, no overlaps, at most 100 MB.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeGuard

from localai_deploy.errors import LocalaiError

Read = Callable[[int, int], bytes]
FIRST_BYTES = 1 << 20
"""Headers of most files fit: one request."""
_MOST_BYTES = 32 << 20
_MOST_TENSORS = 1 << 18
_MOST_VALUES = 1 << 50
_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One row of the table; ``shape`` has the slowest dimension first."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


def parse_safetensors(read: Read) -> tuple[StoredTensor, ...]:
    """Read the table over ``read(offset, length)``: one call, or two for a long header.

    :raises LocalaiError: ``safetensors-header-invalid``.
    """
    head = read(0, FIRST_BYTES)
    length = int.from_bytes(head[:8], "little")
    if len(head) < 10 or not 2 <= length <= _MOST_BYTES:
        raise _invalid(f"it says that it is {length} bytes long")
    raw = head[8 : 8 + length]
    if len(raw) < length:
        raw += read(8 + len(raw), length - len(raw))
    return _table(_decoded(raw, length))


def _decoded(raw: bytes, length: int) -> Mapping[str, object]:
    if len(raw) != length:
        raise _invalid(f"the file ends {length - len(raw)} bytes too early")
    try:
        told = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"it is not JSON: {error}") from error
    if not isinstance(told, dict) or len(told) > _MOST_TENSORS:
        raise _invalid("it is no table of tensors")
    return told


def _unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key!r} is there twice")
        found[key] = value
    return found


def _table(told: Mapping[str, object]) -> tuple[StoredTensor, ...]:
    rows = sorted(
        (_row(name, row) for name, row in told.items() if name != "__metadata__"), key=lambda row: row[1]
    )
    end = 0
    for tensor, begin in rows:
        if begin != end:
            raise _invalid(f"the bytes of {tensor.name!r} begin at {begin}, not at {end}")
        end = begin + tensor.size_bytes
    return tuple(tensor for tensor, _ in rows)


def _row(name: str, row: object) -> tuple[StoredTensor, int]:
    if not isinstance(row, dict):
        raise _invalid(f"{name!r} has no dtype, shape and place")
    dtype, shape, place = row.get("dtype"), row.get("shape"), row.get("data_offsets")
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if (
        not isinstance(dtype, str)
        or bits is None
        or not _wholes(shape)
        or not _wholes(place)
        or len(place) != 2
    ):
        raise _invalid(f"{name!r} has the dtype {dtype!r}, the shape {shape!r} and the place {place!r}")
    values = prod(shape)
    size = values * bits // 8
    if values > _MOST_VALUES or place[1] - place[0] != size:
        raise _invalid(
            f"{name!r} of {values} values as {dtype} does not take the bytes {place[0]} to {place[1]}"
        )
    return StoredTensor(name, dtype, tuple(shape), size), place[0]


def _wholes(value: object) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= 16
        and all(type(number) is int and 0 <= number <= 1 << 60 for number in value)
    )


def _invalid(why: str) -> LocalaiError:
    return LocalaiError(
        "safetensors-header-invalid",
        "the safetensors file's header cannot be right",
        why=why[:400],
        hint="fetch the file again, or take it from its publisher",
    )
