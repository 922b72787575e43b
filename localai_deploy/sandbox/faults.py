"""Named faults: what goes wrong, for which requests, how often."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from localai_deploy.sandbox.answers import ApiError

REFUSALS = {
    "401": (401, "permission denied - invalid PVE ticket", True),
    "403": (403, "Permission check failed", False),
    "500": (500, "got no worker upid - start worker failed", False),
    "503": (503, "Service Unavailable", True),
    "595": (595, "No route to host", True),
}
NAMES = (
    *REFUSALS,
    "agent-missing",
    "id-race",
    "reset-after-success",
    "reset-before",
    "storage-full",
    "task-lost",
    "timeout-after-success",
)


@dataclass
class Fault:
    """A fault for requests whose `METHOD /path` matches; `times` -1 is for ever."""

    name: str
    request: str = ".*"
    times: int = 1
    hits: int = 0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"no fault is called {self.name!r}; there are {', '.join(NAMES)}")


@dataclass
class Faults:
    """The faults that wait for their request."""

    waiting: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, request: str = ".*", times: int = 1) -> Fault:
        """Let a fault happen at the next requests that fit."""
        fault = Fault(name, request, times)
        self.waiting.append(fault)
        return fault

    def clear(self) -> None:
        """No more faults."""
        self.waiting.clear()

    def hit(self, request: str, *names: str) -> str | None:
        """The name of the fault that strikes now, used up by one; `request` is `METHOD /path`."""
        with self._lock:
            for fault in self.waiting:
                due = fault.times < 0 or fault.hits < fault.times
                if due and fault.name in names and re.search(fault.request, request):
                    fault.hits += 1
                    return fault.name
        return None

    def refusal(self, request: str) -> ApiError | None:
        """The answer of a fault that stands in the way of the call."""
        name = self.hit(request, *REFUSALS)
        if name is None:
            return None
        status, reason, bare = REFUSALS[name]
        return ApiError(status, reason, bare=bare)
