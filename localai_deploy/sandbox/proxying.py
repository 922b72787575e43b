"""Reaching the node that a call names."""

from __future__ import annotations

from localai_deploy.sandbox.answers import ApiError, died
from localai_deploy.sandbox.site import Site

UNRESOLVED = (
    "hostname lookup '{0}' failed - failed to get address info for: {0}: Temporary failure in name resolution"
)


def check_node(site: Site, name: str) -> None:
    """Raises what a proxy to that node answers: an unknown name, a host that is down."""
    node = site.cluster.nodes.get(name)
    if node is None:
        raise died(UNRESOLVED.format(name))
    if node.reachable is not None:
        site.pace.sleep(3 if "route" in node.reachable else 0)
        raise ApiError(595, node.reachable, bare=True)
