"""Small models for the tests of ``fit``: real GGUF headers, no weights."""

from __future__ import annotations

from tests.unit.domain.gguf_writing import gguf, pair, tensor

WIDTH, WORDS, BLOCKS = 4096, 32000, 32
KINDS = {"f16": (1, 2.0), "q8_0": (8, 34 / 32), "q4_0": (2, 18 / 32)}
"""Type of all weights → its number in the file and bytes a value."""


def dense(kind: str = "q4_0", blocks: int = BLOCKS) -> bytes:
    """A header of a llama of 6.5e9 values; a file of it has 3.4 GiB at 4 bits."""
    return _header("llama", _block(kind), kind, {}, blocks)


def mixture(kind: str = "q4_0") -> bytes:
    """A header with 16 experts of which 2 are used."""
    parts = {name: size for name, size in _block(kind).items() if not name.startswith("ffn_")}
    parts |= {"ffn_norm": (WIDTH,), "ffn_gate_inp": (WIDTH, 16)}
    parts |= {f"ffn_{name}_exps": (WIDTH, 1024, 16) for name in ("gate", "up")}
    parts["ffn_down_exps"] = (1024, WIDTH, 16)
    return _header("qwen3moe", parts, kind, {"expert_used_count": 2, "expert_count": 16})


def _block(kind: str) -> dict[str, tuple[int, ...]]:
    return {
        "attn_norm": (WIDTH,),
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH, 1024),
        "attn_v": (WIDTH, 1024),
        "attn_output": (WIDTH, WIDTH),
        "ffn_norm": (WIDTH,),
        "ffn_gate": (WIDTH, 11008),
        "ffn_up": (WIDTH, 11008),
        "ffn_down": (11008, WIDTH),
    }


def _header(
    architecture: str,
    parts: dict[str, tuple[int, ...]],
    kind: str,
    more: dict[str, int],
    blocks: int = BLOCKS,
) -> bytes:
    given = {
        "block_count": blocks,
        "embedding_length": WIDTH,
        "context_length": 8192,
        "attention.head_count": 32,
        "attention.head_count_kv": 8,
        **more,
    }
    pairs = [pair("general.architecture", "str", architecture)]
    pairs += [pair(f"{architecture}.{key}", "u32", value) for key, value in given.items()]
    sizes = {"token_embd.weight": (WIDTH, WORDS), "output.weight": (WIDTH, WORDS)}
    for number in range(blocks):
        sizes |= {f"blk.{number}.{name}.weight": size for name, size in parts.items()}
    return gguf(pairs, _table(sizes, kind))


def _table(sizes: dict[str, tuple[int, ...]], kind: str) -> list[bytes]:
    rows, offset = [], 0
    for name, size in sizes.items():
        number, each = KINDS[kind] if len(size) > 1 else (0, 4.0)
        rows.append(tensor(name, size, number, offset))
        values = 1
        for length in size:
            values *= length
        offset += round(values * each)
    return rows
