"""What a projector (``mmproj`` file: pictures or sound to embeddings) needs beside its model.

Its weights lie on the first card, all of them. The runtime reserves for the largest picture it lets in: a
result and a product for each patch (``clip_graph`` of llama.cpp's ``tools/mtmd``); the weights of attention
between all patches come on top where the card has no flash attention for it, so they are margin.
"""

from __future__ import annotations

from dataclasses import dataclass

from localai_deploy.domain.gguf.header import GgufModel

_F32 = 4
_LIVE_RESULTS = 4
_LARGEST_PICTURE = 1536
"""Pixels a side that models of free size let in at most, by default."""


@dataclass(frozen=True, slots=True)
class Projector:
    """Bytes on the first card, or on the host without one."""

    weights_bytes: int
    compute_bytes: int
    margin_bytes: int


def read_projector(model: GgufModel) -> Projector:
    """Read the needs of the projector ``model``; its graph is estimated, its weights are exact."""
    weights = sum(tensor.size_bytes for tensor in model.tensors)
    kinds = [kind for kind in ("vision", "audio") if f"clip.{kind}.embedding_length" in model.metadata]
    sizes = [_graph(model, f"clip.{kind}.") for kind in kinds] or [(weights // 2, weights // 2)]
    return Projector(weights, max(size for size, _ in sizes), max(margin for _, margin in sizes))


def _graph(model: GgufModel, prefix: str) -> tuple[int, int]:
    """Compute buffer and its margin."""
    embedding, forward = (
        _whole(model, prefix + "embedding_length"),
        _whole(model, prefix + "feed_forward_length"),
    )
    heads = _whole(model, prefix + "attention.head_count")
    side = max(_whole(model, prefix + "image_size"), _LARGEST_PICTURE)
    patches = (side // (_whole(model, prefix + "patch_size") or 14)) ** 2
    compute = _F32 * patches * (2 * forward + _LIVE_RESULTS * embedding)
    return compute, _F32 * heads * patches * patches


def _whole(model: GgufModel, key: str) -> int:
    value = model.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 24 else 0
