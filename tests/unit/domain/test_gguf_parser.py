"""GGUF headers: what is read, what is passed over, and what is refused."""

from __future__ import annotations

import random
import struct
import time

import pytest

from localai_deploy.domain.gguf.header import GgufHeader, SkippedValue
from localai_deploy.domain.gguf.parser import parse_header
from localai_deploy.domain.gguf.split import joined, part_count, part_names
from localai_deploy.domain.gguf.window import FIRST_BYTES, MOST_BYTES
from localai_deploy.errors import LocalaiError
from tests.unit.domain.gguf_writing import gguf, pair, tensor, text


def parse(content: bytes) -> GgufHeader:
    return parse_header(lambda offset, length: content[offset : offset + length])


def error_of(content: bytes) -> str:
    with pytest.raises(LocalaiError) as caught:
        parse(content)
    return caught.value.error_id


NAMED = pair("general.architecture", "str", "llama")


def test_metadata_and_tensors() -> None:
    pairs = [
        NAMED,
        pair("llama.block_count", "u32", 2),
        pair("llama.attention.head_count_kv", "[u32]", [8, 0]),
        pair("pattern", "[bool]", [True, False]),
        pair("tokenizer.ggml.tokens", "[str]", ["a", "bcd", ""]),
        pair("tokenizer.chat_template", "str", "x" * 5000),
    ]
    content = gguf(
        pairs, [tensor("token_embd.weight", (256, 3), 12), tensor("output_norm.weight", (256,), 0, 448)]
    )
    header = parse(content)
    assert header.architecture == "llama"
    assert header.whole("llama.block_count") == 2
    assert header.metadata["llama.attention.head_count_kv"] == (8, 0)
    assert header.metadata["pattern"] == (True, False)
    assert header.metadata["tokenizer.ggml.tokens"] == SkippedValue("texts", 3)
    assert header.metadata["tokenizer.chat_template"] == SkippedValue("text", 5000)
    assert [(row.type_name, row.size_bytes) for row in header.tensors] == [("q4_K", 432), ("f32", 1024)]
    assert header.data_offset == len(content)
    assert header.least_file_bytes == len(content) + 448 + 1024


def test_a_large_vocabulary_takes_two_reads_and_little_time() -> None:
    words = pair("tokenizer.ggml.tokens", "[str]", ["some-longer-word"] * 400_000)
    content = gguf([words, NAMED], [tensor("t", (32,))])
    asked: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return content[offset : offset + length]

    begin = time.monotonic()
    header = parse_header(read)
    assert time.monotonic() - begin < 2
    assert header.architecture == "llama"
    assert len(asked) == 2
    assert FIRST_BYTES <= asked[1][0] < FIRST_BYTES + 32


def test_a_read_may_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [pair("words", "[str]", ["ab", "cde", "f" * 30]), NAMED, pair("many", "[u32]", [7] * 5000)]
    content = gguf(pairs, [tensor("t", (32,))])
    whole = parse(content)
    for first in range(4, 160):
        monkeypatch.setattr("localai_deploy.domain.gguf.window.FIRST_BYTES", first)
        assert parse(content) == whole


@pytest.mark.parametrize("version", [0, 1, 4, 99, 0x03000000])
def test_other_versions(version: int) -> None:
    assert error_of(gguf([NAMED], [], version=version)) == "gguf-version-unknown"


def test_big_endian_is_named() -> None:
    with pytest.raises(LocalaiError, match="big-endian"):
        parse(gguf([], [], version=0x03000000))


def test_version_2_is_read() -> None:
    assert parse(gguf([NAMED], [], version=2)).architecture == "llama"


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"version https://git-lfs", b"PK\3\4", b"GGU"])
def test_not_a_gguf(content: bytes) -> None:
    assert error_of(content) == "model-format-wrong"


def test_each_truncation_is_told() -> None:
    content = gguf([NAMED, pair("a", "[str]", ["x", "y"])], [tensor("token_embd.weight", (256, 3), 12)])
    end = content.rindex(struct.pack("<IQ", 12, 0)) + 12
    assert {error_of(content[:cut]) for cut in range(4, end)} == {"gguf-truncated"}


