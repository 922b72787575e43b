"""One row of the table of calls: method, path, parameters, privileges."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from localai_deploy.sandbox.parameter import Table
from localai_deploy.sandbox.privileges import Check


@dataclass(frozen=True)
class Endpoint:
    """A call that the node answers; `proxied` calls run on the node named in the path."""

    method: str
    path: str
    check: Check
    params: Table = ()
    proxied: bool = False
    since: int = 7
    pattern: re.Pattern[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        parts = re.split(r"(\{[^}]+\})", self.path)
        object.__setattr__(self, "pattern", re.compile("".join(map(_part, parts)) + "$"))

    @property
    def key(self) -> str:
        """Method and path, as the schema names the call."""
        return f"{self.method} {self.path}"


def _part(text: str) -> str:
    if not text.startswith("{"):
        return re.escape(text)
    name = text[1:-1].replace("-", "_")
    whole = name in {"volume", "poolid"}
    return f"(?P<{name}>.+)" if whole else f"(?P<{name}>[^/]+)"
