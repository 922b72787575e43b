"""Safetensors headers: what is read, and what is refused at once."""

from __future__ import annotations

import json
import random
import time

import pytest

from localai_deploy.domain.safetensors.header import FIRST_BYTES, StoredTensor, parse_safetensors
from localai_deploy.errors import LocalaiError


def row(dtype: object, shape: object, begin: object, end: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def file_of(table: object, *, length: int | None = None) -> bytes:
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw


def parse(content: bytes) -> tuple[StoredTensor, ...]:
    return parse_safetensors(lambda offset, length: content[offset : offset + length])


SOUND = {
    "__metadata__": {"format": "pt"},
    "b": row("F8_E4M3", [4, 4], 64, 80),
    "a": row("BF16", [8, 4], 0, 64),
}


def test_the_table() -> None:
    assert [(t.name, t.dtype, t.shape, t.size_bytes) for t in parse(file_of(SOUND))] == [
        ("a", "BF16", (8, 4), 64),
        ("b", "F8_E4M3", (4, 4), 16),
    ]


def test_a_long_header_takes_two_reads() -> None:
    table = {f"tensor-{number:06}": row("U8", [1], number, number + 1) for number in range(20_000)}
    content, asked = file_of(table), []

    def read(offset: int, length: int) -> bytes:
        asked.append(offset)
        return content[offset : offset + length]

    assert len(parse_safetensors(read)) == 20_000
    assert asked == [0, FIRST_BYTES]


HOSTILE = {
    "no bytes": b"",
    "length": file_of(SOUND, length=1 << 40),
    "cut off": file_of(SOUND)[:-5],
    "not JSON": file_of(b"{]"),
    "deep": file_of(b"[" * 100_000),
    "a list": file_of([1]),
    "twice": file_of(b'{"a":{},"a":{}}'),
    "no row": file_of({"a": 1}),
    "dtype": file_of({"a": row("Q9", [1], 0, 1)}),
    "list as dtype": file_of({"a": row([1], [1], 0, 1)}),
    "negative": file_of({"a": row("U8", [-1], 0, 1)}),
    "fraction": file_of({"a": row("U8", [1.5], 0, 1)}),
    "true": file_of({"a": row("U8", [True], 0, 1)}),
    "values": file_of({"a": row("U8", [1 << 40, 1 << 40], 0, 1)}),
    "place": file_of({"a": row("U8", [4], 0, 5)}),
    "hole": file_of({"a": row("U8", [4], 1, 5)}),
    "overlap": file_of({"a": row("U8", [4], 0, 4), "b": row("U8", [4], 2, 6)}),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_headers_are_refused_at_once(fault: str) -> None:
    begin = time.monotonic()
    with pytest.raises(LocalaiError) as caught:
        parse(HOSTILE[fault])
    assert caught.value.error_id == "safetensors-header-invalid"
    assert time.monotonic() - begin < 1


def test_random_damage_ends_in_a_table_or_in_our_error() -> None:
    chance, content = random.Random(8), file_of(SOUND)
    for _ in range(3000):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            parse(bytes(damaged))
        except LocalaiError as error:
            assert error.error_id == "safetensors-header-invalid"  # noqa: PT017
