"""Original weights as publishers lay them out: names and shapes of the Transformers library, no bytes."""

from __future__ import annotations

from collections.abc import Iterator

from localai_deploy.domain.safetensors.header import StoredTensor

Layout = tuple[dict[str, object], tuple[StoredTensor, ...]]


def layout(config: dict[str, object], parts: dict[str, tuple[int, ...]], vocabulary: int) -> Layout:
    """A model whose blocks are all alike."""
    return config, tuple(_rows(config, parts, vocabulary))


def _rows(config: dict[str, object], parts: dict[str, tuple[int, ...]], words: int) -> Iterator[StoredTensor]:
    width, blocks = config["hidden_size"], config["num_hidden_layers"]
    assert isinstance(width, int)
    assert isinstance(blocks, int)
    outer = {"model.embed_tokens.weight": (words, width), "model.norm.weight": (width,)}
    if not config.get("tie_word_embeddings"):
        outer["lm_head.weight"] = (words, width)
    rows = {
        f"model.layers.{number}.{name}": shape for number in range(blocks) for name, shape in parts.items()
    }
    for name, shape in {**outer, **rows}.items():
        size = 2
        for length in shape:
            size *= length
        yield StoredTensor(name, "BF16", shape, size)


def attention(width: int, query: int, key: int) -> dict[str, tuple[int, ...]]:
    return {
        "self_attn.q_proj.weight": (query, width),
        "self_attn.k_proj.weight": (key, width),
        "self_attn.v_proj.weight": (key, width),
        "self_attn.o_proj.weight": (width, query),
    }


def net(width: int, forward: int, place: str = "mlp.") -> dict[str, tuple[int, ...]]:
    return {
        f"{place}gate_proj.weight": (forward, width),
        f"{place}up_proj.weight": (forward, width),
        f"{place}down_proj.weight": (width, forward),
    }


def norms(width: int, *names: str) -> dict[str, tuple[int, ...]]:
    two = ("input_layernorm", "post_attention_layernorm")
    return {f"{name}.weight": (width,) for name in (*two, *names)}


def config(
    kind: str, blocks: int, width: int, heads: int, kv_heads: int, **more: object
) -> dict[str, object]:
    return {
        "model_type": kind,
        "num_hidden_layers": blocks,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 32768,
        **more,
    }


def _qwen25() -> Layout:
    biases = {f"self_attn.{one}_proj.bias": (size,) for one, size in (("q", 3584), ("k", 512), ("v", 512))}
    parts = {**norms(3584), **attention(3584, 3584, 512), **biases, **net(3584, 18944)}
    return layout(config("qwen2", 28, 3584, 28, 4), parts, 152064)


def _gemma2() -> Layout:
    told = config("gemma2", 42, 3584, 16, 8, head_dim=256, sliding_window=4096, tie_word_embeddings=True)
    four = norms(3584, "pre_feedforward_layernorm", "post_feedforward_layernorm")
    return layout(told, {**four, **attention(3584, 4096, 2048), **net(3584, 14336)}, 256000)


def _mixtral() -> Layout:
    told = config("mixtral", 32, 4096, 32, 8, num_experts_per_tok=2, intermediate_size=14336)
    place = "block_sparse_moe.experts."
    experts = {f"{place}{one}.{name}.weight": (14336, 4096) for one in range(8) for name in ("w1", "w3")}
    experts |= {f"{place}{one}.w2.weight": (4096, 14336) for one in range(8)}
    gate = {"block_sparse_moe.gate.weight": (8, 4096)}
    return layout(told, {**norms(4096), **attention(4096, 4096, 1024), **gate, **experts}, 32000)


def _phi4_mini() -> Layout:
    parts = {
        **norms(3072),
        "self_attn.qkv_proj.weight": (5120, 3072),
        "self_attn.o_proj.weight": (3072, 3072),
        "mlp.gate_up_proj.weight": (16384, 3072),
        "mlp.down_proj.weight": (3072, 8192),
    }
    return layout(config("phi3", 32, 3072, 24, 8, tie_word_embeddings=True), parts, 200064)


PUBLISHED = {
    "qwen25-7b": _qwen25,
    "gemma2-9b": _gemma2,
    "mixtral-8x7b": _mixtral,
    "phi4-mini": _phi4_mini,
}
"""Measured GGUF model → the original that it was made of."""
