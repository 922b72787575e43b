"""Say of which Proxmox nodes the certificate is not verified."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import click

from localai_deploy.cli.terminal import note

if TYPE_CHECKING:
    from localai_deploy.domain.pve.credentials import NodeConnection


class Trust(NamedTuple):
    """What of a node's connection decides whether its certificate is verified."""

    host: str
    fingerprint: str
    insecure: bool


def warn_of_insecure(nodes: Iterable[NodeConnection | Trust]) -> None:
    """Say of which nodes no certificate is verified; a pinned one is, whatever is asked for."""
    for host, pinned in sorted({(node.host, bool(node.fingerprint)) for node in nodes if node.insecure}):
        text = f"! the TLS certificate of {host} is NOT verified: anybody in between can read the token"
        if pinned:
            text = f"! the TLS certificate of {host} is verified all the same: its fingerprint is pinned"
        note(click.style(text, fg="red", bold=True))
