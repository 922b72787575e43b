"""``gpu list``: the cards of nodes and who has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from localai_deploy.cli.gpu_nodes import NODE, node_connections
from localai_deploy.cli.options import node_options
from localai_deploy.cli.output import print_json
from localai_deploy.cli.progress import say
from localai_deploy.cli.terminal import show
from localai_deploy.domain.pve.card_claims import CardUser, Claim
from localai_deploy.domain.pve.card_listing import CardRow, CardState, NodeListing
from localai_deploy.domain.pve.lease import Lease
from localai_deploy.workflow.card_look import look_at

_COLOR = {
    CardState.FREE: "green",
    CardState.RUNNING: "cyan",
    CardState.LEASED: None,
    CardState.MOVING: "yellow",
}
_HEADER = ("CARD", "ADDRESS", "NODE", "GROUP", "MAPPING", "STATE", "OWNER", "COULD USE IT")


@click.command(
    "list",
    short_help="The cards of nodes and who has them.",
    epilog="Example: localai-deploy gpu list --node pve1 -o json",
)
@NODE
@node_options
def list_(**options: Any) -> None:  # noqa: ANN401
    """List the cards of a node, or of all nodes of the inventory, with their owners; nothing is changed.

    A card is free, running (its VM runs with it), leased (its VM is switched off and keeps it) or moving.
    """
    listings = [look_at(one, say).listing() for one in node_connections(options)]
    if options["output"] == "json":
        print_json("gpu-list", nodes=[_node_data(one) for one in listings])
        return
    for line in _lines(listings):
        show(line)


def _node_data(listing: NodeListing) -> dict[str, Any]:
    return {
        "node": listing.node,
        "cards": [_row_data(row) for row in listing.rows],
        "problems": list(listing.lost),
    }


def _row_data(row: CardRow) -> dict[str, Any]:
    card = row.card
    return {
        "name": card.name,
        "address": card.slot,
        "pci_id": card.pci_id,
        "iommu_group": card.iommu_group,
        "mappings": [one.name for one in row.mappings],
        "state": row.state.value,
        "owner": None if row.owner is None else owner_data(row.owner),
        "users": [user_data(one) for one in row.users],
        "dead_leases": [_lease_data(one) for one in row.dead],
        "problems": list(row.problems),
    }


def owner_data(claim: Claim) -> dict[str, Any]:
    """Who has a card, and by which lease."""
    holder = claim.holder
    return {
        "vm": holder.name,
        "vmid": holder.vmid or None,
        "ours": not holder.foreign,
        "how": claim.kind.value,
        "lease": None if claim.lease is None else _lease_data(claim.lease),
    }


def _lease_data(lease: Lease) -> dict[str, Any]:
    holder = lease.holder
    return {"vm": holder.name, "vmid": holder.vmid or None, "run": lease.run, "since": lease.since}


def user_data(vm: CardUser) -> dict[str, Any]:
    """A VM that has a card in its config."""
    return {"vm": vm.name, "vmid": vm.vmid, "running": vm.running, "ours": vm.ours}


def _lines(listings: Sequence[NodeListing]) -> Iterator[str]:
    rows = [row for listing in listings for row in listing.rows]
    if not rows:
        yield f"no card on {', '.join(one.node for one in listings) or 'any node'}"
    else:
        yield from _table([_HEADER, *map(_cells, rows)], [None, *(_COLOR[row.state] for row in rows)])
    for row in rows:
        yield from (f"! {problem} (explain pci-renumber)" for problem in row.problems)
        yield from (
            f"! {one.holder} holds a lease and is gone: the next VM takes it over" for one in row.dead
        )
    for listing in listings:
        yield from (f"! {problem} (explain pci-renumber)" for problem in listing.lost)


def _cells(row: CardRow) -> tuple[str, ...]:
    card = row.card
    return (
        card.name,
        card.slot,
        card.node,
        "-" if card.iommu_group is None else str(card.iommu_group),
        ",".join(one.name for one in row.mappings) or "-",
        row.state.value,
        "-" if row.owner is None else _named(row.owner.holder.vmid, row.owner.holder.name),
        ", ".join(_named(one.vmid, one.name) for one in row.users) or "-",
    )


def _named(vmid: int, name: str) -> str:
    return f"{vmid} ({name})" if vmid else name


def _table(rows: Sequence[Sequence[str]], colors: Iterable[str | None]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    state = _HEADER.index("STATE")
    for row, color in zip(rows, colors, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[state] = click.style(cells[state], fg=color) if color else cells[state]
        yield "  ".join(cells).rstrip()
