"""Control of a mirror, from this process or another: its faults and its request log."""

from __future__ import annotations

import json
import urllib.request
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.mirror_faults import Fault

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class MirrorClient:
    """Speaks to the mirror at ``base_url``."""

    base_url: str

    def url(self, path: str) -> str:
        """``path`` on the mirror, e.g. ``conda`` or ``hf``."""
        return f"{self.base_url}/{path.lstrip('/')}"

    def requests(self, path: str = "", client: str = "") -> list[dict[str, Any]]:
        """The log, oldest first: of paths that contain ``path``, of ``client`` only when given."""
        entries = json.loads(self._call("GET", f"/-/requests?client={client}"))
        return [entry for entry in entries if path in entry["path"]]

    def forget_requests(self) -> None:
        """Empty the log; other users of the same mirror lose theirs too."""
        self._call("DELETE", "/-/requests")

    def add_fault(self, fault: Fault) -> None:
        """Put a fault in force until it is cleared."""
        self._call("POST", "/-/faults", json.dumps(asdict(fault)).encode())

    def clear_faults(self, client: str = "") -> None:
        """Take back all faults, or those of one client."""
        self._call("DELETE", f"/-/faults?client={client}")

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """A fault in force inside the block; after it, all faults of that client are taken back."""
        self.add_fault(fault)
        try:
            yield
        finally:
            self.clear_faults(fault.client)

    def is_up(self) -> bool:
        """The mirror answers."""
        try:
            self._call("GET", "/-/requests?client=none")
        except OSError:
            return False
        return True

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.base_url + path, body, method=method)
        with _DIRECT.open(request, timeout=10) as reply:
            answer: bytes = reply.read()
        return answer
