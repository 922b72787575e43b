"""What is asked of a model's server, and the cards that are there for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

CACHE_BITS: dict[str, tuple[int, int]] = {
    "f32": (1, 4),
    "f16": (1, 2),
    "bf16": (1, 2),
    "q8_0": (32, 34),
    "q5_1": (32, 24),
    "q5_0": (32, 22),
    "q4_1": (32, 20),
    "q4_0": (32, 18),
    "iq4_nl": (32, 18),
}
"""Values and bytes of a block of each cache type."""
UNQUANTISED = ("f32", "f16", "bf16")
ALL_LAYERS = 1 << 30
UBATCH = 512
"""The runtime's own default."""


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card; ``multiprocessors`` and ``bandwidth_bytes_s`` are 0 when unknown.

    :param stacked_memory: its memory is HBM.
    :param tensor_cores: it has them (Volta and newer).
    """

    name: str
    memory_bytes: int
    multiprocessors: int = 0
    bandwidth_bytes_s: float = 0.0
    stacked_memory: bool = False
    tensor_cores: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """How the server is to be started.

    :param context: tokens of all slots together.
    :param gpu_layers: as ``-ngl`` counts them: the output layer first, then the last blocks.
    :param ubatch: tokens computed at once.
    :param parallel: slots.
    :param cpu_expert_layers: blocks, from the first on, whose experts stay on the host (``--n-cpu-moe``).
    :param unified: all slots share one cache, as by default where no count of slots is given; with
        ``--parallel N`` each has its part of the context.
    """

    context: int = 4096
    gpu_layers: int = ALL_LAYERS
    flash_attention: bool = True
    ubatch: int = UBATCH
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    parallel: int = 1
    cpu_expert_layers: int = 0
    unified: bool = False
