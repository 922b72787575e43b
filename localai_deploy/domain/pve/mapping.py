"""Resource mappings of PCI devices: a name in the cluster, and which device it stands for on each node.

Facts: the server's own schema (``/cluster/mapping/pci``). An entry without ``iommugroup`` or
``subsystem-id`` is accepted when it is written and refused when a VM is started, so ours always have both
where the device has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.pci.address import PciAddress, parse_address
from localai_deploy.domain.pve import property_string
from localai_deploy.domain.pve.hardware import CardOnNode, PciDevice

_KNOWN = ("node", "path", "id", "iommugroup", "subsystem-id")
_NOT_IN_A_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class MappingEntry:
    """A device of one node.

    :param path: ``0000:01:00`` (the whole device) or ``0000:01:00.0``; several, joined by ``;``: whichever
        is free.
    :param id: vendor and device of the first function, ``10de:2684``.
    :param iommugroup: ``None``: the entry does not say.
    :param subsystem_id: likewise.
    :param rest: further keys as they were written (an entry's own ``description``).
    """

    node: str
    path: str
    id: str
    iommugroup: int | None
    subsystem_id: str | None = None
    rest: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        known = (self.node, self.path, self.id, self.iommugroup, self.subsystem_id)
        return property_string.render({**dict(zip(_KNOWN, known, strict=True)), **dict(self.rest)})

    @property
    def addresses(self) -> tuple[PciAddress, ...]:
        """The devices or functions that it may stand for."""
        return tuple(parse_address(one) for one in self.path.split(";"))

    @property
    def slots(self) -> tuple[str, ...]:
        """Their slots (``0000:01:00``), each once."""
        return tuple(dict.fromkeys(address.slot for address in self.addresses))


def parse_entry(text: str) -> MappingEntry:
    """Read ``node=…,path=…,id=…,iommugroup=…,subsystem-id=…``.

    :raises LocalaiError: ``pve-answer-unreadable``.
    """
    values = property_string.parse(text, "path")
    group = values.get("iommugroup")
    return MappingEntry(
        node=values.get("node", ""),
        path=values.get("path", ""),
        id=values.get("id", "").lower(),
        iommugroup=None if group is None else int(group),
        subsystem_id=values["subsystem-id"].lower() if "subsystem-id" in values else None,
        rest=tuple((key, value) for key, value in values.items() if key not in _KNOWN),
    )


def entry_for(card: CardOnNode) -> MappingEntry:
    """The whole device, by the ids of its first function: that is what the server compares."""
    return _entry(card.node, card.slot, card.functions[0])


def _entry(node: str, path: str, function: PciDevice) -> MappingEntry:
    return MappingEntry(
        node=node,
        path=path,
        id=f"{function.pci_id.vendor:04x}:{function.pci_id.device:04x}",
        iommugroup=function.iommu_group,
        subsystem_id=function.subsystem_id,
    )


def mapping_problem(entry: MappingEntry, card: CardOnNode | None) -> str | None:
    """Why a mapping is out of date (``pci-renumber``): what differs between it and the hardware there.

    :param card: the one at the entry's path; ``None``: there is none.
    :returns: ``None`` when a VM could be started with it.
    """
    if card is None:
        return f"node {entry.node} has no card at {entry.path}"
    meant = [one for one in card.functions if one.address in entry.addresses] or [card.functions[0]]
    now = _entry(card.node, entry.path, meant[0])
    pairs = (
        ("id", entry.id, now.id),
        ("iommugroup", entry.iommugroup, now.iommugroup),
        ("subsystem-id", entry.subsystem_id, now.subsystem_id),
    )
    wrong = [
        f"{key} is {_said(found)}, mapped as {_said(said)}" for key, said, found in pairs if said != found
    ]
    return f"{entry.path} on {entry.node}: {'; '.join(wrong)}" if wrong else None


def _said(value: object) -> str:
    return "none" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class ResourceMapping:
    """One mapping as the cluster has it.

    :param description: one line: the server refuses a line feed.
    :param digest: of the file that holds all mappings of the cluster.
    :param checks: errors that the server itself finds in the entries of the node that was asked about.
    """

    name: str
    entries: tuple[MappingEntry, ...]
    description: str = ""
    digest: str = ""
    checks: tuple[str, ...] = ()

    def entries_on(self, node: str) -> tuple[MappingEntry, ...]:
        """Those of one node."""
        return tuple(entry for entry in self.entries if entry.node == node)

    def slots_on(self, node: str) -> tuple[str, ...]:
        """The slots that it stands for on one node, each once."""
        return tuple(dict.fromkeys(slot for entry in self.entries_on(node) for slot in entry.slots))

    def is_of(self, card: CardOnNode) -> bool:
        """Whether it stands for this card and for no other of its node."""
        return self.slots_on(card.node) == (card.slot,)


def parse_mapping(answer: Mapping[str, Any], name: str = "") -> ResourceMapping:
    """Read one of ``GET /cluster/mapping/pci``, or the answer of ``GET …/{id}``, which has no id."""
    return ResourceMapping(
        name=str(answer.get("id", name)),
        entries=tuple(parse_entry(str(one)) for one in answer.get("map", ())),
        description=str(answer.get("description") or ""),
        digest=str(answer.get("digest", "")),
        checks=tuple(
            str(one["message"]).strip()
            for one in answer.get("checks") or ()
            if one.get("severity") == "error"
        ),
    )


def create_command(name: str, card: CardOnNode) -> str:
    """What an administrator types on a node to make the mapping of a card."""
    return f"pvesh create /cluster/mapping/pci --id {name} --map {entry_for(card)}"


def new_mapping_name(card: CardOnNode, taken: Iterable[str]) -> str:
    """A name for a mapping of this card: ``localai-pve1-0000-01-00``, with a number behind it when taken."""
    plain = "-".join(("localai", *(_NOT_IN_A_NAME.sub("-", part.lower()) for part in (card.node, card.slot))))
    held = set(taken)
    number, name = 1, plain
    while name in held:
        number += 1
        name = f"{plain}-{number}"
    return name
