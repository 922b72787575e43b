"""A VM as we want it, and the parameters that make it so."""

from __future__ import annotations

import hashlib
import re
import uuid as uuid_module
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from localai_deploy.domain.pve import property_string
from localai_deploy.domain.pve.hostpci import SLOTS, mapped_card
from localai_deploy.domain.pve.network import NetworkDevice
from localai_deploy.domain.pve.ownership import POOL, TAG, OwnershipBlock
from localai_deploy.domain.pve.seed import StaticAddress
from localai_deploy.errors import InputError

_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_IDS = range(1000, 10_000)
_PROBES = 16
_CLOUD_INIT_DRIVE = re.compile(r"^[^,]*cloudinit\b.*,media=cdrom")
EFI_OPTIONS = "efitype=4m,pre-enrolled-keys=0"
SYSTEM_DISK = "scsi0"
SEED_DRIVE = "scsi1"


@dataclass(frozen=True, slots=True)
class VmSpec:
    """One VM on one node.

    :param node: the node's name in its cluster.
    :param memory_mib: fixed; there is no balloon.
    :param disk_gib: size of the system disk; an image is only ever grown.
    :param vm_storage: storage of the disks; empty: the node's best one (:mod:`.storages`).
    :param image_storage: storage with content ``import``; empty likewise.
    :param seed_storage: storage with content ``iso``; empty likewise.
    :param vlan: VLAN tag; 0: none.
    :param vmid: the id it must have; 0: derived from its name.
    :param image: a catalogue name or a URL with its checksum (:mod:`.images`).
    :param template: id of a template to clone in place of an image; 0: none.
    :param user: the guest's user, who may become root.
    :param static: its address; ``None``: DHCP.
    :param gpus: its cards: as they are asked for (:mod:`.gpu_selection`), and once they are chosen, the names
        of their resource mappings.
    :param accepted: ids of findings about them that somebody consented to; once the cards are chosen, each
        with the card that it is for (:mod:`.consents`).
    """

    name: str
    node: str
    cores: int = 4
    memory_mib: int = 8192
    disk_gib: int = 40
    vm_storage: str = ""
    image_storage: str = ""
    seed_storage: str = ""
    bridge: str = "vmbr0"
    vlan: int = 0
    vmid: int = 0
    image: str = "debian-13"
    template: int = 0
    user: str = "admin"
    static: StaticAddress | None = None
    gpus: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _DNS_LABEL.fullmatch(self.name):
            raise InputError(
                "vm-name-invalid",
                f"{self.name!r} cannot be a VM's name",
                why="it becomes the guest's host name: small letters, digits and '-', at most 63",
                hint="choose another with --name",
            )

    def with_storages(self, names: Mapping[str, str]) -> VmSpec:
        """The same with ``vm_storage``, ``image_storage`` and ``seed_storage`` as ``names`` has them."""
        return replace(
            self,
            vm_storage=names.get("vm_storage", ""),
            image_storage=names.get("image_storage", ""),
            seed_storage=names.get("seed_storage", ""),
        )

    def record(self) -> dict[str, Any]:
        """What the ownership block keeps of it, so that no local file is needed."""
        return {**asdict(self), "gpus": list(self.gpus), "accepted": list(self.accepted)}


@dataclass(frozen=True, slots=True)
class VmIdentity:
    """What makes one VM this VM: chosen by us, so that block, seed and address agree from the start."""

    uuid: str
    mac: str

    @property
    def host_key_alias(self) -> str:
        """The name under which the guest's SSH key is known; addresses are given to others one day."""
        return f"localai-{self.uuid}"


def new_identity(seed: str) -> VmIdentity:
    """An identity derived from ``seed``, which is random: a VM made again under its name is another one.

    The MAC has the prefix that Proxmox itself uses.
    """
    digest = hashlib.sha256(seed.encode()).digest()
    tail = digest[16:19].hex().upper()
    uuid = uuid_module.UUID(bytes=digest[:16], version=4)
    return VmIdentity(str(uuid), f"BC:24:11:{tail[:2]}:{tail[2:4]}:{tail[4:]}")


