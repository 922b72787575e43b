"""All calls that the node answers, and the search for the one that fits a request."""

from __future__ import annotations

from urllib.parse import unquote

from localai_deploy.sandbox.endpoint import Endpoint
from localai_deploy.sandbox.tables import access, cluster, qemu

ENDPOINTS: tuple[Endpoint, ...] = (*access.ENDPOINTS, *cluster.ENDPOINTS, *qemu.ENDPOINTS)


def find_call(method: str, path: str, major: int) -> tuple[Endpoint, dict[str, str]] | None:
    """The row for a request and the values in its path; None when the release has no such call."""
    for endpoint in ENDPOINTS:
        match = endpoint.pattern.match(path) if endpoint.method == method else None
        if match and endpoint.since <= major:
            return endpoint, {name: unquote(value) for name, value in match.groupdict().items()}
    return None
