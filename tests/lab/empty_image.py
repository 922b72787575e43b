"""A disk image with nothing on it, for guests that have a system without booting from their disk."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.mirror_daemon import ensure_mirror

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.layout import Lab

_SIZE_BYTES = 2 << 30
_CLUSTER_BITS = 16


@dataclass(frozen=True, slots=True)
class EmptyImage:
    """Its file, and where the lab's mirror serves it; ``sha512`` in hex."""

    path: Path
    url: str
    sha512: str


def ensure_empty_image(lab: Lab, name: str = "empty-2g.qcow2") -> EmptyImage:
    """An empty disk of 2 GiB, served by the lab's mirror under that name."""
    content = empty_qcow2(_SIZE_BYTES)
    path = lab.files / "images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    url = f"{ensure_mirror(lab)}/files/images/{name}"
    return EmptyImage(path, url, hashlib.sha512(content).hexdigest())


def empty_qcow2(size_bytes: int) -> bytes:
    """A qcow2 file (version 2) without data: header, reference counts (table, block), first-level table."""
    cluster = 1 << _CLUSTER_BITS
    per_entry = cluster * (cluster // 8)
    entries = -(-size_bytes // per_entry)
    header = struct.pack(
        ">4sIQIIQIIQQIIQ",
        *(b"QFI\xfb", 2, 0, 0, _CLUSTER_BITS, size_bytes, 0),
        *(entries, 3 * cluster, cluster, 1, 0, 0),
    )
    counts = struct.pack(">4H", 1, 1, 1, 1)
    blocks = (header, struct.pack(">Q", 2 * cluster), counts, bytes(8 * entries))
    return b"".join(block.ljust(cluster, b"\0") for block in blocks)
