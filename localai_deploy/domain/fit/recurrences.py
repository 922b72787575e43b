"""Recurrent blocks: what they keep of the past, and the widths of their products.

Source: ``llama_hparams::n_embd_r`` and ``n_embd_s`` of llama.cpp: f32 values of the convolution or the
shifted tokens, and of the state itself, for each sequence.
"""

from __future__ import annotations

from collections.abc import Mapping

from localai_deploy.domain.fit.metadata import Metadata
from localai_deploy.domain.fit.shape import Recurrence
from localai_deploy.domain.gguf.header import Tensor

_F32 = 4
_STATE_PARTS = ("ssm_", "time_mix_", "shortconv.")
_ONE_SHIFT = ("rwkv6qwen2", "arwkv7")
_MIXED_AT_ONCE = {"rwkv6": 8, "rwkv6qwen2": 8, "arwkv7": 12, "rwkv7": 13}
"""Results, each as wide as the embedding, that are alive beside a block's own while it mixes tokens."""


def is_recurrent(parts: Mapping[str, Tensor]) -> bool:
    """Whether a block has a recurrent state."""
    return any(name.startswith(_STATE_PARTS) for name in parts)


def recurrence_of(metadata: Metadata, parts: Mapping[str, Tensor]) -> Recurrence:
    """Read a recurrent block; products are those of its input, as wide as its tensors are."""
    embedding = metadata.whole("embedding_length")
    if head := metadata.whole("wkv.head_size"):
        shifts = metadata.whole("token_shift_count") or (1 if metadata.architecture in _ONE_SHIFT else 2)
        mixed = _MIXED_AT_ONCE.get(metadata.architecture, max(_MIXED_AT_ONCE.values()))
        return Recurrence(_F32 * (shifts * embedding + embedding * head), embedding, mixed * embedding)
    if length := metadata.whole("shortconv.l_cache"):
        return Recurrence(_F32 * embedding * (length - 1), embedding, 3 * embedding)
    kernel = metadata.whole("ssm.conv_kernel")
    if head := metadata.whole("kda.head_dim"):
        inner = head * (metadata.whole("attention.head_count", 0) or metadata.whole("attention.head_count"))
        kept = 3 * ((kernel or 4) - 1) * inner
        return Recurrence(_F32 * (kept + head * inner), inner, 5 * inner)
    return _state_space(metadata, parts, kernel)


def _state_space(metadata: Metadata, parts: Mapping[str, Tensor], kernel: int) -> Recurrence:
    """Mamba, Mamba 2 and gated delta nets."""
    inner, state = metadata.whole("ssm.inner_size"), metadata.whole("ssm.state_size")
    convolved = inner + 2 * metadata.whole("ssm.group_count") * state
    entry = parts.get("ssm_in.weight") or parts.get("attn_qkv.weight")
    projected = entry.shape[-1] if entry else 2 * convolved
    kept = max(kernel - 1, 0) * convolved
    return Recurrence(_F32 * (kept + state * inner), convolved, projected)
