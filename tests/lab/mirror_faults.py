"""Faults that the mirror shows on demand, and which request meets which."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

FaultKind = Literal[
    "no-ranges", "wrong-length", "changed-etag", "slow-drip", "status", "redirect", "cut", "corrupt"
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of misbehaviour.

    :param kind: ``no-ranges`` answers every range with the whole file; ``wrong-length`` adds ``value`` to
        the announced length; ``changed-etag`` shows another ETag (as if the file were another now);
        ``slow-drip`` sends ``value`` bytes per second; ``status`` answers with status ``value``;
        ``redirect`` answers 302 to ``target``; ``cut`` closes the connection after ``value`` bytes of
        the body; ``corrupt`` inverts the byte at offset ``value`` of the file.
    :param path: glob over the whole URL path; ``*`` also matches ``/``.
    :param method: ``GET`` or ``HEAD``; empty: both.
    :param client: address of the only client that meets it; empty: all of them.
    :param after: so many matching requests pass unharmed first.
    :param times: so many requests meet it; 0: all.
    """

    kind: FaultKind
    path: str = "*"
    value: int = 0
    method: str = ""
    client: str = ""
    after: int = 0
    times: int = 0
    target: str = ""

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Fault:
        """Read a fault from JSON data; raises ValueError or TypeError when it is none."""
        if data.get("kind") not in get_args(FaultKind):
            raise ValueError(f"{data.get('kind')!r} is none of {', '.join(get_args(FaultKind))}")
        return cls(**data)

    def matches(self, method: str, path: str, client: str) -> bool:
        same_origin = self.client in ("", client) and self.method in ("", method)
        return same_origin and fnmatchcase(path, self.path)


class FaultTable:
    """The faults in force, with how often each was matched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._matched: dict[Fault, int] = {}

    def add(self, fault: Fault) -> None:
        """Put a fault in force; one that is there already starts to count anew."""
        with self._lock:
            self._matched[fault] = 0

    def clear(self, client: str = "") -> None:
        """Take back all faults, or those of one client."""
        with self._lock:
            kept = {f: n for f, n in self._matched.items() if client and f.client != client}
            self._matched = kept

    def take(self, method: str, path: str, client: str) -> dict[FaultKind, Fault]:
        """The faults that this request meets, by kind; counts the request."""
        met: dict[FaultKind, Fault] = {}
        with self._lock:
            for fault, seen in self._matched.items():
                if not fault.matches(method, path, client):
                    continue
                self._matched[fault] = seen + 1
                if fault.after <= seen and (not fault.times or seen < fault.after + fault.times):
                    met[fault.kind] = fault
        return met