HUGE = 1 << 62
HOSTILE = {
    "counts of tensors": gguf([], [], counts=(HUGE, 0)),
    "counts of pairs": gguf([], [], counts=(0, HUGE)),
    "key's length": gguf([struct.pack("<Q", HUGE)], [], counts=(0, 1)),
    "text's length": gguf([text("k") + struct.pack("<IQ", 8, HUGE)], [], counts=(0, 1)),
    "array of numbers": gguf([text("k") + struct.pack("<IIQ", 9, 0, HUGE)], [], counts=(0, 1)),
    "array's text": gguf([text("k") + struct.pack("<IIQQ", 9, 8, 5, HUGE)], [], counts=(0, 1)),
    "nested array": gguf([text("k") + struct.pack("<IIQ", 9, 9, 1)], [], counts=(0, 1)),
    "kind": gguf([text("k") + struct.pack("<I", 77)], [], counts=(0, 1)),
    "not UTF-8": gguf([text(b"\xff\xfe") + struct.pack("<IB", 0, 1)], []),
    "a key twice": gguf([NAMED, NAMED], []),
    "alignment 0": gguf([pair("general.alignment", "u32", 0)], []),
    "alignment 48": gguf([pair("general.alignment", "u32", 48)], []),
    "tensor's type": gguf([], [tensor("t", (32,), 4)]),
    "dimensions": gguf([], [tensor("t", (1, 1, 1, 1, 1))]),
    "no values": gguf([], [tensor("t", (0,))]),
    "too many values": gguf([], [tensor("t", (1 << 40, 1 << 40))]),
    "half a block": gguf([], [tensor("t", (100,), 12)]),
    "offset": gguf([], [tensor("t", (32,), 0, 7)]),
    "a tensor twice": gguf([], [tensor("t", (32,)), tensor("t", (32,), 0, 128)]),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_headers_are_refused_at_once(fault: str) -> None:
    begin = time.monotonic()
    assert error_of(HOSTILE[fault]) == "gguf-header-invalid"
    assert time.monotonic() - begin < 0.5


def test_endless_empty_texts_are_bounded() -> None:
    head = gguf([text("k") + struct.pack("<IIQ", 9, 8, 1 << 50)], [], counts=(0, 1))
    read_bytes = 0

    def endless(offset: int, length: int) -> bytes:
        nonlocal read_bytes
        read_bytes += length
        return (head + bytes(length))[:length] if offset == 0 else bytes(length)

    with pytest.raises(LocalaiError) as caught:
        parse_header(endless)
    assert caught.value.error_id == "gguf-header-invalid"
    assert read_bytes < 4 * MOST_BYTES


def test_random_damage_ends_in_a_header_or_in_our_error() -> None:
    chance = random.Random(6)
    content = gguf(
        [NAMED, pair("a", "[str]", ["x", "y"]), pair("b", "[u32]", [1, 2, 3]), pair("c", "f32", 1.5)],
        [tensor("token_embd.weight", (256, 3), 12), tensor("u", (64, 2), 8, 1024)],
    )
    for _ in range(3000):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(4, len(damaged))] = chance.choice(
                [0, 1, 127, 255, chance.randrange(256)]
            )
        try:
            parse(bytes(damaged))
        except LocalaiError as error:
            assert error.error_id.startswith("gguf-")  # noqa: PT017


def endless(head: bytes) -> tuple[str, int, float]:
    """Parse ``head`` and zeros without end: the error, bytes that were read, seconds."""
    asked, begin = 0, time.monotonic()

    def read(offset: int, length: int) -> bytes:
        nonlocal asked
        asked += length
        return head[offset : offset + length].ljust(length, b"\0")

    with pytest.raises(LocalaiError) as caught:
        parse_header(read)
    return caught.value.error_id, asked, time.monotonic() - begin


@pytest.mark.parametrize(
    "head",
    [
        gguf([], [], counts=(0, 1 << 16)),
        gguf([], [], counts=(1 << 18, 0)),
        gguf([text("k") + struct.pack("<IIQ", 9, 8, 1 << 22)], [], counts=(0, 4)),
        gguf([text("k") + struct.pack("<IIQ", 9, 10, (1 << 22) - 1)], [], counts=(0, 40)),
        gguf([text("k") + struct.pack("<IQ", 8, (1 << 26) - 100)], [], counts=(0, 3)),
    ],
)
def test_endless_files_are_bounded_in_bytes_and_time(head: bytes) -> None:
    error_id, asked, seconds = endless(head)
    assert error_id in ("gguf-header-invalid", "gguf-truncated")
    assert asked < 4 * MOST_BYTES
    assert seconds < 20


def test_names_of_no_real_length_are_refused() -> None:
    assert error_of(gguf([NAMED], [tensor("t" * 5000, (32,))])) == "gguf-header-invalid"


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_behind_a_sound_beginning(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(200):
        counts = struct.pack("<IQQ", 3, chance.choice([1, 5, 1 << 17]), chance.choice([0, 1, 9, 1 << 15]))
        error_id = error_of(b"GGUF" + counts + chance.randbytes(chance.randrange(1, 4000)))
        assert error_id in ("gguf-header-invalid", "gguf-truncated")


def part(number: int, count: int, total: int, name: str) -> GgufHeader:
    pairs = [
        pair("split.no", "u32", number),
        pair("split.count", "u32", count),
        pair("split.tensors.count", "i32", total),
    ]
    return parse(gguf(pairs, [tensor(name, (32,))]))


def test_split_models() -> None:
    parts = [part(0, 2, 2, "a"), part(1, 2, 2, "b")]
    assert part_count(parts[0]) == 2
    assert part_names("m-00001-of-00002.gguf", 2) == ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    assert [row.name for row in joined(parts).tensors] == ["a", "b"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: part_count(part(1, 2, 2, "b")),
        lambda: part_count(part(0, 1 << 20, 2, "b")),
        lambda: part_names("model.gguf", 2),
        lambda: part_names("m-00002-of-00002.gguf", 2),
        lambda: part_names("m-00001-of-00003.gguf", 2),
        lambda: joined([part(0, 2, 2, "a"), part(0, 2, 2, "b")]),
        lambda: joined([part(0, 2, 2, "a"), part(1, 2, 2, "a")]),
        lambda: joined([part(0, 2, 3, "a"), part(1, 2, 3, "b")]),
    ],
)
def test_parts_that_do_not_belong_together(wrong) -> None:
    with pytest.raises(LocalaiError) as caught:
        wrong()
    assert caught.value.error_id == "gguf-split-incomplete"
