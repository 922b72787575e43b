"""Writes GGUF headers, sound or with chosen faults."""

from __future__ import annotations

import struct

KINDS = {"u32": (4, "I"), "u64": (10, "Q"), "f32": (6, "f"), "bool": (7, "?"), "i32": (5, "i")}


def text(value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: str, value: object) -> bytes:
    """One metadata pair; ``kind`` is str, a key of KINDS, ``[str]`` or ``[kind]``."""
    if kind == "str":
        return text(key) + struct.pack("<I", 8) + text(value)
    if kind == "[str]":
        return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    if kind.startswith("["):
        number, code = KINDS[kind[1:-1]]
        return text(key) + struct.pack(f"<IIQ{len(value)}{code}", 9, number, len(value), *value)
    number, code = KINDS[kind]
    return text(key) + struct.pack("<I" + code, number, value)


def tensor(name: str, shape: tuple[int, ...], number: int = 0, offset: int = 0) -> bytes:
    """One row of the tensor table."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, offset)


def gguf(
    pairs: list[bytes], tensors: list[bytes], *, version: int = 3, counts: tuple[int, int] | None = None
) -> bytes:
    """A header, padded to 32 bytes."""
    told = counts or (len(tensors), len(pairs))
    body = b"GGUF" + struct.pack("<IQQ", version, *told) + b"".join(pairs) + b"".join(tensors)
    return body + b"\0" * (-len(body) % 32)
