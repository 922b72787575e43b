"""A moving window over a file that is read in few, large pieces."""

from __future__ import annotations

from collections.abc import Callable

from localai_deploy.domain.gguf.faults import invalid, truncated

Read = Callable[[int, int], bytes]
"""``read(offset, length)``: the bytes there; fewer only where the file ends."""

FIRST_BYTES = 8 << 20
"""Most headers with a vocabulary of 260,000 words fit."""
MOST_BYTES = 64 << 20
"""No header is read further than this."""


class Window:
    """The file's bytes from ``start`` on; grows by one read when more are needed.

    :raises LocalaiError: ``gguf-truncated`` or ``gguf-header-invalid`` (longer than :data:`MOST_BYTES`).
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._piece = FIRST_BYTES
        self.start = 0
        self.data = read(0, FIRST_BYTES)
        self.at = 0

    @property
    def offset(self) -> int:
        """Where in the file the next byte lies."""
        return self.start + self.at

    def need(self, count: int) -> None:
        """Have ``count`` bytes from here on."""
        if len(self.data) - self.at < count:
            self._grow(count)

    def take(self, count: int) -> bytes:
        """Hand out ``count`` bytes."""
        self.need(count)
        self.at += count
        return self.data[self.at - count : self.at]

    def skip(self, count: int) -> None:
        """Pass over ``count`` bytes without reading those that are not here yet."""
        if self.offset + count > MOST_BYTES:
            raise invalid(f"{count} bytes at {self.offset} go beyond {MOST_BYTES} bytes of header")
        self.at += count

    def whole(self, count: int) -> int:
        """Hand out a little-endian unsigned integer of ``count`` bytes."""
        return int.from_bytes(self.take(count), "little")

    def _grow(self, count: int) -> None:
        kept = self.data[self.at :]
        begin = max(self.offset, self.start + len(self.data))
        if self.offset + count > MOST_BYTES:
            raise invalid(f"{count} bytes at {self.offset} go beyond {MOST_BYTES} bytes of header")
        self._piece *= 2
        more = self._read(begin, max(self._piece, count))
        self.data, self.start, self.at = kept + more, self.offset, 0
        if len(self.data) < count:
            raise truncated(self.start, count, len(self.data))
