"""The order of results in a block's feed-forward part, dense or of experts.

Source: ``build_ffn`` and ``build_moe_ffn`` of llama.cpp's ``llama-graph.cpp``.
"""

from __future__ import annotations

from localai_deploy.domain.fit.arena import Node
from localai_deploy.domain.fit.shape import Block, Experts
from localai_deploy.domain.fit.tape import F32, Tape


def feed_forward_graph(tape: Tape, block: Block, read: Node, embedding: int, *, aside: bool = False) -> Node:
    """Compute the block's net or nets over ``read``; gives ``embedding`` values a token.

    :param aside: the experts' results are copied here from the host.
    """
    if not block.experts:
        return _dense(tape, block, read, embedding)
    chosen, weights = chosen_experts(tape, block.experts, read)
    if aside:
        down = tape.held(F32 * tape.tokens * block.experts.used * embedding)
    else:
        down = used_experts(tape, block.experts, read, chosen, embedding)
    mixed = mixed_experts(tape, block.experts, down, weights, embedding)
    if not block.feed_forward:
        return mixed
    return tape.add(embedding, mixed, _dense(tape, block, read, embedding), in_place=True)


def chosen_experts(tape: Tape, experts: Experts, read: Node) -> tuple[Node, Node]:
    """Choose experts for each token; gives them and their weights."""
    scores = tape.add(experts.count, tape.add(experts.count, read), in_place=True)
    chosen = tape.view(tape.add(experts.count, scores), form="first")
    weights = tape.add(experts.used, tape.view(scores), chosen)
    if experts.normed:
        row = tape.view(weights)
        total = tape.add(1, tape.add(1, row), in_place=True)
        weights = tape.add(experts.used, row, total, in_place=True)
    return chosen, tape.view(weights)


def used_experts(tape: Tape, experts: Experts, read: Node, chosen: Node, embedding: int) -> Node:
    """Compute the chosen experts' results, each for itself."""
    source = tape.view(read)
    width = experts.used * experts.width
    if experts.fused_gate:
        active = tape.add(width, tape.add(2 * width, source, chosen))
    elif experts.gated:
        up = tape.add(width, source, chosen)
        active = tape.add(width, tape.add(width, source, chosen), up)
    else:
        active = tape.add(width, tape.add(width, source, chosen), in_place=True)
    return tape.add(experts.used * embedding, active, chosen)


def mixed_experts(tape: Tape, experts: Experts, down: Node, weights: Node, embedding: int) -> Node:
    """Weigh the experts' results and add them up, one after the other."""
    weighed = tape.add(experts.used * embedding, down, weights, in_place=True)
    parts = [tape.view(weighed, form=("expert", number)) for number in range(experts.used)]
    if len(parts) == 1:
        return tape.add(embedding, parts[0])
    mixed = tape.add(embedding, *parts[:2])
    for part in parts[2:]:
        mixed = tape.add(embedding, mixed, part, in_place=True)
    return mixed


def _dense(tape: Tape, block: Block, read: Node, embedding: int) -> Node:
    width = block.feed_forward
    if not width:
        return tape.add(embedding, read)
    if block.fused_gate:
        active = tape.add(width, tape.add(2 * width, read))
    elif block.gated:
        gate, up = tape.add(width, read), tape.add(width, read)
        active = tape.add(width, gate, up)
    else:
        active = tape.add(width, tape.add(width, read), in_place=True)
    return tape.add(embedding, active)
