"""UPID: a task's name, ``UPID:node:pid:pstart:start:type:id:user[!token]:`` with hexadecimal numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localai_deploy.errors import LocalaiError

_UPID = re.compile(
    r"UPID:(?P<node>[a-zA-Z0-9.-]+):(?P<pid>[0-9A-Fa-f]{8,9}):(?P<pstart>[0-9A-Fa-f]{8,9}):"
    r"(?P<start>[0-9A-Fa-f]{8}):(?P<type>[^:\s]+):(?P<id>[^:\s]*):(?P<user>[^:\s]+):"
)


@dataclass(frozen=True, slots=True)
class Upid:
    """One task; ``start`` is in seconds since 1970, ``user`` may carry a token's name."""

    node: str
    pid: int
    pstart: int
    start: int
    type: str
    id: str
    user: str

    def __str__(self) -> str:
        return (
            f"UPID:{self.node}:{self.pid:08X}:{self.pstart:08X}:{self.start:08X}:"
            f"{self.type}:{self.id}:{self.user}:"
        )


def parse_upid(text: str) -> Upid:
    """Read a UPID.

    :raises LocalaiError: ``pve-answer-unreadable``.
    """
    match = _UPID.fullmatch(text)
    if match is None:
        raise LocalaiError("pve-answer-unreadable", f"{text!r} is no task id (UPID)")
    return Upid(
        node=match["node"],
        pid=int(match["pid"], 16),
        pstart=int(match["pstart"], 16),
        start=int(match["start"], 16),
        type=match["type"],
        id=match["id"],
        user=match["user"],
    )
