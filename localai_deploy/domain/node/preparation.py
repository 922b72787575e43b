"""Which functions of a node are to go to vfio-pci, and what its kernel's command line is to have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.node.hardware import Function, NodeHardware
from localai_deploy.domain.pci.address import PciAddress
from localai_deploy.errors import InputError, LocalaiError

_DISPLAY, _BRIDGE = 0x03, 0x06


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a node is to be like from its next boot on.

    :param functions: all functions of the chosen cards.
    """

    functions: tuple[Function, ...]
    parameters: tuple[str, ...]

    def role_variables(self) -> dict[str, Any]:
        """Of role ``vfio``."""
        return {
            "vfio_devices": [{"address": str(one.address), "id": one.short_id} for one in self.functions],
            "vfio_kernel_parameters": list(self.parameters),
        }


def prepare_for(hardware: NodeHardware, wanted: Sequence[PciAddress]) -> Preparation:
    """What to do for these cards; without any, for those prepared before, else for the one that is free.

    :raises InputError: ``card-missing``, ``card-ambiguous``.
    :raises LocalaiError: ``card-none``.
    """
    slots = {one.slot for one in wanted} or _prepared(hardware) or {_only_candidate(hardware)}
    for slot in sorted(slots):
        if not any(_is_display(one) for one in hardware.of_slot(slot)):
            raise InputError(
                "card-missing",
                f"the node has no card at {slot}",
                why=f"it has {_listed(filter(_is_display, hardware.functions)) or 'none'}",
                hint="--card takes the address of a display device",
            )
    chosen = (one for slot in sorted(slots) for one in hardware.of_slot(slot))
    functions = tuple(one for one in chosen if one.class_id >> 16 != _BRIDGE)
    return Preparation(functions, _parameters(hardware))


def _parameters(hardware: NodeHardware) -> tuple[str, ...]:
    """AMD's IOMMU needs no word of its own (kernel-parameters)."""
    return ("intel_iommu=on", "iommu=pt") if hardware.cpu_vendor == "GenuineIntel" else ("iommu=pt",)


def _prepared(hardware: NodeHardware) -> set[str]:
    present = {str(one.address): one.address.slot for one in hardware.functions}
    return {present[one] for one in hardware.prepared if one in present}


def _only_candidate(hardware: NodeHardware) -> str:
    """The one display that the firmware does not use."""
    candidates = {one.address.slot: one for one in hardware.functions if _is_display(one)}
    free = [slot for slot, one in candidates.items() if not one.is_boot_display]
    if len(free) == 1:
        return free[0]
    if not candidates:
        raise LocalaiError("card-none", "the node has no card", why="no PCI device of class 03 is there")
    raise InputError(
        "card-ambiguous",
        "it is not clear which card VMs are to get",
        why=f"the node has {_listed(candidates.values())}",
        hint="name it: --card ADDRESS (repeat it for several)",
    )


def _listed(functions: Iterable[Function]) -> str:
    return ", ".join(
        f"{one.address} {one.short_id}{' (shows the console)' if one.is_boot_display else ''}"
        for one in functions
    )


def _is_display(function: Function) -> bool:
    return function.class_id >> 16 == _DISPLAY