def candidate_ids(spec: VmSpec) -> Iterator[int]:
    """Ids to try, in that order: they follow from the name.

    Two runs that make a VM of one name thus ask for the same id, of which the server gives every id
    only once: its create is what claims the name (docs/adr/0005).
    """
    if spec.vmid:
        yield spec.vmid
        return
    start = int.from_bytes(hashlib.sha256(spec.name.encode()).digest()[:8])
    for probe in range(_PROBES):
        yield _IDS[(start + probe) % len(_IDS)]


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How the guest's CPU is run: the node's own, or emulated where the node has no KVM."""

    has_kvm: bool = True

    def parameters(self) -> dict[str, Any]:
        """``cpu: host`` needs KVM."""
        return {"cpu": "host"} if self.has_kvm else {"cpu": "max", "kvm": 0}


@dataclass(frozen=True, slots=True)
class Creation:
    """The call that begins a VM, and what makes it whole.

    :param path: below ``nodes/NODE``.
    :param about: id of the VM that the call's task is said to be about: a clone's is that of its template.
    :param sent: parameters of the POST.
    :param config: what the VM is to have in the end, its disks aside.
    """

    path: str
    about: int
    sent: Mapping[str, Any]
    config: Mapping[str, Any]

    def missing(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """What a VM with the config ``found`` needs to be whole; its firmware's disk stays as it is.

        A template's own cloud-init drive goes: a guest would not know which of two seeds to take.
        """
        values = {key: value for key, value in self.config.items() if not is_set(key, value, found)}
        drives = [key for key, value in found.items() if _CLOUD_INIT_DRIVE.search(str(value))]
        return {**values, "delete": ",".join(sorted(drives))} if drives else values


def is_set(key: str, value: object, found: Mapping[str, Any]) -> bool:
    """Whether a config has that value already; a drive reads back with its volume and its size."""
    if key.startswith("efidisk"):
        return key in found
    now, wanted = str(found.get(key, "")), str(value)
    return now == wanted or (key == SEED_DRIVE and now.partition(",")[0] == wanted.partition(",")[0])


def creation(
    spec: VmSpec, vmid: int, identity: VmIdentity, *, image: str, seed: str, acceleration: Acceleration
) -> Creation:
    """``POST /nodes/NODE/qemu`` with the disk imported, or a full clone of the spec's template.

    What is sent has no tags and says ``begun`` (:mod:`.ownership`).

    :param image: volume id of the disk image; not used with a template.
    :param seed: volume id of the first boot's ISO.
    """
    efi = {"efidisk0": f"{spec.vm_storage}:0,{EFI_OPTIONS}"}
    block = OwnershipBlock(spec.name, vmid, identity.uuid, spec.record())
    begun = {"description": replace(block, begun=True).render()}
    config = config_parameters(spec, identity, seed=seed, acceleration=acceleration)
    whole = {**efi, **config, "tags": TAG, "description": block.render()}
    if spec.template:
        clone = {"newid": vmid, "name": spec.name, "pool": POOL, "full": 1, "storage": spec.vm_storage}
        return Creation(f"qemu/{spec.template}/clone", spec.template, {**clone, **begun}, whole)
    disk = {SYSTEM_DISK: f"{spec.vm_storage}:0,import-from={image},discard=on,iothread=1"}
    return Creation("qemu", vmid, {"vmid": vmid, "pool": POOL, **efi, **disk, **config, **begun}, whole)


def config_parameters(
    spec: VmSpec, identity: VmIdentity, *, seed: str, acceleration: Acceleration
) -> dict[str, Any]:
    """All but disks and ownership: Q35 and OVMF, virtio, no balloon, a serial console.

    The seed is on virtio-scsi, because the kernels of cloud images have no IDE driver.
    """
    return {
        "name": spec.name,
        "smbios1": f"uuid={identity.uuid}",
        "ostype": "l26",
        "machine": "q35",
        "bios": "ovmf",
        **acceleration.parameters(),
        "cores": spec.cores,
        "memory": spec.memory_mib,
        "balloon": 0,
        "scsihw": "virtio-scsi-single",
        SEED_DRIVE: f"{seed},media=cdrom",
        "boot": f"order={SYSTEM_DISK}",
        "net0": str(NetworkDevice(spec.bridge, identity.mac, vlan=spec.vlan)),
        "serial0": "socket",
        "vga": "serial0",
        "agent": property_string.render({"enabled": True, "fstrim_cloned_disks": True}, "enabled"),
        "onboot": 1,
        **{slot: str(mapped_card(name)) for slot, name in zip(SLOTS, spec.gpus, strict=False)},
    }


COMPARED = (
    "name",
    "smbios1",
    "machine",
    "bios",
    "cpu",
    "cores",
    "memory",
    "balloon",
    "scsihw",
    "net0",
    "serial0",
    "onboot",
    "boot",
    *SLOTS,
)
"""Values that must read back as they were sent; disks read back with the volumes that were made."""


def differences(sent: Mapping[str, Any], read_back: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What a VM's config holds other than what was sent: key → (sent, found)."""
    found = {key: (str(sent[key]), str(read_back.get(key, ""))) for key in COMPARED if key in sent}
    return {key: pair for key, pair in found.items() if pair[0] != pair[1]}


_DRIVE = re.compile(r"(?:scsi|virtio|sata|ide|efidisk|tpmstate|unused)\d+")


def disk_bytes(volume: str) -> int:
    """Size of a disk as its config line says it (``…,size=3G``), in bytes; 0 when unknown."""
    size = property_string.parse(volume, "file").get("size", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", size)
    if not match:
        return 0
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2] or " "))


def disk_size_gib(volume: str) -> int:
    """The same in GiB, rounded down."""
    return disk_bytes(volume) >> 30


def disks_of(config: Mapping[str, Any]) -> dict[str, int]:
    """Volume id → size in bytes of the disks that go with a VM: no CDs, no disks of the node itself."""
    lines = [str(value) for key, value in config.items() if _DRIVE.fullmatch(key)]
    own = [line for line in lines if "media=cdrom" not in line and not line.startswith("/")]
    return {line.partition(",")[0]: disk_bytes(line) for line in own}
