"""What the API tells of a node and of one VM, as pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from localai_deploy.domain.pve import property_string
from localai_deploy.domain.pve.card_claims import CardWorld
from localai_deploy.domain.pve.hardware import CardOnNode, PciDevice, cards_of
from localai_deploy.domain.pve.network import first_card
from localai_deploy.domain.pve.ownership import OwnershipBlock, smbios_uuid
from localai_deploy.domain.pve.permissions import Need, missing_needs
from localai_deploy.domain.pve.seed import seed_volume_name
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import SEED_DRIVE, VmIdentity


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """One storage of a node; sizes in bytes, 0 when they are not told (it is not active)."""

    name: str
    content: frozenset[str]
    active: bool = True
    available_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One look at a node through one token.

    :param permissions: ``GET /access/permissions``: path → privilege → 1 if it reaches below the path.
    :param storages: those that the token may see.
    :param bridges: ``None`` when they cannot be listed.
    :param memory_available_bytes: ``None``, like ``memory_total_bytes`` and ``cpu_count``, when the token
        may not ask for the node's status.
    :param has_kvm: the node's CPU runs guests itself.
    :param images: volume id → size in bytes of content ``import``, on all storages.
    :param seeds: volume ids of content ``iso`` that are ours by their name.
    :param names: VM name → ids, of all VMs that the token may see.
    :param half_made: ids of VMs that hold only the lock of their create or clone.
    :param pool_exists: pool ``localai`` is there.
    :param token: ``user@realm!name``, which looked.
    :param devices: the node's PCI devices; ``None`` when nobody asked, or the token may not ask.
    :param world: mappings, and VMs that have cards; empty when nobody asked.
    """

    node: str
    version: PveVersion
    permissions: Mapping[str, Mapping[str, int]]
    storages: tuple[StorageFacts, ...] = ()
    bridges: tuple[str, ...] | None = None
    memory_available_bytes: int | None = None
    memory_total_bytes: int | None = None
    cpu_count: int | None = None
    has_kvm: bool = True
    images: Mapping[str, int] = field(default_factory=dict)
    seeds: tuple[str, ...] = ()
    names: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    half_made: tuple[int, ...] = ()
    pool_exists: bool = True
    token: str = ""
    devices: tuple[PciDevice, ...] | None = None
    world: CardWorld = field(default_factory=lambda: CardWorld((), ()))

    @property
    def cards(self) -> tuple[CardOnNode, ...]:
        """The node's cards, by slot."""
        return cards_of(self.node, self.devices or ())

    def storage(self, name: str) -> StorageFacts | None:
        """Look up a storage by name."""
        return next((one for one in self.storages if one.name == name), None)

    def without(self, vmid: int) -> NodeFacts:
        """The same without the name of one VM."""
        rest = {name: tuple(one for one in ids if one != vmid) for name, ids in self.names.items()}
        return replace(self, names=rest)

    def seeds_of(self, name: str) -> tuple[str, ...]:
        """Seeds that were made for a VM of that name."""
        return tuple(one for one in self.seeds if seed_volume_name(one) == name)

    def removable_seeds(self, name: str) -> tuple[str, ...]:
        """Those on storages where the token may delete them."""
        return tuple(one for one in self.seeds_of(name) if self._may_delete(one))

    def _may_delete(self, volume: str) -> bool:
        need = Need(f"/storage/{volume.partition(':')[0]}", "Datastore.Allocate")
        return not missing_needs([need], self.permissions)


@dataclass(frozen=True, slots=True)
class BegunVm:
    """A VM that a run of ours began and did not finish; it was never started."""

    vmid: int
    node: str
    block: OwnershipBlock


@dataclass(frozen=True, slots=True)
class VmFacts:
    """A VM that is ours.

    :param status: ``running``, ``stopped``, ``paused``.
    :param config: as the API answers it, with pending values.
    :param pending: keys whose new value waits for a restart.
    :param address: what the guest agent reports for the card with net0's MAC; empty while it is silent.
    :param disks: volume id → size in bytes of what goes with the VM.
    """

    vmid: int
    node: str
    block: OwnershipBlock
    config: Mapping[str, Any]
    status: str
    pending: tuple[str, ...] = ()
    address: str = ""
    disks: Mapping[str, int] = field(default_factory=dict)

    @property
    def identity(self) -> VmIdentity:
        """UUID and MAC as the config has them."""
        return VmIdentity(smbios_uuid(self.config), first_card(self.config).mac)

    @property
    def seed(self) -> str:
        """Volume id of the first boot's ISO while it is attached, else empty."""
        drive = str(self.config.get(SEED_DRIVE, ""))
        return drive.partition(",")[0] if "media=cdrom" in drive else ""

    @property
    def cores(self) -> int:
        """CPU cores; Proxmox's default is one."""
        return int(self.config.get("cores", 1))

    @property
    def memory_mib(self) -> int:
        """Memory; it may read back as ``current=N``."""
        found = property_string.parse(str(self.config.get("memory", "512")), "current")
        return int(found.get("current", "512"))

    @property
    def running(self) -> bool:
        """Whether the guest's CPU runs."""
        return self.status == "running"
