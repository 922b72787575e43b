"""A VM as we want it, and the parameters that make it so."""

from __future__ import annotations

import hashlib
import re
import uuid as uuid_module
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.pve import property_string
from localai_deploy.domain.pve.network import NetworkDevice
from localai_deploy.domain.pve.ownership import POOL, TAG, OwnershipBlock
from localai_deploy.errors import InputError

_DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NAMESPACE = uuid_module.UUID("c9bf7f4e-5a5c-4d0b-9a70-3a5b0c6a3c11")


@dataclass(frozen=True, slots=True)
class VmSpec:
    """One VM on one node.

    :param node: the node's name in its cluster.
    :param memory_mib: fixed; there is no balloon.
    :param disk_gib: size of the system disk; an image is only ever grown.
    :param vm_storage: storage of the disks.
    :param image_storage: storage with content ``import``.
    :param seed_storage: storage with content ``iso``.
    :param vlan: VLAN tag; 0: none.
    :param cpu: ``host``, or a model where the node cannot give its own.
    """

    name: str
    node: str
    cores: int = 4
    memory_mib: int = 8192
    disk_gib: int = 40
    vm_storage: str = "local-lvm"
    image_storage: str = "local"
    seed_storage: str = "local"
    bridge: str = "vmbr0"
    vlan: int = 0
    cpu: str = "host"

    def __post_init__(self) -> None:
        if not _DNS_LABEL.fullmatch(self.name):
            raise InputError(
                "vm-name-invalid",
                f"{self.name!r} cannot be a VM's name",
                why="it becomes the guest's host name: small letters, digits and '-', at most 63",
                hint="choose another with --name",
            )


@dataclass(frozen=True, slots=True)
class VmIdentity:
    """What makes one VM this VM: chosen by us, so that block, seed and address agree from the start."""

    vmid: int
    uuid: str
    mac: str


def new_identity(vmid: int, seed: str) -> VmIdentity:
    """An identity derived from ``seed``; the MAC has the prefix that Proxmox itself uses.

    The same seed gives the same identity: a create that is tried again after a lost answer is
    recognised.
    """
    uuid = uuid_module.uuid5(_NAMESPACE, seed)
    tail = hashlib.sha256(uuid.bytes).hexdigest()[:6].upper()
    return VmIdentity(vmid, str(uuid), f"BC:24:11:{tail[:2]}:{tail[2:4]}:{tail[4:]}")


def create_parameters(
    spec: VmSpec, identity: VmIdentity, image: str, seed: str, block: OwnershipBlock
) -> dict[str, Any]:
    """Parameters of ``POST /nodes/NODE/qemu``: Q35 and OVMF, virtio, no balloon, a serial console.

    :param image: volume id of the imported disk image.
    :param seed: volume id of the first boot's ISO; on virtio-scsi, because the kernels of cloud
        images have no IDE driver.
    """
    return {
        "vmid": identity.vmid,
        "name": spec.name,
        "pool": POOL,
        "tags": TAG,
        "description": block.render(),
        "smbios1": f"uuid={identity.uuid}",
        "ostype": "l26",
        "machine": "q35",
        "bios": "ovmf",
        "efidisk0": f"{spec.vm_storage}:0,efitype=4m,pre-enrolled-keys=0",
        "cpu": spec.cpu,
        "cores": spec.cores,
        "memory": spec.memory_mib,
        "balloon": 0,
        "scsihw": "virtio-scsi-single",
        "scsi0": f"{spec.vm_storage}:0,import-from={image},discard=on,iothread=1",
        "scsi1": f"{seed},media=cdrom",
        "boot": "order=scsi0",
        "net0": str(NetworkDevice(spec.bridge, identity.mac, vlan=spec.vlan)),
        "serial0": "socket",
        "vga": "serial0",
        "agent": property_string.render({"enabled": True, "fstrim_cloned_disks": True}, "enabled"),
        "onboot": 1,
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
)
"""Values that must read back as they were sent; disks read back with the volumes that were made."""


def differences(sent: Mapping[str, Any], read_back: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What a VM's config holds other than what was sent: key → (sent, found)."""
    found = {key: (str(sent[key]), str(read_back.get(key, ""))) for key in COMPARED if key in sent}
    return {key: pair for key, pair in found.items() if pair[0] != pair[1]}


def disk_size_gib(volume: str) -> int:
    """Size of a disk as its config line says it (``…,size=3G``), in GiB, rounded down; 0 when unknown."""
    size = property_string.parse(volume, "file").get("size", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])", size)
    if not match:
        return 0
    exponent = {"K": -2, "M": -1, "G": 0, "T": 1}[match[2]]
    return int(float(match[1]) * 1024**exponent)
