"""What is known of a card and of the VM that is to have it, and how findings are made of it."""

from __future__ import annotations

from dataclasses import dataclass

from localai_deploy.domain.node.hardware import Function, NodeHardware
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.pve.card_claims import CardUser
from localai_deploy.domain.pve.hardware import CardOnNode, PciDevice
from localai_deploy.domain.pve.mapping import MappingEntry

LOOK_BY_SSH = "set localai_proxmox_ssh: true for the node, so that it is looked at over SSH"


@dataclass(frozen=True, slots=True)
class CardOutlook:
    """A card on a node, with as much of a VM as is decided (``None``: there is no VM to speak of).

    :param devices: all devices of the node that its API lists.
    :param hardware: ``None``: nobody could look at the node itself.
    :param users: other VMs that have the card in their configuration.
    :param mapping: the entry of the resource mapping that is to be used.
    :param memory_available_bytes: of the node; ``None``: not told.
    :param cpu: the VM's CPU type as the configuration has it; empty: the server's default.
    :param efidisk: the VM's ``efidisk0`` as the configuration has it.
    :param accepted: ids of findings that were consented to: they warn and do not block.
    """

    card: CardOnNode
    devices: tuple[PciDevice, ...] = ()
    hardware: NodeHardware | None = None
    users: tuple[CardUser, ...] = ()
    mapping: MappingEntry | None = None
    memory_available_bytes: int | None = None
    memory_mib: int | None = None
    machine: str | None = None
    cpu: str | None = None
    efidisk: str | None = None
    accepted: frozenset[str] = frozenset()

    @property
    def functions(self) -> tuple[Function, ...]:
        """The card's functions as the node's kernel shows them; empty when nobody looked."""
        return self.hardware.of_slot(self.card.slot) if self.hardware else ()

    @property
    def neighbours(self) -> tuple[PciDevice, ...]:
        """Other devices in the card's IOMMU group that are no bridges (class 06)."""
        group, own = self.card.iommu_group, self.card.address
        return tuple(
            one
            for one in self.devices
            if group is not None
            and one.iommu_group == group
            and one.address.whole != own
            and one.class_id >> 16 != _BRIDGE
        )


_BRIDGE = 0x06


def unknown(finding_id: str, what: str) -> Finding:
    """Something that only a look at the node itself would tell."""
    return Finding(finding_id, Severity.UNKNOWN, what, "the node's API does not tell it", LOOK_BY_SSH)


def softened(finding: Finding, accepted: frozenset[str]) -> Finding:
    """A blocker that was consented to is a warning."""
    if finding.severity is not Severity.BLOCKER or finding.finding_id not in accepted:
        return finding
    why = "; ".join(filter(None, (finding.why, "consented to")))
    return Finding(finding.finding_id, Severity.WARNING, finding.what, why, finding.hint)
