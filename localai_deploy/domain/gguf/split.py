"""Models in several files: their names, and one table of all their tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from localai_deploy.domain.gguf.header import GgufHeader, GgufModel, Tensor
from localai_deploy.errors import LocalaiError

_PART = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<end>\.gguf.*)", re.DOTALL)
_MOST_PARTS = 999


def part_count(header: GgufHeader) -> int:
    """How many files the model has.

    :raises LocalaiError: ``gguf-split-incomplete`` when this is not the first, or the count is absurd.
    """
    count = header.whole("split.count") or 1
    if not 1 <= count <= _MOST_PARTS:
        raise _incomplete(f"it counts {count} parts")
    if count > 1 and (number := header.whole("split.no") or 0):
        raise _incomplete(f"this is part {number + 1} of {count}, not the first")
    return count


def part_names(first: str, count: int) -> tuple[str, ...]:
    """Name (or path, or address) of every part, from the first one's.

    :raises LocalaiError: ``gguf-split-incomplete`` when ``first`` is not ``…-00001-of-0000N.gguf``.
    """
    if count == 1:
        return (first,)
    found = _PART.fullmatch(first)
    if not found or int(found["number"]) != 1 or int(found["count"]) != count:
        raise _incomplete(f"{first!r} does not end in -00001-of-{count:05}.gguf")
    return tuple(f"{found['stem']}-{part:05}-of-{count:05}{found['end']}" for part in range(1, count + 1))


def joined(headers: Sequence[GgufHeader]) -> GgufModel:
    """Join the parts, in order, to one model.

    :raises LocalaiError: ``gguf-split-incomplete`` when they do not belong together.
    """
    first = headers[0]
    for number, header in enumerate(headers[1:], start=1):
        if header.whole("split.no") != number or header.whole("split.count") != len(headers):
            raise _incomplete(f"the file in place of part {number + 1} says it is another one")
    tensors: tuple[Tensor, ...] = tuple(tensor for header in headers for tensor in header.tensors)
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise _incomplete("two parts hold one tensor")
    told = first.whole("split.tensors.count")
    if len(headers) > 1 and told is not None and told != len(tensors):
        raise _incomplete(f"the parts hold {len(tensors)} tensors, the first says {told}")
    return GgufModel(first.metadata, tensors, len(headers))


def _incomplete(why: str) -> LocalaiError:
    return LocalaiError(
        "gguf-split-incomplete",
        "the parts of the split model do not belong together",
        why=why,
        hint="name the first part (…-00001-of-0000N.gguf) and have all others beside it",
    )
