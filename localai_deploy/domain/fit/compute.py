"""The compute buffer of each device, as the server reserves it.

The graph's nodes are put in the runtime's order and laid out by :mod:`localai_deploy.domain.fit.arena`.
A device computes a run of blocks; what it needs of other devices is copied to it before its first node.
Operations without weights of their own go to the card that computes what follows (llama.cpp's
``ggml_backend_sched`` spreads a card's nodes upwards), so a card that begins in the middle also mixes
the experts' results and adds up the block before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from localai_deploy.domain.fit.arena import Node, peak_bytes
from localai_deploy.domain.fit.attention_graph import attention_graph, recurrence_graph
from localai_deploy.domain.fit.cache import full_cells, window_cells
from localai_deploy.domain.fit.feed_forward_graph import feed_forward_graph, mixed_experts, used_experts
from localai_deploy.domain.fit.shape import Block, Shape
from localai_deploy.domain.fit.tape import F32, I64, CacheInputs, Tape, Terms, cache_inputs
from localai_deploy.domain.fit.wish import UNQUANTISED, Wish

PIPELINE_COPIES = 4
_LAYER_INPUT_COPIES = 2
"""Embeddings of blocks: as they were looked up, and turned around."""


@dataclass(frozen=True, slots=True)
class Share:
    """Which blocks a device computes: ``first`` to ``last`` (not included), and whether the output too.

    :param alone: there is no card at all.
    :param experts: blocks before this one have their experts on the host.
    """

    first: int
    last: int
    output: bool
    host: bool
    alone: bool = False
    experts: int = 0


def compute_bytes(shape: Shape, wish: Wish, share: Share, *, pipeline: bool = False) -> int:
    """Size of the buffer of the device that has ``share``.

    :param pipeline: several cards work on several batches at once: inputs are there four times.
    """
    tape = Tape(_terms(shape, wish, PIPELINE_COPIES if pipeline else 1))
    _Graph(shape, tape).write(_settled(shape, share))
    return peak_bytes(tape.nodes)


def _settled(shape: Shape, share: Share) -> Share:
    """Let the host have one block more: the server reserves what a run of blocks settles at."""
    if share.host and share.last:
        return replace(share, last=min(share.last + 1, len(shape.blocks)))
    return share


def _terms(shape: Shape, wish: Wish, copies: int) -> Terms:
    latent = any(block.attention and block.attention.latent for block in shape.blocks)
    tokens = -(-min(wish.ubatch, wish.context) // wish.parallel) * wish.parallel
    cached = any(block.attention and block.attention.own_cache for block in shape.blocks)
    return Terms(
        tokens=tokens,
        outputs=min(wish.parallel, wish.ubatch, wish.context),
        full_cells=full_cells(wish) if cached else tokens,
        window_cells=window_cells(shape, wish) if cached else tokens,
        flash_attention=wish.flash_attention,
        rotated_keys=not latent and wish.cache_type_k not in UNQUANTISED,
        rotated_values=not latent and wish.cache_type_v not in UNQUANTISED,
        copies=copies,
    )


class _Graph:
    def __init__(self, shape: Shape, tape: Tape) -> None:
        self._shape, self._tape = shape, tape
        self._embedding = shape.embedding
        self._inputs: dict[bool, CacheInputs] = {}

    def write(self, share: Share) -> None:
        tape, blocks = self._tape, self._shape.blocks
        if share.first == share.last and not share.output and not share.host:
            return
        flow = self._host_begin(share) if share.host else self._card_begin(share)
        final = max((number for number, block in enumerate(blocks) if not block.idle), default=0)
        for number in range(share.first, share.last):
            if not blocks[number].idle:
                aside = not share.host and number < share.experts
                flow = self._block(blocks[number], flow, last=number == final, aside=aside)
        if share.host and share.experts > share.last:
            self._experts_alone(blocks[share.last : share.experts])
        if share.output:
            tape.tokens = tape.terms.outputs
            tape.add(self._shape.vocabulary, tape.norm(flow, self._embedding))

    def _host_begin(self, share: Share) -> Node:
        """All inputs lie on the host, and the embedding is looked up there.

        Measured: a server without a card also has room for the branch that mixes given embeddings in.
        """
        tape, tokens = self._tape, self._tape.terms.tokens
        tape.held(F32 * tokens)
        width = self._shape.input_width
        given = tape.held(F32 * tokens * width)
        places = tape.held(I64 * tokens)
        self._all_inputs(range(len(self._shape.blocks)))
        flow = tape.add(self._embedding)
        if self._shape.placed:
            flow = tape.add(self._embedding, flow, tape.add(self._embedding), in_place=True)
        if share.alone:
            found, mixed = tape.add(width), tape.add(width, given)
            tape.raw(0, found, mixed, places)
            given.kept = mixed.kept = flow.kept = True
        return flow

    def _card_begin(self, share: Share) -> Node:
        tape, blocks = self._tape, self._shape.blocks
        if share.first == share.last:
            tape.tokens = tape.terms.outputs
        before = blocks[share.first - 1] if share.first else None
        copied = [tape.held(F32 * tape.tokens * width) for width in self._crossing(before)]
        self._all_inputs(range(share.first, share.last))
        return self._joined(before, copied)

    def _crossing(self, before: Block | None) -> list[int]:
        """Widths of what is copied from the device that computed ``before``."""
        if before is None:
            return [self._shape.input_width]
        if before.experts and not before.feed_forward and not before.feed_forward_post_norm:
            return [before.experts.used * self._embedding, before.experts.used, self._embedding]
        if before.experts and not before.feed_forward_post_norm:
            return [self._embedding] * 3
        return [self._embedding] * 2

    def _joined(self, before: Block | None, copied: list[Node]) -> Node:
        tape, embedding = self._tape, self._embedding
        if before is None:
            return copied[0]
        flow = copied[0]
        if len(copied) == 3 and before.experts:
            if before.feed_forward:
                flow = tape.add(embedding, flow, copied[1], in_place=True)
            else:
                flow = mixed_experts(tape, before.experts, flow, copied[1], embedding)
        return tape.add(embedding, flow, copied[-1], in_place=True)

    def _all_inputs(self, numbers: range) -> None:
        """Positions, rows of the output, one set of inputs for each kind of cache, and what turns keys."""
        tape, terms = self._tape, self._tape.terms
        for _ in range(_LAYER_INPUT_COPIES if self._shape.layer_inputs else 0):
            tape.held(F32 * terms.tokens * self._shape.layer_inputs)
        self._position = tape.held(F32 * terms.tokens)
        attentions = [self._shape.blocks[number].attention for number in numbers]
        for windowed in (False, True):
            widths = [part.value for part in attentions if part and part.windowed == windowed]
            if widths:
                cells = terms.window_cells if windowed else terms.full_cells
                self._inputs[windowed] = cache_inputs(tape, cells, max(widths))
        self._rows = tape.held(I64 * terms.outputs)
        length = max((part.query // part.heads for part in attentions if part), default=0)
        for rotated in (terms.rotated_keys, terms.rotated_values):
            tape.held(F32 * (length & -length) ** 2 if rotated else 0)

    def _experts_alone(self, blocks: tuple[Block, ...]) -> None:
        """Only the experts of these blocks are computed here; all else of them on cards."""
        for block in blocks:
            if block.experts:
                read = self._tape.held(F32 * self._tape.tokens * self._embedding)
                chosen = self._tape.held(F32 * self._tape.tokens * block.experts.used)
                self._tape.raw(0, used_experts(self._tape, block.experts, read, chosen, self._embedding))

    def _block(self, block: Block, flow: Node, *, last: bool, aside: bool) -> Node:
        tape, embedding = self._tape, self._embedding
        read = tape.norm(flow, embedding) if block.normed_first else flow
        mixed = self._mixing(block, read)
        if last:
            tape.tokens = tape.terms.outputs
            mixed, flow = tape.add(embedding, mixed, self._rows), tape.add(embedding, flow, self._rows)
            read = tape.add(embedding, read, self._rows) if block.beside else read
        if block.attention_post_norm:
            mixed = tape.norm(mixed, embedding)
        if block.beside:
            fed = feed_forward_graph(tape, block, read, embedding, aside=aside)
            return tape.add(embedding, tape.add(embedding, fed, mixed, in_place=True), flow, in_place=True)
        kept = tape.add(embedding, mixed, flow, in_place=True)
        if not block.normed_first:
            kept = tape.norm(kept, embedding)
            fed = feed_forward_graph(tape, block, kept, embedding, aside=aside)
            return tape.norm(tape.add(embedding, fed, kept, in_place=True), embedding)
        fed = feed_forward_graph(tape, block, tape.norm(kept, embedding), embedding, aside=aside)
        if block.feed_forward_post_norm:
            fed = tape.norm(fed, embedding)
        return tape.add(embedding, fed, kept, in_place=True)

    def _mixing(self, block: Block, read: Node) -> Node:
        tape, embedding, results = self._tape, self._embedding, []
        if block.recurrence:
            results.append(recurrence_graph(tape, block.recurrence, read, embedding))
        if block.attention:
            inputs = self._inputs[block.attention.windowed]
            results.append(attention_graph(tape, block.attention, read, inputs, self._position, embedding))
        if not results:
            return tape.add(embedding, read)
        return results[0] if len(results) == 1 else tape.add(embedding, *results, in_place=True)
