"""A model's shape: what each block consists of, read from metadata and the tensor table alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention: the cache holds ``rank + rope`` values a token, for keys alone."""

    rank: int
    rope: int
    key: int
    value: int


@dataclass(frozen=True, slots=True)
class Attention:
    """A block's attention, in values a token.

    :param windowed: its cache holds a sliding window only.
    :param own_cache: False where the block reads another block's cache.
    :param fused: queries, keys and values come out of one product.
    """

    heads: int
    query: int
    key: int
    value: int
    windowed: bool = False
    own_cache: bool = True
    fused: bool = False
    normed: bool = False
    latent: LatentAttention | None = None

    @property
    def result(self) -> int:
        """Width of all heads' results: one value length for each query head."""
        return self.value * self.query // self.key if self.key else self.query


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A block's recurrent state in bytes a sequence, and the width of its widest products."""

    state_bytes: int
    inner: int
    projected: int


@dataclass(frozen=True, slots=True)
class Experts:
    """``used`` of ``count`` feed-forward nets of ``width``."""

    count: int
    used: int
    width: int
    normed: bool


@dataclass(frozen=True, slots=True)
class Block:
    """One block (``blk.N``).

    :param feed_forward: width of the dense net, or of the shared experts beside ``experts``.
    :param fused_gate: gate and up come out of one product.
    :param beside: the feed-forward net reads what attention reads.
    """

    weights_bytes: int
    expert_bytes: int
    attention: Attention | None
    recurrence: Recurrence | None
    experts: Experts | None
    feed_forward: int
    gated: bool
    fused_gate: bool
    attention_post_norm: bool
    feed_forward_post_norm: bool
    beside: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """A model.

    :param input_bytes: the embedding table and what else stays on the host.
    :param output_bytes: output product and its norms; where it is tied to the embedding, that table too.
    :param tied_bytes: of that table; 0 where the output has its own.
    :param window: tokens of the sliding window; 0 for none.
    :param known: every part of the graph is modelled exactly.
    """

    architecture: str
    embedding: int
    vocabulary: int
    blocks: tuple[Block, ...]
    input_bytes: int
    output_bytes: int
    tied_bytes: int
    window: int
    known: bool

    @property
    def layers(self) -> int:
        """As ``-ngl`` counts them: blocks and the output layer."""
        return len(self.blocks) + 1

    @property
    def dense(self) -> bool:
        """Plain attention and dense nets throughout."""
        return all(
            block.experts is None and block.attention and not block.attention.latent for block in self.blocks
        )
