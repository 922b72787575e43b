"""What a projector (``mmproj`` file: pictures or sound to embeddings) needs beside its model.

Its weights lie on the first card, all of them. The buffer is that of one block over all patches of a picture:
the widest result and three as wide as the embedding; with a gate three of the widest. Held against what
llama.cpp's ``clip.cpp`` reported (github.com/ggml-org/llama.cpp/pull/16837): Gemma 3's is 121.25 MiB with
flash attention and 1132 MiB without, where the weights of attention between all patches come instead.

The runtime reserves for a picture of usual size and grows with the first larger one, so what the largest
takes more is margin.
"""

from __future__ import annotations

from dataclasses import dataclass

from localai_deploy.domain.gguf.header import GgufModel
from localai_deploy.errors import LocalaiError

_ARCHITECTURE = "clip"
_F32 = 4
_PATCH, _MERGE, _MOST_MERGED = 14, 2, 16
_SOUND_PATCHES = 1500
"""Half a minute of sound, as it is cut."""
_FREE_SIZE = {"pixtral": (256, 1024), "gemma4v": (256, 280)}
_FREE_SIZE_ELSE = (46 * 46, 4096)
"""Kind of projector → tokens of a picture that are reserved for, and the most; for those of no fixed size."""
_FLASH_WIDTHS = (40, 64, 72, 80, 96, 112, 128, 256)
"""Widths of a head for which CUDA has flash attention."""


@dataclass(frozen=True, slots=True)
class Projector:
    """Bytes on the first card, or on the host without one."""

    weights_bytes: int
    compute_bytes: int
    margin_bytes: int


def read_projector(model: GgufModel) -> Projector:
    """Read the needs of the projector ``model``; its graph is estimated, its weights are exact.

    :raises LocalaiError: ``fit-projector-unknown``.
    """
    if model.architecture != _ARCHITECTURE:
        raise LocalaiError(
            "fit-projector-unknown",
            f"a file of the architecture {model.architecture!r} is no projector",
            why=f"those say that theirs is {_ARCHITECTURE!r}",
            hint="name the mmproj-….gguf beside the model",
        )
    weights = sum(tensor.size_bytes for tensor in model.tensors)
    kinds = [kind for kind in ("vision", "audio") if _whole(model, f"clip.{kind}.embedding_length")]
    graphs = [_Graph(model, kind) for kind in kinds]
    if not graphs:
        return Projector(weights, weights // 2, weights // 2)
    compute = max(graph.buffer(graph.patches[0]) for graph in graphs)
    most = max(graph.most() for graph in graphs)
    return Projector(weights, compute, max(most - compute, 0) + compute // 4)


class _Graph:
    """The buffer of one kind of input."""

    def __init__(self, model: GgufModel, kind: str) -> None:
        prefix = f"clip.{kind}."
        self._embedding = _whole(model, prefix + "embedding_length")
        self._forward = _whole(model, prefix + "feed_forward_length")
        self._heads = _whole(model, prefix + "attention.head_count")
        self._windowed = f"{prefix}n_wa_pattern" in model.metadata
        side = "v" if kind == "vision" else "a"
        self._results = 3 if f"{side}.blk.0.ffn_gate.weight" in model.by_name else 1
        self.patches = _patches(model) if kind == "vision" else (_SOUND_PATCHES, _SOUND_PATCHES)

    def buffer(self, patches: int) -> int:
        """Bytes with flash attention; a window's mask is there twice, as f32 and as f16."""
        mask = 6 * patches * patches if self._windowed else 0
        return _F32 * patches * (self._results * self._forward + 3 * self._embedding) + mask

    def most(self) -> int:
        """Bytes for the largest input, without flash attention where CUDA may have none."""
        patches = self.patches[1]
        if self._embedding // (self._heads or 1) in _FLASH_WIDTHS:
            return self.buffer(patches)
        scores = _F32 * patches * (self._heads * patches + 6 * self._embedding)
        return max(scores, self.buffer(patches))


def _patches(model: GgufModel) -> tuple[int, int]:
    """Patches of a usual picture and of the largest; one number where pictures are of a fixed size."""
    kind = model.metadata.get("clip.vision.projector_type") or model.metadata.get("clip.projector_type")
    merge = min(_whole(model, "clip.vision.spatial_merge_size"), _MOST_MERGED)
    side = _whole(model, "clip.vision.image_size") // (_whole(model, "clip.vision.patch_size") or _PATCH)
    if side and not merge and kind not in _FREE_SIZE:
        return side * side, side * side
    usual, most = _FREE_SIZE.get(str(kind), _FREE_SIZE_ELSE)
    area = (merge or _MERGE) ** 2
    return usual * area, most * area


def _whole(model: GgufModel, key: str) -> int:
    value = model.metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 24 else 0
