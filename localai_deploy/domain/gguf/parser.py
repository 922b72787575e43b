"""Reads a GGUF header: metadata without vocabularies, and the exact tensor table.

Layout (versions 2 and 3, little-endian): ``GGUF``, u32 version, u64 tensors, u64 pairs; each pair a
string key, u32 kind and value; each tensor a string name, u32 dimensions, u64 each, u32 type,
u64 offset from the data's begin, which is padded to ``general.alignment``.
"""

from __future__ import annotations

import struct
from math import prod

from localai_deploy.domain.gguf.faults import KNOWN_VERSIONS, invalid, not_gguf, truncated, unknown_version
from localai_deploy.domain.gguf.header import GgufHeader, Scalar, SkippedValue, Tensor, Value
from localai_deploy.domain.gguf.tensor_types import TENSOR_TYPES
from localai_deploy.domain.gguf.window import Read, Window

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_PAIRS = 1 << 16
_MOST_TENSORS = 1 << 18
_MOST_NAME_BYTES = 1 << 12
_MOST_TEXTS = 1 << 22
"""In one array; the largest vocabularies and their merges have a million."""
_MOST_KEPT_TEXT = 4096
_MOST_KEPT_VALUES = 4096
_MOST_DIMENSIONS = 4
_MOST_VALUES = 1 << 50


def parse_header(read: Read) -> GgufHeader:
    """Read the header over ``read(offset, length)``: one call for most models, two for large vocabularies.

    :raises LocalaiError: ``model-format-wrong``, ``gguf-version-unknown``, ``gguf-truncated`` or
        ``gguf-header-invalid``.
    """
    window = Window(read)
    version, tensor_count, pair_count = _preamble(window)
    metadata: dict[str, Value] = {}
    for _ in range(pair_count):
        key = _name(window)
        if key in metadata:
            raise invalid(f"the key {key!r} is there twice")
        metadata[key] = _value(window, key)
    alignment = _alignment(metadata)
    tensors = tuple(_tensor(window, alignment) for _ in range(tensor_count))
    if len({tensor.name for tensor in tensors}) != tensor_count:
        raise invalid("two tensors have one name")
    data_offset = -(-window.offset // alignment) * alignment
    end = max((tensor.offset + tensor.size_bytes for tensor in tensors), default=0)
    return GgufHeader(version, metadata, tensors, data_offset, data_offset + end)


def _preamble(window: Window) -> tuple[int, int, int]:
    if not window.data.startswith(b"GGUF"):
        raise truncated(0, 24, 0) if not window.data else not_gguf(window.data)
    window.skip(4)
    version = window.whole(4)
    if version not in KNOWN_VERSIONS:
        raise unknown_version(version)
    tensor_count, pair_count = window.whole(8), window.whole(8)
    if tensor_count > _MOST_TENSORS or pair_count > _MOST_PAIRS:
        raise invalid(f"it counts {tensor_count} tensors and {pair_count} pairs")
    return version, tensor_count, pair_count


def _name(window: Window) -> str:
    length = window.whole(8)
    if length > _MOST_NAME_BYTES:
        raise invalid(f"a name of {length} bytes at {window.offset}")
    return _decoded(window.take(length))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise invalid(f"a text is not UTF-8: {raw[:40]!r}") from error


def _value(window: Window, key: str) -> Value:
    kind = window.whole(4)
    if kind == _STRING:
        return _text(window)
    if kind == _ARRAY:
        return _array(window, key)
    return _scalar(window, key, kind)


def _scalar(window: Window, key: str, kind: int) -> Scalar:
    code = _SCALARS.get(kind)
    if code is None:
        raise invalid(f"{key!r} has the unknown kind {kind}")
    value: Scalar = struct.unpack("<" + code, window.take(struct.calcsize("<" + code)))[0]
    return value


def _text(window: Window) -> str | SkippedValue:
    length = window.whole(8)
    if length > _MOST_KEPT_TEXT:
        window.skip(length)
        return SkippedValue("text", length)
    return _decoded(window.take(length))


def _array(window: Window, key: str) -> Value:
    kind, count = window.whole(4), window.whole(8)
    if kind == _STRING:
        if count > _MOST_TEXTS:
            raise invalid(f"{key!r} counts {count} texts")
        _skip_strings(window, count)
        return SkippedValue("texts", count)
    code = _SCALARS.get(kind)
    if code is None:
        raise invalid(f"{key!r} is an array of the kind {kind}" + (" (nested)" if kind == _ARRAY else ""))
    size = struct.calcsize("<" + code)
    if count > _MOST_KEPT_VALUES:
        window.skip(count * size)
        return SkippedValue("numbers", count)
    return struct.unpack(f"<{count}{code}", window.take(count * size))


def _skip_strings(window: Window, count: int) -> None:
    """Walk over ``count`` strings: only their lengths are looked at."""
    length_at = struct.Struct("<Q").unpack_from
    while count:
        window.need(8)
        data, at, last = window.data, window.at, len(window.data) - 8
        while count and at <= last:
            at += 8 + length_at(data, at)[0]
            count -= 1
        step, window.at = at - window.at, window.at
        window.skip(step)


def _alignment(metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise invalid(f"general.alignment is {alignment!r}")
    return alignment


def _tensor(window: Window, alignment: int) -> Tensor:
    name, dimensions = _name(window), window.whole(4)
    if dimensions > _MOST_DIMENSIONS:
        raise invalid(f"tensor {name!r} has {dimensions} dimensions")
    shape = tuple(window.whole(8) for _ in range(dimensions))
    number, offset = window.whole(4), window.whole(8)
    kind = TENSOR_TYPES.get(number)
    if kind is None:
        raise invalid(f"tensor {name!r} has the unknown type {number}")
    row = shape[0] if shape else 1
    values = prod(shape)
    if not 0 < values <= _MOST_VALUES or row % kind.block_values:
        raise invalid(f"tensor {name!r} of type {kind.name} cannot have the shape {shape}")
    if offset % alignment or offset > 1 << 60:
        raise invalid(f"tensor {name!r} begins at {offset}")
    return Tensor(name, shape, kind.name, kind.row_bytes(row) * (values // row), offset)
