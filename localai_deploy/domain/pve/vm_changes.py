"""What of a VM that is there differs from what is asked for; everything else is its admin's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from localai_deploy.domain.plan import Change
from localai_deploy.domain.pve import property_string
from localai_deploy.domain.pve.facts import VmFacts
from localai_deploy.domain.pve.hostpci import SLOTS, cards_in, mapped_card
from localai_deploy.domain.pve.network import first_card, placed
from localai_deploy.domain.pve.ownership import OwnershipBlock, strip_block
from localai_deploy.domain.pve.storages import GIB
from localai_deploy.domain.pve.vm import SEED_DRIVE, SYSTEM_DISK, VmSpec, disk_bytes
from localai_deploy.domain.units import format_bytes

_TAKES_A_RESTART = frozenset({"cores", "memory", "balloon", "cpu", *SLOTS})
"""A guest sees these when it boots."""


def system_disk_bytes(vm: VmFacts) -> int:
    """Size of the system disk; 0 when unknown."""
    return disk_bytes(str(vm.config.get(SYSTEM_DISK, "none")))


def config_changes(spec: VmSpec, vm: VmFacts) -> tuple[Change, ...]:
    """Every difference, for people."""
    card = first_card(vm.config)
    found = {
        "cores": (vm.cores, spec.cores),
        "memory": (vm.memory_mib, spec.memory_mib),
        "bridge": (card.bridge, spec.bridge),
        "vlan": (card.vlan, spec.vlan),
    }
    changes = [Change(key, str(now), str(wanted)) for key, (now, wanted) in found.items() if now != wanted]
    size, wanted = system_disk_bytes(vm), spec.disk_gib * GIB
    if 0 < size < wanted:
        changes.append(Change("disk", _size_text(size), _size_text(wanted)))
    cards = card_values(spec, vm).items()
    return (*changes, *(Change(key, str(vm.config.get(key, "")), value) for key, value in cards))


def _size_text(size: int) -> str:
    return format_bytes(size) if size % GIB else f"{size // GIB} GiB"


def config_values(spec: VmSpec, vm: VmFacts) -> dict[str, object]:
    """What is to be set, the disk's size aside; of the network card only its place."""
    card, values = first_card(vm.config), dict[str, object]()
    if vm.cores != spec.cores:
        values["cores"] = spec.cores
    if vm.memory_mib != spec.memory_mib:
        values["memory"] = spec.memory_mib
    if (card.bridge, card.vlan) != (spec.bridge, spec.vlan):
        values["net0"] = placed(str(vm.config.get("net0") or card.model), spec.bridge, spec.vlan)
    cards = card_values(spec, vm)
    values |= {key: value for key, value in cards.items() if value}
    gone = ",".join(key for key, value in cards.items() if not value)
    return values | ({"delete": gone} if gone else {})


def card_values(spec: VmSpec, vm: VmFacts) -> dict[str, str]:
    """Keys of the config that give or take cards, with their new values; an empty one: the key goes.

    Passthrough devices by other mappings than ours, and raw ones, are left alone. A VM with a card has all
    of its memory at once, and the node's own CPU if it is not emulated anyway.
    """
    return dict(_card_values(spec, vm))


def _card_values(spec: VmSpec, vm: VmFacts) -> Iterator[tuple[str, str]]:
    now = cards_in(vm.config)
    for slot, device in now.items():
        if device.mapping in spec.gpus and device.options.get("pcie") != "1":
            yield slot, str(replace(device, options={**device.options, "pcie": "1"}))
        elif device.mapping in {*vm.block.mappings, *vm.block.gave} - set(spec.gpus):
            yield slot, ""
    have = {device.mapping for device in now.values()}
    free = (slot for slot in SLOTS if slot not in now)
    for name, slot in zip((one for one in spec.gpus if one not in have), free, strict=False):
        yield slot, str(mapped_card(name))
    if spec.gpus:
        yield from _needed_by_cards(vm)


def _needed_by_cards(vm: VmFacts) -> Iterator[tuple[str, str]]:
    if str(vm.config.get("balloon", "")) != "0":
        yield "balloon", "0"
    cpu = property_string.parse(str(vm.config.get("cpu", "kvm64")), "cputype").get("cputype")
    if cpu != "host" and str(vm.config.get("kvm", 1)) != "0":
        yield "cpu", "host"


def new_description(vm: VmFacts, block: OwnershipBlock) -> str:
    """The VM's description with another block; what people wrote stays."""
    return block.render(strip_block(str(vm.config.get("description", ""))))


def waits_for_restart(spec: VmSpec, vm: VmFacts) -> bool:
    """Whether values wait for a restart, or will; a drive that the guest keeps can wait for longer."""
    wanted = {change.name for change in config_changes(spec, vm)}
    return bool(set(vm.pending) - {SEED_DRIVE} or wanted & _TAKES_A_RESTART)
