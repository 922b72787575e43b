"""From a GGUF model's metadata and tensor table to its shape.

Keys and tensor names are those of the GGUF conventions (``gguf-py/gguf/constants.py``). What is not told
there but is part of an architecture's graph in llama.cpp (the period of sliding windows where no
pattern is written) stands in :data:`WINDOW_PERIODS`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from localai_deploy.domain.fit.shape import Attention, Block, Experts, LatentAttention, Recurrence, Shape
from localai_deploy.domain.gguf.header import GgufModel, Tensor
from localai_deploy.errors import LocalaiError

WINDOW_PERIODS = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gemma-embedding": 6,
    "gpt-oss": 2,
    "cohere2": 4,
    "olmo2": 4,
    "exaone4": 4,
    "llama4": 4,
    "plamo3": 8,
    "smallthinker": 4,
}
"""Every how many blocks one is not windowed; 1 where all are windowed."""
_STATE_KEYS = ("ssm_in", "ssm_conv1d", "time_mix_key", "time_mix_receptance", "ssm_a")
_MOST_BLOCKS = 4096


def read_shape(model: GgufModel) -> Shape:
    """Read the shape of ``model``.

    :raises LocalaiError: ``fit-model-unknown`` when nothing can be said about it.
    """
    return _Reader(model).shape()


class _Reader:
    def __init__(self, model: GgufModel) -> None:
        self._model = model
        self._prefix = model.architecture + "."
        self._parts: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for tensor in model.tensors:
            head, _, rest = tensor.name.partition(".")
            number, _, name = rest.partition(".")
            if head == "blk" and number.isdecimal() and int(number) < _MOST_BLOCKS:
                self._parts[int(number)][name] = tensor

    def shape(self) -> Shape:
        table = self._model.by_name.get("token_embd.weight")
        count = min(self._whole("block_count"), len(self._parts))
        if not self._model.architecture or table is None or len(table.shape) != 2 or not count:
            raise self._unknown("it has no token_embd.weight or no blocks")
        blocks = tuple(self._block(number) for number in range(count))
        answers = "output.weight" in self._model.by_name or not self._causal()
        shared = 0 if answers else table.size_bytes
        own = sum(tensor.size_bytes for tensor in self._model.tensors if tensor.name.startswith("output"))
        held = sum(block.weights_bytes for block in blocks)
        return Shape(
            architecture=self._model.architecture,
            embedding=table.shape[0],
            vocabulary=table.shape[1],
            blocks=blocks,
            input_bytes=sum(tensor.size_bytes for tensor in self._model.tensors) - held - own,
            output_bytes=own + shared,
            tied_bytes=shared,
            window=self._whole("attention.sliding_window"),
            known=all(block.attention is not None for block in blocks),
        )

    def _block(self, number: int) -> Block:
        parts = self._parts[number]
        experts = self._experts(parts)
        width, gated, fused = _feed_forward(parts, shared=experts is not None)
        recurrent = any(name.startswith(_STATE_KEYS) for name in parts)
        return Block(
            weights_bytes=sum(tensor.size_bytes for tensor in parts.values()),
            expert_bytes=sum(tensor.size_bytes for name, tensor in parts.items() if "_exps." in name),
            attention=self._attention(number, parts),
            recurrence=self._recurrence(parts) if recurrent else None,
            experts=experts,
            feed_forward=width,
            gated=gated,
            fused_gate=fused,
            attention_post_norm="post_attention_norm.weight" in parts and "ffn_norm.weight" in parts,
            feed_forward_post_norm="post_ffw_norm.weight" in parts,
            beside=not any("ffn_norm" in name or "post_attention_norm" in name for name in parts),
        )

    def _attention(self, number: int, parts: Mapping[str, Tensor]) -> Attention | None:
        if "attn_kv_a_mqa.weight" in parts:
            return self._latent(number, parts)
        heads = self._whole("attention.head_count", number)
        kv_heads = self._whole("attention.head_count_kv", number) or heads
        query, fused = parts.get("attn_q.weight"), parts.get("attn_qkv.weight")
        if not heads or (query is None and fused is None):
            return None
        embedding = self._whole("embedding_length")
        key_length = self._length("key", number) or embedding // heads
        value_length = self._length("value", number) or embedding // heads
        key, value = parts.get("attn_k.weight"), parts.get("attn_v.weight")
        return Attention(
            heads=heads,
            query=query.shape[-1] if query else heads * key_length,
            key=key.shape[-1] if key else kv_heads * key_length,
            value=value.shape[-1] if value else kv_heads * value_length,
            windowed=self._windowed(number),
            own_cache=number < self._caching(),
            fused=query is None,
            normed="attn_q_norm.weight" in parts,
        )

    def _latent(self, number: int, parts: Mapping[str, Tensor]) -> Attention | None:
        heads, rank = self._whole("attention.head_count", number), self._whole("attention.kv_lora_rank")
        rope = parts["attn_kv_a_mqa.weight"].shape[-1] - rank
        key, value = self._whole("attention.key_length_mla"), self._whole("attention.value_length_mla")
        if not key:
            key, value = self._whole("attention.key_length"), self._whole("attention.value_length")
            return Attention(heads, heads * key, heads * key, heads * value)
        latent = LatentAttention(rank, rope, key, value)
        return Attention(heads, heads * key, rank + rope, 0, latent=latent)

    def _length(self, kind: str, number: int) -> int:
        window = self._whole(f"attention.{kind}_length_swa") if self._windowed(number) else 0
        return window or self._whole(f"attention.{kind}_length", number)

    def _causal(self) -> bool:
        """Whether tokens are answered one after the other; embedding models look at all at once."""
        return self._model.metadata.get(self._prefix + "attention.causal") is not False

    def _caching(self) -> int:
        """Blocks before this one have a cache of their own."""
        if not self._causal():
            return 0
        return self._whole("block_count") - self._whole("attention.shared_kv_layers")

    def _windowed(self, number: int) -> bool:
        if not self._whole("attention.sliding_window"):
            return False
        pattern = self._model.metadata.get(self._prefix + "attention.sliding_window_pattern")
        if isinstance(pattern, tuple):
            return number < len(pattern) and bool(pattern[number])
        period = pattern if isinstance(pattern, int) else WINDOW_PERIODS.get(self._model.architecture, 0)
        return bool(period) and (period == 1 or number % period < period - 1)

    def _recurrence(self, parts: Mapping[str, Tensor]) -> Recurrence:
        embedding = self._whole("embedding_length")
        head = self._whole("wkv.head_size")
        if head:
            return Recurrence(4 * (2 * embedding + embedding * head), embedding, 5 * embedding)
        inner, state = self._whole("ssm.inner_size"), self._whole("ssm.state_size")
        groups, kernel = self._whole("ssm.group_count"), self._whole("ssm.conv_kernel")
        convolved = inner + 2 * groups * state
        projected = parts["ssm_in.weight"].shape[-1] if "ssm_in.weight" in parts else 2 * convolved
        return Recurrence(4 * ((kernel - 1) * convolved + state * inner), convolved, projected)

    def _experts(self, parts: Mapping[str, Tensor]) -> Experts | None:
        down = parts.get("ffn_down_exps.weight")
        if down is None or len(down.shape) != 3:
            return None
        used = self._whole("expert_used_count") or down.shape[2]
        normed = self._model.metadata.get(self._prefix + "expert_weights_norm", True)
        return Experts(down.shape[2], used, down.shape[0], bool(normed))

    def _whole(self, key: str, number: int | None = None) -> int:
        """Give the integer at ``key``; of an array the one of block ``number``, else the largest; else 0."""
        value = self._model.metadata.get(self._prefix + key)
        if isinstance(value, tuple) and value:
            value = value[number] if number is not None and number < len(value) else max(value)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    def _unknown(self, why: str) -> LocalaiError:
        return LocalaiError(
            "fit-model-unknown",
            f"nothing can be said about a model of the architecture {self._model.architecture!r}",
            why=why,
            hint="take the whole file's size, the cache and 1 GiB as a safe bound",
        )


def _feed_forward(parts: Mapping[str, Tensor], *, shared: bool) -> tuple[int, bool, bool]:
    """Width of the dense or shared net, whether it has a gate, and whether gate and up are one product."""
    end = "_shexp.weight" if shared else ".weight"
    up, gate, down = (parts.get(f"ffn_{name}{end}") for name in ("up", "gate", "down"))
    if up is None or down is None:
        return 0, False, False
    width = down.shape[0]
    fused = gate is None and up.shape[-1] == 2 * width
    return width, gate is not None or fused, fused
