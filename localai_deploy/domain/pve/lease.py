"""The lease of a card: which VM has it, in the description of its resource mapping (docs/adr/0009).

A description is one line of at most 4096 characters. What people wrote stays in front of the block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.domain.pve.ownership import NotedCards

_BEGIN = "[localai-deploy lease"
_END = "]"
_BLOCK = re.compile(rf"\s*{re.escape(_BEGIN)} (\[.*?\]){re.escape(_END)}(?=\s|$)")
LONGEST = 4096
"""Characters of a mapping's description that the server takes."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A VM that has a card, or is to get it.

    :param vmid: 0 while the VM is not made yet; its name is what is known of it then.
    :param uuid: its SMBIOS UUID, lower case; empty likewise.
    :param foreign: it is not one of ours; a token may see it or not.
    """

    name: str
    vmid: int = 0
    uuid: str = ""
    foreign: bool = False

    def __str__(self) -> str:
        return f"VM {self.vmid} ({self.name})" if self.vmid else f"VM {self.name}, which is being made"

    def is_same(self, other: Holder) -> bool:
        """Whether both are one VM: by vmid and UUID where both have them, else by name."""
        if self.vmid and other.vmid:
            return (self.vmid, self.uuid) == (other.vmid, other.uuid)
        return self.name == other.name


@dataclass(frozen=True, slots=True)
class Was:
    """How a VM was before a card was moved, and how it is to be again if the move fails.

    :param slot: of its config that has the card (``hostpci0``); empty: none.
    :param onboot: whether it was started with its node.
    :param noted: what its block said of the card, by whichever mapping.
    """

    holder: Holder
    slot: str
    running: bool
    onboot: bool
    noted: NotedCards = field(default_factory=NotedCards)


@dataclass(frozen=True, slots=True)
class Before:
    """Both VMs of a move; ``source`` is ``None`` where nobody had the card."""

    target: Was
    source: Was | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """One VM's claim to a card of a node.

    :param run: the run that wrote it.
    :param since: when, in seconds since 1970 by that run's clock.
    :param before: set while a move is on its way.
    """

    holder: Holder
    node: str
    run: str
    since: int
    before: Before | None = None


def read_leases(description: str) -> tuple[Lease, ...]:
    """The leases of a description; none when there is no block or it is damaged."""
    found = _BLOCK.findall(description)
    if len(found) != 1:
        return ()
    try:
        return tuple(_lease(one) for one in json.loads(found[0]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def with_leases(description: str, leases: Iterable[Lease]) -> str:
    """The description with these leases and no others; what people wrote stays, cut where it is too long."""
    words = own_words(description)
    data = [_data(one) for one in leases]
    if not data:
        return words
    block = f"{_BEGIN} {json.dumps(data, sort_keys=True, separators=(',', ':'))}{_END}"
    return f"{words[: LONGEST - len(block) - 1]} {block}".strip()


def own_words(description: str) -> str:
    """What people wrote around the block."""
    return _BLOCK.sub("", description).strip()


def _data(lease: Lease) -> dict[str, Any]:
    data: dict[str, Any] = {
        **_holder_data(lease.holder),
        "node": lease.node,
        "run": lease.run,
        "since": lease.since,
    }
    if lease.before is not None:
        both = {"target": lease.before.target, "source": lease.before.source}
        data["before"] = {key: _was_data(one) for key, one in both.items() if one is not None}
    return data


def _was_data(was: Was) -> dict[str, Any]:
    data = {**_holder_data(was.holder), "slot": was.slot, "running": was.running, "onboot": was.onboot}
    return data | {key: list(one) for key, one in (("has", was.noted.has), ("gave", was.noted.gave)) if one}


def _holder_data(holder: Holder) -> dict[str, Any]:
    data: dict[str, Any] = {"vm": holder.name, "vmid": holder.vmid, "uuid": holder.uuid}
    return data | ({"foreign": True} if holder.foreign else {})


def _lease(data: dict[str, Any]) -> Lease:
    before = data.get("before")
    return Lease(
        holder=_holder(data),
        node=str(data["node"]),
        run=str(data["run"]),
        since=int(data["since"]),
        before=None if before is None else _before(before),
    )


def _before(data: dict[str, Any]) -> Before:
    return Before(_was(data["target"]), _was(data["source"]) if "source" in data else None)


def _was(data: dict[str, Any]) -> Was:
    slot, running, onboot = str(data["slot"]), bool(data["running"]), bool(data["onboot"])
    has, gave = (tuple(str(one) for one in data.get(key, ())) for key in ("has", "gave"))
    return Was(_holder(data), slot, running=running, onboot=onboot, noted=NotedCards(has, gave))


def _holder(data: dict[str, Any]) -> Holder:
    uuid = str(data["uuid"]).lower()
    return Holder(str(data["vm"]), int(data["vmid"]), uuid, foreign=data.get("foreign") is True)
