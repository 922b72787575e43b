"""From a GGUF model's metadata and tensor table to its shape.

Keys and tensor names are those of the GGUF conventions (``gguf-py/gguf/constants.py``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from localai_deploy.domain.fit.architectures import CACHELESS, MEASURED, WITHOUT_OUTPUT
from localai_deploy.domain.fit.metadata import Metadata
from localai_deploy.domain.fit.recurrences import is_recurrent, recurrence_of
from localai_deploy.domain.fit.shape import Attention, Block, Experts, LatentAttention, Shape
from localai_deploy.domain.fit.windows import window_tokens, windowed
from localai_deploy.domain.gguf.header import GgufModel, Tensor
from localai_deploy.errors import LocalaiError

_MOST_BLOCKS = 4096
_MOST_USED = 256
_NORMS_BETWEEN = ("ffn_norm", "post_attention_norm", "attn_output_norm")
_REORDERED = ("q4_0", "q4_K", "iq4_nl", "mxfp4")
_OF_THE_FIRST_BLOCK = ("per_layer_model_proj", "per_layer_proj_norm")
_OUTPUT_PARTS = ("output", "cls", "dense_", "altup_proj", "altup_unembd", "hc_head", "token_embd_norm_out")


def read_shape(model: GgufModel) -> Shape:
    """Read the shape of ``model``.

    :raises LocalaiError: ``fit-model-unknown`` when nothing can be said about it.
    """
    return _Reader(model).shape()


class _Reader:
    def __init__(self, model: GgufModel) -> None:
        self._model = model
        self._metadata = Metadata(model)
        self._whole = self._metadata.whole
        self._parts: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for tensor in model.tensors:
            head, _, rest = tensor.name.partition(".")
            number, _, name = rest.partition(".")
            if head == "blk" and number.isdecimal() and int(number) < _MOST_BLOCKS:
                self._parts[int(number)][name] = tensor if tensor.shape else replace(tensor, shape=(1,))
            elif head in _OF_THE_FIRST_BLOCK:
                self._parts[0][tensor.name] = tensor

    def shape(self) -> Shape:
        table = self._model.by_name.get("token_embd.weight")
        count = min(self._metadata.blocks, len(self._parts))
        if not self._model.architecture or table is None or len(table.shape) != 2 or not count:
            raise self._unknown("it has no token_embd.weight or no blocks")
        blocks = tuple(self._block(number) for number in range(count))
        answers = "output.weight" in self._model.by_name or self._model.architecture in WITHOUT_OUTPUT
        shared = 0 if answers else table.size_bytes
        return Shape(
            architecture=self._model.architecture,
            embedding=table.shape[0],
            vocabulary=table.shape[1],
            blocks=blocks,
            input_bytes=self._bytes(output=False),
            output_bytes=self._bytes(output=True) + shared,
            tied_bytes=shared,
            window=window_tokens(self._metadata),
            known=self._model.architecture in MEASURED,
            repacked_bytes=shared if _is_reordered(table) else 0,
            input_copies=1 + self._whole("n_deepstack_layers"),
            layer_inputs=self._whole("embedding_length_per_layer_input") * self._metadata.trunk,
            placed="position_embd.weight" in self._model.by_name,
        )

    def _bytes(self, *, output: bool) -> int:
        """Size of the tensors outside blocks: those of the output, or the others."""
        return sum(
            tensor.size_bytes
            for tensor in self._model.tensors
            if tensor.name.partition(".")[0] not in ("blk", *_OF_THE_FIRST_BLOCK)
            and tensor.name.startswith(_OUTPUT_PARTS) == output
        )

    def _block(self, number: int) -> Block:
        parts = self._parts[number] if number < self._metadata.trunk else {}
        experts = self._experts(number, parts)
        width, gated, fused = _feed_forward(parts, shared=experts is not None)
        return Block(
            weights_bytes=sum(tensor.size_bytes for tensor in parts.values()),
            expert_bytes=sum(tensor.size_bytes for name, tensor in parts.items() if "_exps." in name),
            attention=self._attention(number, parts),
            recurrence=recurrence_of(self._metadata, parts) if is_recurrent(parts) else None,
            experts=experts,
            feed_forward=width,
            gated=gated,
            fused_gate=fused,
            attention_post_norm="post_attention_norm.weight" in parts and "ffn_norm.weight" in parts,
            feed_forward_post_norm="post_ffw_norm.weight" in parts,
            normed_first="attn_norm.weight" in parts or "post_attention_norm.weight" in parts,
            beside=not any(norm in name for name in parts for norm in _NORMS_BETWEEN),
        )

    def _attention(self, number: int, parts: Mapping[str, Tensor]) -> Attention | None:
        if "attn_kv_a_mqa.weight" in parts:
            return self._latent(number, parts)
        query, fused = parts.get("attn_q.weight"), parts.get("attn_qkv.weight")
        if (query is None and fused is None) or not self._attends(number, parts):
            return None
        heads = self._whole("attention.head_count", number) or 1
        kv_heads = self._kv_heads(number) or heads
        share = self._whole("embedding_length") // heads
        key_length, value_length = (
            self._length("key", number) or share,
            self._length("value", number) or share,
        )
        key, value = parts.get("attn_k.weight"), parts.get("attn_v.weight")
        return Attention(
            heads=heads,
            query=heads * key_length,
            key=key.shape[-1] if key else kv_heads * key_length,
            value=value.shape[-1] if value else kv_heads * value_length,
            windowed=windowed(self._metadata, number),
            own_cache=number < self._caching(),
            fused=query is None,
            normed="attn_q_norm.weight" in parts,
            gated=query is not None and query.shape[-1] >= 2 * heads * key_length,
        )

    def _attends(self, number: int, parts: Mapping[str, Tensor]) -> bool:
        """Linear attention has tensors of the same names beside its state, but no heads of keys."""
        if not is_recurrent(parts):
            return True
        output = any(name.startswith(("attn_output.", "attn_out.")) for name in parts)
        return output and self._kv_heads(number) > 0

    def _kv_heads(self, number: int) -> int:
        """Heads of keys; 0 where an array says that the block has none."""
        told = self._metadata.value("attention.head_count_kv")
        if isinstance(told, tuple):
            return self._whole("attention.head_count_kv", number)
        return self._whole("attention.head_count_kv") or self._whole("attention.head_count", number)

    def _latent(self, number: int, parts: Mapping[str, Tensor]) -> Attention | None:
        heads, rank = self._whole("attention.head_count", number) or 1, self._whole("attention.kv_lora_rank")
        rope = max(parts["attn_kv_a_mqa.weight"].shape[-1] - rank, 0)
        key, value = self._whole("attention.key_length_mla"), self._whole("attention.value_length_mla")
        if not key:
            key, value = self._whole("attention.key_length"), self._whole("attention.value_length")
            return Attention(heads, heads * key, heads * key, heads * value)
        latent = LatentAttention(rank, rope, key, value)
        indexed = any(name.startswith("indexer.") for name in parts)
        index = self._whole("attention.indexer.key_length") if indexed else 0
        return Attention(heads, heads * key, rank + rope, 0, latent=latent, index=index)

    def _length(self, kind: str, number: int) -> int:
        window = self._whole(f"attention.{kind}_length_swa") if windowed(self._metadata, number) else 0
        return window or self._whole(f"attention.{kind}_length", number)

    def _causal(self) -> bool:
        """Whether tokens are answered one after the other; embedding models look at all at once."""
        told = self._metadata.value("attention.causal")
        return told is not False and self._model.architecture not in CACHELESS

    def _caching(self) -> int:
        """Blocks before this one have a cache of their own."""
        if not self._causal():
            return 0
        return self._metadata.blocks - self._whole("attention.shared_kv_layers")

    def _experts(self, number: int, parts: Mapping[str, Tensor]) -> Experts | None:
        down = parts.get("ffn_down_exps.weight")
        if down is None or len(down.shape) != 3:
            return None
        used = min(self._whole("expert_used_count", number) or _MOST_USED, down.shape[2], _MOST_USED)
        normed = self._metadata.value("expert_weights_norm")
        return Experts(
            down.shape[2],
            used,
            down.shape[0],
            bool(normed is None or normed),
            gated="ffn_gate_exps.weight" in parts,
            fused_gate="ffn_gate_up_exps.weight" in parts,
        )

    def _unknown(self, why: str) -> LocalaiError:
        return LocalaiError(
            "fit-model-unknown",
            f"nothing can be said about a model of the architecture {self._model.architecture!r}",
            why=why,
            hint="take the whole file's size, the cache and 1 GiB as a safe bound",
        )


def _is_reordered(table: Tensor) -> bool:
    """Whether x86 hosts keep a re-ordered copy for products: ggml's ``repack.cpp``."""
    return table.type_name in _REORDERED and table.shape[-1] % 8 == 0


def _feed_forward(parts: Mapping[str, Tensor], *, shared: bool) -> tuple[int, bool, bool]:
    """Width of the dense or shared net, whether it has a gate, and whether gate and up are one product."""
    end = "_shexp.weight" if shared else ".weight"
    up, gate, down = (parts.get(f"ffn_{name}{end}") for name in ("up", "gate", "down"))
    if up is None or down is None:
        return 0, False, False
    width = down.shape[0]
    fused = gate is None and up.shape[-1] == 2 * width
    return width, gate is not None or fused, fused
