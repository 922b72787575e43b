"""How much room a computation's intermediate results need, laid out one after the other.

The runtime (ggml) walks over the graph's nodes in order. Each new result takes the smallest hole that is
large enough (the last of equal ones), else the end; a result whose only reader works in place is handed
on; the last reader frees what it read. The highest end is the size of the compute buffer. Holes that are
too small stay empty, so the order and the sizes matter, not only the sum of what lives at once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

ALIGNMENT = 128
"""Bytes; that of CUDA's buffers and of the remote backend's."""


class Node:
    """One result of the graph.

    :param size_bytes: its size; 0 for results that live elsewhere (caches).
    :param reads: what it is computed from.
    :param in_place: the operation may write over one of equal ``form`` that nobody else reads.
    :param view_of: it is a look at another result and takes no room.
    :param kept: never freed (copies of inputs with pipelining).
    """

    __slots__ = (
        "begin",
        "form",
        "in_place",
        "kept",
        "owner",
        "readers",
        "reads",
        "size_bytes",
        "view_of",
        "views",
    )

    def __init__(
        self,
        size_bytes: int,
        reads: Iterable[Node] = (),
        *,
        in_place: bool = False,
        view_of: Node | None = None,
        form: object = None,
        kept: bool = False,
    ) -> None:
        self.size_bytes = size_bytes
        self.reads = tuple(reads)
        self.in_place = in_place
        self.view_of = view_of
        self.form = size_bytes if form is None else form
        self.kept = kept
        self.readers = self.views = self.begin = 0
        self.owner = False


class _Room:
    """An endless stretch of memory with holes."""

    def __init__(self) -> None:
        self._holes: list[tuple[int, int]] = []
        self._end = 0
        self.peak = 0

    def take(self, size: int) -> int:
        """Find room for ``size`` bytes."""
        size = _aligned(size)
        fitting = [hole for hole in self._holes if hole[1] >= size]
        if not fitting:
            return self._take_at_end(size)
        begin, room = min(fitting, key=lambda hole: (hole[1], -hole[0]))
        self._holes.remove((begin, room))
        if room > size:
            insort(self._holes, (begin + size, room - size))
        return begin

    def give_back(self, begin: int, size: int) -> None:
        """Make a hole and join it with its neighbours."""
        insort(self._holes, (begin, _aligned(size)))
        joined: list[tuple[int, int]] = []
        for start, room in self._holes:
            if joined and sum(joined[-1]) == start:
                joined[-1] = (joined[-1][0], joined[-1][1] + room)
            else:
                joined.append((start, room))
        if joined and sum(joined[-1]) == self._end:
            self._end = joined.pop()[0]
        self._holes = joined

    def _take_at_end(self, size: int) -> int:
        begin, self._end = self._end, self._end + size
        self.peak = max(self.peak, self._end)
        return begin


def peak_bytes(nodes: list[Node]) -> int:
    """Lay out ``nodes`` in order and give the size of the buffer they need."""
    for node in nodes:
        if node.view_of:
            node.view_of.views += 1
        for read in node.reads:
            read.readers += 1
    room = _Room()
    for node in nodes:
        if not node.view_of and node.size_bytes and not _takes_over(node):
            node.begin, node.owner = room.take(node.size_bytes), True
        for read in node.reads:
            read.readers -= 1
            if not read.readers and not read.views:
                _free(room, read)
    return room.peak


def _takes_over(node: Node) -> bool:
    for read in node.reads if node.in_place else ():
        source = read.view_of or read
        alone = read.readers == 1 and not read.views
        if read.view_of:
            alone = alone and source.views == 1 and not source.readers
        if alone and read.form == node.form and source.owner and not source.kept:
            node.begin, node.size_bytes = source.begin, source.size_bytes
            node.owner, source.owner = True, False
            return True
    return False


def _free(room: _Room, node: Node) -> None:
    source = node.view_of or node
    if node.view_of:
        source.views -= 1
    if source.owner and not source.kept and not source.views and not source.readers:
        room.give_back(source.begin, source.size_bytes)
        source.owner = False


def _aligned(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)
