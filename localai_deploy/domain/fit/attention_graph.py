"""The order of results in a block's attention or recurrence.

Source: ``build_attn`` and ``build_attn_mha`` of llama.cpp's ``llama-graph.cpp`` and the models' graphs
(``src/models``): queries, values and keys first, then the cache is written, then attention itself.
"""

from __future__ import annotations

from localai_deploy.domain.fit.arena import Node
from localai_deploy.domain.fit.shape import Attention, LatentAttention, Recurrence
from localai_deploy.domain.fit.tape import F32, CacheInputs, Tape

F16 = 2


def attention_graph(
    tape: Tape, attention: Attention, read: Node, inputs: CacheInputs, position: Node, embedding: int
) -> Node:
    """Compute attention over ``read``; gives ``embedding`` values a token."""
    if attention.latent:
        result = _latent(tape, attention, attention.latent, read, inputs, position)
    else:
        result = _plain(tape, attention, read, inputs, position)
    return tape.add(embedding, result)


def recurrence_graph(tape: Tape, recurrence: Recurrence, read: Node, embedding: int) -> Node:
    """Compute a recurrent block: projection, convolution or token shift, scan, output."""
    projected = tape.add(recurrence.projected, read)
    shifted = tape.add(recurrence.inner, tape.view(projected, form="part"))
    mixed = tape.add(recurrence.inner, shifted)
    scanned = tape.raw(F32 * recurrence.inner * tape.tokens + recurrence.state_bytes, mixed)
    gated = tape.add(recurrence.inner, tape.view(scanned, form="part"), tape.view(projected, form="gate"))
    return tape.add(embedding, gated)


def _plain(tape: Tape, attention: Attention, read: Node, inputs: CacheInputs, position: Node) -> Node:
    query, key, value = _products(tape, attention, read, position)
    tape.raw(0, key, inputs.key_places)
    tape.raw(0, value, inputs.value_places)
    looked = tape.view(query, form="turned")
    if tape.terms.flash_attention:
        result = tape.view(tape.add(attention.result, looked, inputs.mask))
    else:
        weighted = tape.add(attention.result, _weights(tape, attention, looked, inputs))
        result = tape.add(attention.result, tape.view(weighted, form="turned"))
    return _rotated(tape, result, attention.result) if tape.terms.rotated_values else result


def _weights(tape: Tape, attention: Attention, query: Node, inputs: CacheInputs) -> Node:
    """How much each token looks at each cell: one f32 a head."""
    raw = tape.add(attention.heads * inputs.cells, query)
    return tape.add(attention.heads * inputs.cells, raw, inputs.mask, in_place=True)


def _products(tape: Tape, attention: Attention, read: Node, position: Node) -> tuple[Node, Node, Node]:
    """Queries, keys and values with positions turned in, in the runtime's order: keys come last."""
    terms = tape.terms
    together = tape.add(attention.query + attention.key + attention.value, read) if attention.fused else None

    def part(width: int) -> Node:
        return tape.view(together, form=("part", width)) if together else tape.view(tape.add(width, read))

    def placed(width: int) -> Node:
        node = part(width)
        if attention.normed:
            node = tape.norm(node, width)
        node = tape.add(width, node, position)
        return _rotated(tape, node, width) if terms.rotated_keys else node

    query = placed(attention.query)
    value = part(attention.value)
    if terms.rotated_values:
        value = _rotated(tape, value, attention.value)
    return query, placed(attention.key), value


def _rotated(tape: Tape, node: Node, width: int) -> Node:
    return tape.view(tape.add(width, tape.view(node)))


def _latent(
    tape: Tape, attention: Attention, latent: LatentAttention, read: Node, inputs: CacheInputs, position: Node
) -> Node:
    """Attention in the compressed space: keys of all heads are one, values are their first ``rank``."""
    heads, rank, rope = attention.heads, latent.rank, latent.rope
    query = tape.add(attention.query, read)
    plain = tape.view(tape.view(query, form="plain"), form="turned")
    absorbed = tape.view(tape.add(heads * rank, plain), form="turned")
    turned = tape.add(heads * rope, tape.view(query, form="rope"), position)
    whole_query = tape.add(heads * (rank + rope), absorbed, turned)
    both = tape.add(rank + rope, read)
    compressed = tape.view(tape.norm(tape.view(both, form="compressed"), rank))
    turned_key = tape.add(rope, tape.view(both, form="rope"), position)
    key = tape.add(rank + rope, compressed, turned_key)
    tape.raw(0, key, inputs.key_places)
    looked = tape.view(whole_query, form="turned")
    if tape.terms.flash_attention:
        found = tape.view(tape.add(heads * rank, looked, inputs.mask), form="turned")
    else:
        weights = _weights(tape, attention, looked, inputs)
        values = tape.raw(F16 * rank * inputs.cells)
        found = tape.add(heads * rank, values, weights)
    unfolded = tape.view(tape.add(heads * latent.value, found), form="turned")
    return tape.add(heads * latent.value, unfolded)
