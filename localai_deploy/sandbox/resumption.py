"""Whether a VM can begin as a saved guest, which one that is, and how it is made. Nothing is started here."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localai_deploy.sandbox.body import GuestPlan, SourceImage
from localai_deploy.sandbox.disk_files import copy_disk, shrink
from localai_deploy.sandbox.guest_scripts import PREPARE
from localai_deploy.sandbox.neutral_seed import neutral_user_data, read_documents, write_neutral_disc
from localai_deploy.sandbox.qemu_command import GuestCommand, Machine, card_slots, properties
from localai_deploy.sandbox.saved_guest import SavedGuest, key_of
from localai_deploy.sandbox.seed_disc import find_seed

DISK = "scsi0"
VARIABLES = "efidisk0"
SEED = "scsi1"
"""Where a guest that is to be saved has its seed."""
_NEEDED = {"bios": "ovmf", "machine": "q35"}
_SCSI = re.compile(r"scsi\d+")
_NOBODY = "00000000-0000-4000-8000-000000000000"


class NotResumable(Exception):  # noqa: N818
    """The VM has to be booted; the text says why."""


@dataclass(frozen=True)
class Resumption:
    """A VM that can begin as a saved guest.

    :param image: what its disk was made from; no guest has written to it.
    :param documents: of its own seed.
    """

    plan: GuestPlan
    image: SourceImage
    documents: dict[str, str]

    @property
    def user_data(self) -> dict[str, Any]:
        """What the saved guest is told at its only boot."""
        return neutral_user_data(self.documents.get("user-data", ""))

    @property
    def plugged(self) -> frozenset[str]:
        """Slots of what the VM has and the saved guest has not: cards, the seed, further disks."""
        discs = {slot for slot in self.plan.disks if _SCSI.fullmatch(slot) and slot != DISK}
        return frozenset(discs | set(card_slots(self.plan.config)))

    @property
    def macs(self) -> list[str]:
        """Of its network cards."""
        found = (re.search(r"(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", str(self.plan.config[slot]))
                 for slot in card_slots(self.plan.config))  # fmt: skip
        return [match[0].lower() for match in found if match]

    def key(self, qemu: str, *, kvm: bool) -> str:
        """The name of the saved guest; `qemu` is the version of QEMU."""
        config = {**self.plan.config, "smbios1": f"uuid={_NOBODY}", "vmgenid": _NOBODY}
        disks = {DISK: "disk.qcow2", VARIABLES: "variables.raw"}
        nobody = GuestPlan(0, "", config, disks)
        command = GuestCommand(nobody, Machine(kvm, "code", ""), {}, self.plugged)
        parts = {"qemu": qemu, "command": command.argv(), "image": self.image.sha256}
        return key_of(parts | {"seed": self.user_data, "prepare": PREPARE})

    def boot_plan(self, saved: SavedGuest) -> GuestPlan:
        """The guest that is booted to be saved: the VM's machine and network, with a neutral seed.

        Raises MachineError when its files cannot be made.
        """
        disk = Path(self.plan.disks[DISK])
        copy_disk(disk, _format(disk), saved.disk, "qcow2")
        shrink(saved.disk, "qcow2", self.image.virtual_bytes)
        variables = Path(self.plan.disks[VARIABLES])
        copy_disk(variables, _format(variables), saved.variables, "raw")
        seed = saved.folder / "seed.iso"
        write_neutral_disc(seed, self.user_data, self.documents.get("network-config"))
        config = {key: value for key, value in self.plan.config.items() if not _SCSI.fullmatch(key)}
        config |= {
            DISK: str(disk),
            SEED: "seed,media=cdrom",
            "smbios1": f"uuid={_NOBODY}",
            "vmgenid": _NOBODY,
        }
        disks = {DISK: str(saved.disk), VARIABLES: str(saved.variables), SEED: str(seed)}
        return replace(self.plan, config=config, disks=disks)

    def put_disks(self, saved: SavedGuest) -> None:
        """Give the VM the saved guest's disk and variables; raises MachineError."""
        disk, variables = Path(self.plan.disks[DISK]), Path(self.plan.disks[VARIABLES])
        copy_disk(saved.disk, "qcow2", disk, _format(disk))
        copy_disk(saved.variables, "raw", variables, _format(variables))


def resumption_of(plan: GuestPlan) -> Resumption:
    """The VM as one that can begin as a saved guest; raises NotResumable, MachineError."""
    image = plan.images.get(DISK)
    if image is None:
        raise NotResumable("its disk is not an image that no guest has written to")
    for key, value in _NEEDED.items():
        if value not in str(plan.config.get(key, "")):
            raise NotResumable(f"saved guests have {key}={value}")
    if plan.passed:
        raise NotResumable("it has a card, and saved guests have none")
    if VARIABLES not in plan.disks:
        raise NotResumable(f"saved guests have an {VARIABLES}")
    if properties(plan.config.get("agent", "0"), "enabled").get("enabled") != "1":
        raise NotResumable("its guest agent is not enabled")
    others = sorted(slot for slot in plan.disks if not _SCSI.fullmatch(slot) and slot != VARIABLES)
    if others:
        raise NotResumable(f"saved guests have SCSI disks only, this one has {', '.join(others)}")
    disc = find_seed({slot: file for slot, file in plan.disks.items() if slot not in {DISK, VARIABLES}})
    if disc is None:
        raise NotResumable("it has no seed, nothing would tell the guest who it is")
    return Resumption(plan, image, read_documents(disc))


def _format(file: Path) -> str:
    found = file.suffix.removeprefix(".")
    return found if found in {"qcow2", "vmdk"} else "raw"
