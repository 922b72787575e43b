"""The order in which a graph's results are computed, with the inputs that a device holds."""

from __future__ import annotations

from dataclasses import dataclass

from localai_deploy.domain.fit.arena import Node

F32 = 4
I64 = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """What a graph is laid out for.

    :param tokens: computed at once.
    :param outputs: of which logits are wanted.
    :param full_cells: of a cache over the whole context; ``window_cells`` of a windowed one.
    :param rotated: quantised caches have keys, queries and values turned by a small matrix before.
    :param copies: of each input (4 where several cards work as a pipeline).
    """

    tokens: int
    outputs: int
    full_cells: int
    window_cells: int
    flash_attention: bool
    rotated_keys: bool
    rotated_values: bool
    copies: int = 1


class Tape:
    """Nodes in the order of computation."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.nodes: list[Node] = []
        self.tokens = terms.tokens

    def add(self, values: int, *reads: Node, in_place: bool = False, form: object = None) -> Node:
        """Compute ``values`` f32 values for each token."""
        return self.raw(F32 * values * self.tokens, *reads, in_place=in_place, form=form)

    def raw(self, size_bytes: int, *reads: Node, in_place: bool = False, form: object = None) -> Node:
        """Compute ``size_bytes``."""
        node = Node(size_bytes, reads, in_place=in_place, form=form)
        self.nodes.append(node)
        return node

    def view(self, node: Node, form: object = None) -> Node:
        """Look at ``node``; with another ``form`` nothing in place can be done to it."""
        source = node.view_of or node
        look = Node(0, (node,), view_of=source, form=node.form if form is None else form)
        self.nodes.append(look)
        return look

    def held(self, size_bytes: int) -> Node:
        """Have an input here; of several copies all but one are never freed."""
        for _ in range(self.terms.copies - 1):
            self.nodes.append(Node(size_bytes, kept=True))
        node = Node(size_bytes, kept=self.terms.copies > 1)
        self.nodes.append(node)
        return node

    def norm(self, node: Node, values: int) -> Node:
        """Normalise and scale."""
        return self.add(values, self.add(values, node, in_place=True), in_place=True)


@dataclass(frozen=True, slots=True)
class CacheInputs:
    """What a computation over one kind of cache needs: its mask and where to write."""

    cells: int
    mask: Node
    key_places: Node
    value_places: Node


def cache_inputs(tape: Tape, cells: int, value_width: int) -> CacheInputs:
    """Have the inputs of a cache of ``cells`` here.

    Without flash attention values are stored turned, so every single one has its own place.
    """
    terms = tape.terms
    width = 2 if terms.flash_attention else 4
    places = 1 if terms.flash_attention else max(value_width, 1)
    return CacheInputs(
        cells,
        tape.held(cells * terms.tokens * width),
        tape.held(I64 * terms.tokens),
        tape.held(I64 * terms.tokens * places),
    )
