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
    :param index: values a cell by which the cells worth a look are found.
    :param gated: queries come with as many values that gate the result.
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
    gated: bool = False
    index: int = 0

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
    """``used`` of ``count`` feed-forward nets of ``width``.

    :param fused_gate: gate and up come out of one product.
    """

    count: int
    used: int
    width: int
    normed: bool
    gated: bool = True
    fused_gate: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One block (``blk.N``).

    :param feed_forward: width of the dense net, or of the shared experts beside ``experts``.
    :param fused_gate: gate and up come out of one product.
    :param beside: the feed-forward net reads what attention reads.
    :param normed_first: what attention reads is normalised for it; else results are, after they are added up.
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
    normed_first: bool = True

    @property
    def idle(self) -> bool:
        """It computes nothing: left out by the runtime, or by the model's makers."""
        return not (self.attention or self.recurrence or self.experts or self.feed_forward)


@dataclass(frozen=True, slots=True)
class Shape:
    """A model.

    :param input_bytes: the embedding table and what else stays on the host.
    :param output_bytes: output product and its norms; where it is tied to the embedding, that table too.
    :param tied_bytes: of that table; 0 where the output has its own.
    :param window: tokens of the sliding window; 0 for none.
    :param known: the graph was measured.
    :param repacked_bytes: of the tied table; there twice on the host, which re-orders it for its products.
    :param input_copies: embeddings that come in for each token (several where pictures go into deep layers).
    :param placed: positions have a table of embeddings.
    :param layer_inputs: values a token of the embeddings that each block has for itself.
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
    repacked_bytes: int = 0
    input_copies: int = 1
    placed: bool = False
    layer_inputs: int = 0

    @property
    def input_width(self) -> int:
        """Values that come in for a token."""
        return self.embedding * self.input_copies

    @property
    def layers(self) -> int:
        """As ``-ngl`` counts them: blocks and the output layer."""
        return len(self.blocks) + 1

    @property
    def dense(self) -> bool:
        """Plain attention and dense nets throughout."""
        return all(
            not block.experts and block.attention and not block.recurrence and not block.attention.latent
            for block in self.blocks
            if not block.idle
        )
