"""The block in a VM's description that makes it ours.

A VM is ours when pool and tag are ours *and* the block names this very VM: its vmid and its SMBIOS
UUID. A clone has another UUID, a backup restored elsewhere another vmid, so neither is taken for ours.
While a VM is being made, its block says so in place of the tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from localai_deploy.domain.pve import property_string

POOL = "localai"
TAG = "localai"
BEGIN = "<!-- localai-deploy"
END = "localai-deploy -->"
_BLOCK = re.compile(rf"{re.escape(BEGIN)}\s*(\{{.*?\}})\s*{re.escape(END)}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NotedCards:
    """Cards of a VM as its block notes them, by the names of their mappings.

    :param has: those that it is to have.
    :param gave: those that its config still has, though their cards were moved away or released.
    """

    has: tuple[str, ...] = ()
    gave: tuple[str, ...] = ()

    def of(self, names: Collection[str]) -> NotedCards:
        """Only those by these mappings."""
        return NotedCards(_among(self.has, names), _among(self.gave, names))

    def without(self, names: Collection[str]) -> NotedCards:
        """Only the others."""
        return NotedCards(
            tuple(one for one in self.has if one not in names),
            tuple(one for one in self.gave if one not in names),
        )

    def given_away(self) -> NotedCards:
        """The VM has none of them any more."""
        return NotedCards(gave=tuple(dict.fromkeys([*self.has, *self.gave])))

    def __add__(self, other: NotedCards) -> NotedCards:
        return NotedCards((*self.has, *other.has), (*self.gave, *other.gave))


def _among(found: tuple[str, ...], names: Collection[str]) -> tuple[str, ...]:
    return tuple(one for one in found if one in names)


@dataclass(frozen=True, slots=True)
class OwnershipBlock:
    """What we write into the description.

    :param uuid: the SMBIOS UUID, lower case.
    :param spec: what was asked for, as plain data, so that no local file is needed to find it again.
    :param tested: cards with which the VM was stopped and started once, so that a reset that fails is seen.
    :param gave: mappings of cards that it gave away; its config may have them still (docs/adr/0009).
    :param begun: the VM was created and is not whole yet: a token whose rights are those of the pool can set
        tags only once the VM lies in it.
    """

    name: str
    vmid: int
    uuid: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    begun: bool = False
    tested: tuple[str, ...] = ()
    gave: tuple[str, ...] = ()

    @property
    def mappings(self) -> tuple[str, ...]:
        """Names of the mappings by which the VM has cards from us."""
        return tuple(str(one) for one in self.spec.get("gpus", ()))

    @property
    def noted(self) -> NotedCards:
        """Cards that it has, and those that it gave away."""
        return NotedCards(self.mappings, self.gave)

    def with_noted(self, names: Collection[str], noted: NotedCards) -> OwnershipBlock:
        """The same with these notes about the cards of ``names``; what it says of others stays."""
        if self.noted.of(names) == noted:
            return self
        cards = self.noted.without(names) + noted
        return replace(self, spec={**self.spec, "gpus": list(cards.has)}, gave=cards.gave)

    def having(self, names: Collection[str]) -> OwnershipBlock:
        """The same for a VM that runs with cards by these mappings: none of them is given away."""
        back = _among(self.gave, names)
        return self.with_noted(back, NotedCards(has=back))

    def render(self, note: str = "") -> str:
        """The description: ``note`` (what people wrote) stays in front of the block."""
        data: dict[str, Any] = {"name": self.name, "vmid": self.vmid, "uuid": self.uuid}
        data |= {"spec": dict(self.spec), **({"begun": True} if self.begun else {})}
        data |= {"tested": list(self.tested)} if self.tested else {}
        data |= {"gave": list(self.gave)} if self.gave else {}
        block = f"{BEGIN}\n{json.dumps(data, sort_keys=True)}\n{END}"
        return f"{note.rstrip()}\n\n{block}\n" if note.strip() else f"{block}\n"


def find_block(description: str) -> OwnershipBlock | None:
    """The block of a description; ``None`` when there is none, it is damaged, or there are several."""
    found = _BLOCK.findall(description)
    if len(found) != 1:
        return None
    try:
        data = json.loads(found[0])
        return OwnershipBlock(
            name=str(data["name"]),
            vmid=int(data["vmid"]),
            uuid=str(data["uuid"]).lower(),
            spec=data["spec"],
            begun=data.get("begun") is True,
            tested=tuple(str(one) for one in data.get("tested", ())),
            gave=tuple(str(one) for one in data.get("gave", ())),
        )
    except (ValueError, KeyError, TypeError):
        return None


def strip_block(description: str) -> str:
    """What people wrote around the block."""
    return _BLOCK.sub("", description).strip()


def smbios_uuid(config: Mapping[str, Any]) -> str:
    """The UUID of a VM's config (``smbios1``), lower case; empty without one."""
    text = str(config.get("smbios1", ""))
    return property_string.parse(text, "uuid").get("uuid", "").lower() if text else ""


def owned_block(vmid: int, config: Mapping[str, Any], pool: str | None) -> OwnershipBlock | None:
    """The block if the VM is really ours, else ``None``.

    :param config: the VM's config as the API answers it.
    :param pool: the pool that the VM is in, ``None`` when it could not be seen.
    """
    block = _block_of(vmid, config, pool)
    tags = re.split(r"[;, ]+", str(config.get("tags", "")).strip())
    if block is None or block.begun or TAG not in tags:
        return None
    return block if block.uuid == smbios_uuid(config) else None


def begun_block(vmid: int, config: Mapping[str, Any], pool: str | None) -> OwnershipBlock | None:
    """The block of a VM that a run of ours has begun and not finished, else ``None``."""
    block = _block_of(vmid, config, pool)
    return block if block is not None and block.begun else None


def _block_of(vmid: int, config: Mapping[str, Any], pool: str | None) -> OwnershipBlock | None:
    text = str(config.get("description", ""))
    block = find_block(text) or find_block(unquote(text))
    return block if block is not None and block.vmid == vmid and pool == POOL else None
