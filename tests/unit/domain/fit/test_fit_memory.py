"""Memory by part and device: layouts, caches, cards, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localai_deploy.domain.fit.arena import ALIGNMENT, Node, peak_bytes
from localai_deploy.domain.fit.cache import cache_bytes
from localai_deploy.domain.fit.compute import Share, compute_bytes
from localai_deploy.domain.fit.estimate import MIB, Card, context_overhead_bytes, estimate
from localai_deploy.domain.fit.reading import read_shape
from localai_deploy.domain.fit.shape import Attention, Shape
from localai_deploy.domain.fit.wish import Wish
from localai_deploy.domain.gguf.parser import parse_header
from localai_deploy.domain.gguf.split import joined
from localai_deploy.errors import LocalaiError
from tests.unit.domain.gguf_writing import gguf, pair, tensor

K = 1024


def shape(
    architecture: str, keys: dict[str, object], blocks: list[dict[str, tuple[int, ...]]], *, tied=False
) -> Shape:
    """A model of 1024 values and 2048 words whose tensors are all f32."""
    given = {"block_count": len(blocks), "embedding_length": K, **keys}
    kinds = {tuple: "[u32]", list: "[bool]", int: "u32", bool: "bool"}
    pairs = [pair("general.architecture", "str", architecture)]
    pairs += [pair(f"{architecture}.{key}", kinds[type(value)], value) for key, value in given.items()]
    names = {"token_embd.weight": (K, 2 * K), "output_norm.weight": (K,)}
    names |= {} if tied else {"output.weight": (K, 2 * K)}
    for number, parts in enumerate(blocks):
        names |= {f"blk.{number}.{name}.weight": size for name, size in parts.items()}
    content = gguf(pairs, [tensor(name, size) for name, size in names.items()])
    return read_shape(joined([parse_header(lambda offset, length: content[offset : offset + length])]))


DENSE = {
    "attn_norm": (K,),
    "attn_q": (K, K),
    "attn_k": (K, 256),
    "attn_v": (K, 256),
    "attn_output": (K, K),
    "ffn_norm": (K,),
    "ffn_gate": (K, 4 * K),
    "ffn_up": (K, 4 * K),
    "ffn_down": (4 * K, K),
}
DENSE_BYTES = 4 * (2 * K + K * K * 2 + 2 * K * 256 + 3 * 4 * K * K)
HEADS = {"attention.head_count": 8, "attention.head_count_kv": 2}
CARD = Card("card", 24 << 30, 34)


def test_the_smallest_hole_that_is_large_enough_is_taken() -> None:
    first, wall, second, end = (Node(size * ALIGNMENT) for size in (4, 1, 2, 1))
    reader = Node(0, [first, second])
    assert (
        peak_bytes([first, wall, second, end, reader, Node(2 * ALIGNMENT), Node(4 * ALIGNMENT)])
        == 8 * ALIGNMENT
    )


def test_a_result_is_handed_on_to_its_only_reader() -> None:
    first = Node(4 * ALIGNMENT)
    assert peak_bytes([first, Node(4 * ALIGNMENT, [first], in_place=True)]) == 4 * ALIGNMENT
    other = Node(4 * ALIGNMENT)
    readers = [Node(4 * ALIGNMENT, [other], in_place=True), Node(4 * ALIGNMENT, [other], in_place=True)]
    assert peak_bytes([other, *readers]) == 8 * ALIGNMENT


def test_weights_follow_the_layers() -> None:
    model = shape("llama", HEADS, [DENSE] * 4)
    found = estimate(model, Wish(gpu_layers=3), [CARD])
    card, host = found.devices
    assert (found.gpu_layers, found.layers) == (3, 5)
    assert card.weights_bytes == 2 * DENSE_BYTES + 4 * (K + 2 * K * K)
    assert host.weights_bytes == 2 * DENSE_BYTES + 4 * 2 * K * K
    assert card.context_overhead_bytes == 107 * MIB


def test_a_tied_table_is_twice_there_only_with_a_card() -> None:
    model = shape("llama", HEADS, [DENSE] * 2, tied=True)
    table = 4 * 2 * K * K
    whole = 2 * DENSE_BYTES + table + 4 * K
    assert estimate(model, Wish(), []).devices[0].weights_bytes == whole
    assert sum(need.weights_bytes for need in estimate(model, Wish(), [CARD]).devices) == whole + table


def test_cache_of_grouped_heads() -> None:
    model = shape("llama", HEADS, [DENSE])
    assert cache_bytes(model, model.blocks[0], Wish(context=1000)) == 1024 * 2 * 256 * 2
    turned = Wish(context=1024, cache_type_k="q8_0", cache_type_v="q4_0")
    assert cache_bytes(model, model.blocks[0], turned) == 1024 * 256 * (34 + 18) // 32


def test_windows_follow_the_pattern_of_the_file() -> None:
    keys = {**HEADS, "attention.sliding_window": 512, "attention.sliding_window_pattern": [True, False, True]}
    model = shape("any", keys, [DENSE] * 3)
    assert [block.attention.windowed for block in model.blocks] == [True, False, True]
    shared = Wish(context=8192, parallel=2, unified=True)
    sizes = [cache_bytes(model, block, shared) // (2 * 256 * 2) for block in model.blocks]
    assert sizes == [2 * 512 + 512, 8192, 2 * 512 + 512]
    apart = Wish(context=8192, parallel=2)
    assert cache_bytes(model, model.blocks[0], apart) // (2 * 256 * 2) == 2 * (512 + 512)


def test_windows_follow_the_architecture_otherwise() -> None:
    model = shape("gemma3", {**HEADS, "attention.sliding_window": 512}, [DENSE] * 6)
    assert [block.attention.windowed for block in model.blocks] == [True] * 5 + [False]


def test_shared_caches_are_counted_once() -> None:
    model = shape("gemma3n", {**HEADS, "attention.shared_kv_layers": 3}, [DENSE] * 5)
    assert [cache_bytes(model, block, Wish()) > 0 for block in model.blocks] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_heads_may_differ_from_block_to_block() -> None:
    bare = {name: size for name, size in DENSE.items() if name[5:] not in ("q", "k", "v")}
    blocks = [{**bare, "attn_qkv": (K, K + 4 * 128)}, {**bare, "attn_qkv": (K, K + 2 * 128)}]
    keys = {"attention.head_count": 8, "attention.head_count_kv": (2, 1)}
    model = shape("any", keys, blocks)
    assert [block.attention.key for block in model.blocks] == [256, 128]


def test_states_do_not_grow_with_the_context() -> None:
    mamba = {"attn_norm": (K,), "ssm_in": (K, 4 * K), "ssm_conv1d": (4, 2 * K), "ssm_out": (2 * K, K)}
    keys = {
        "ssm.inner_size": 2 * K,
        "ssm.state_size": 16,
        "ssm.conv_kernel": 4,
        "attention.head_count_kv": (0, 2),
    }
    model = shape("jamba", {**keys, "attention.head_count": 8}, [mamba, DENSE])
    state = 4 * (3 * 2 * K + 16 * 2 * K)
    short, long = (Wish(context=size, parallel=3) for size in (1024, 65536))
    assert (
        cache_bytes(model, model.blocks[0], short) == cache_bytes(model, model.blocks[0], long) == 3 * state
    )
    assert estimate(model, short, [CARD]).confidence == "close"
    assert estimate(model, short, [CARD, CARD]).confidence == "bound"


def test_embedding_models_have_no_cache_and_no_second_table() -> None:
    answering = shape("llama", HEADS, [DENSE] * 2, tied=True)
    embedding = shape("bert", {**HEADS, "attention.causal": False}, [DENSE] * 2, tied=True)
    wish = Wish(context=8192)
    first, second = (estimate(model, wish, [CARD]).devices[0] for model in (answering, embedding))
    assert second.kv_bytes == 0
    assert first.weights_bytes - second.weights_bytes == 4 * 2 * K * K
    assert second.compute_bytes < first.compute_bytes


DRY_RUN_MIB = {
    "grouped heads, flash attention": (DENSE, Wish(context=4096), 72.02),
    "grouped heads": (DENSE, Wish(context=8192, flash_attention=False), 298.02),
    "one product for gate and up": (
        {key: size for key, size in DENSE.items() if key[5:] not in ("q", "k", "v") and key != "ffn_gate"},
        Wish(context=4096),
        72.02,
    ),
}
"""Compute buffers of llama-fit-params (b11669, no card, logits of the whole ubatch) for models of 2048
values with 16 heads, 4 for keys, feed-forward width 8192 and 8192 words."""


@pytest.mark.parametrize("name", DRY_RUN_MIB)
def test_compute_buffer_against_the_runtimes_dry_run(name: str) -> None:
    parts, wish, told = DRY_RUN_MIB[name]
    fused = {"attn_qkv": (K, 1536), "ffn_up": (K, 8 * K)} if "ffn_gate" not in parts else {}
    half = shape("llama", {"attention.head_count": 8, "attention.head_count_kv": 2}, [{**parts, **fused}] * 6)
    model = doubled(half)
    share = Share(0, 6, output=True, host=True, alone=True)
    mine = compute_bytes(model, replace(wish, parallel=512, unified=True), share) / MIB
    assert told - 0.05 <= mine <= told * 1.015


def doubled(half: Shape) -> Shape:
    """Twice as wide in every direction; four times as many words."""
    blocks = tuple(
        replace(
            block,
            feed_forward=2 * block.feed_forward,
            attention=Attention(16, 2048, 512, 512, fused=block.attention.fused),
        )
        for block in half.blocks
    )
    return replace(half, embedding=2 * K, vocabulary=8 * K, blocks=blocks)


def test_rwkv() -> None:
    mixing = {"attn_norm": (K,), "time_mix_key": (K, K), "channel_mix_key": (K, 4 * K)}
    model = shape("rwkv6", {"wkv.head_size": 64}, [mixing] * 2)
    assert cache_bytes(model, model.blocks[0], Wish()) == 4 * (2 * K + K * 64)
    assert estimate(model, Wish(), [CARD]).devices[0].compute_bytes > 0


def test_two_cards_share_by_memory() -> None:
    model = shape("llama", HEADS, [DENSE] * 8)
    found = estimate(model, Wish(), [Card("large", 16 << 30), Card("small", 8 << 30)])
    large, small, host = found.devices
    assert large.weights_bytes == 6 * DENSE_BYTES
    assert small.weights_bytes == 2 * DENSE_BYTES + 4 * (K + 2 * K * K)
    assert host.weights_bytes == 4 * 2 * K * K
    assert large.kv_bytes + small.kv_bytes == 8 * cache_bytes(model, model.blocks[0], Wish())


EXPERTS = {name: size for name, size in DENSE.items() if not name.startswith("ffn_g")} | {
    "ffn_gate_inp": (K, 16),
    "ffn_gate_exps": (K, 256, 16),
    "ffn_up_exps": (K, 256, 16),
    "ffn_down_exps": (256, K, 16),
}


def test_experts_on_the_host() -> None:
    parts = {name: size for name, size in EXPERTS.items() if name not in ("ffn_up", "ffn_down")}
    model = shape("qwen3moe", {**HEADS, "expert_used_count": 4}, [parts] * 3)
    experts = 4 * 3 * K * 256 * 16
    assert model.blocks[0].expert_bytes == experts
    plain, moved = (estimate(model, Wish(cpu_expert_layers=count), [CARD]) for count in (0, 2))
    assert plain.confidence == "close"
    assert plain.devices[0].weights_bytes - moved.devices[0].weights_bytes == 2 * experts
    assert moved.devices[1].weights_bytes - plain.devices[1].weights_bytes == 2 * experts
    assert moved.devices[0].margin_bytes > experts


def test_flash_attention_spares_the_weights_of_attention() -> None:
    model = shape("llama", HEADS, [DENSE] * 2)
    on, off = (estimate(model, Wish(context=8192, flash_attention=f), [CARD]) for f in (True, False))
    assert off.devices[0].compute_bytes - on.devices[0].compute_bytes > 8 * 8192 * 512 * 4 // 2


def test_a_quantised_cache_widens_the_margin_by_one_block() -> None:
    model = shape("llama", HEADS, [DENSE] * 2)
    card = estimate(model, Wish(cache_type_k="q8_0", cache_type_v="q8_0"), [CARD]).devices[0]
    given = 4 * K * 512
    assert card.margin_bytes == round(card.parts_bytes * 0.01) + given + 2 * 512 * 4096


@pytest.mark.parametrize(
    "wish",
    [
        Wish(cache_type_v="q8_0", flash_attention=False),
        Wish(context=0),
        Wish(ubatch=0),
        Wish(parallel=0),
        Wish(gpu_layers=-1),
    ],
)
def test_impossible_wishes(wish: Wish) -> None:
    with pytest.raises(LocalaiError) as caught:
        estimate(shape("llama", HEADS, [DENSE]), wish, [CARD])
    assert caught.value.error_id == "fit-wish-impossible"


def test_a_file_that_is_no_language_model() -> None:
    content = gguf([pair("general.architecture", "str", "clip")], [tensor("v.patch_embd", (32,))])
    with pytest.raises(LocalaiError) as caught:
        read_shape(joined([parse_header(lambda offset, length: content[offset : offset + length])]))
    assert caught.value.error_id == "fit-model-unknown"


def test_the_overhead_of_a_card() -> None:
    assert [context_overhead_bytes(Card("", 0, count)) // MIB for count in (0, 34, 188)] == [555, 107, 555]
