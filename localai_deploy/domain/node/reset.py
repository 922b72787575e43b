"""Whether a card can be given to a second VM without a reboot of the node.

The kernel lists the ways in which it can reset a function in ``reset_method`` (sysfs-bus-pci). Cards known to
fail all the same: AMD's of the generations that the module *vendor-reset* was written for (its device table),
and NVIDIA's Blackwell, whose function-level reset can end in "not ready after FLR" (reported in
open-gpu-kernel-modules 853 and 1104).
"""

from __future__ import annotations

from localai_deploy.domain.gpu.catalogue import card_of
from localai_deploy.domain.gpu.generation import BLACKWELL
from localai_deploy.domain.node.hardware import Function
from localai_deploy.errors import LocalaiError

_AMD = 0x1002
_AMD_RANGES = (
    (0x67C0, 0x67FF, "Polaris"),
    (0x6980, 0x699F, "Polaris"),
    (0x6FDF, 0x6FDF, "Polaris"),
    (0x6860, 0x687F, "Vega 10"),
    (0x66A0, 0x66AF, "Vega 20"),
    (0x7310, 0x731F, "Navi 10"),
    (0x7340, 0x734F, "Navi 14"),
    (0x7360, 0x7362, "Navi 12"),
)


def reset_reason(display: Function) -> str:
    """Why a reset of the card may fail; empty when nothing is known against it."""
    if not display.reset_methods:
        return "the kernel knows no way to reset it"
    if display.reset_methods == ("pm",):
        return "the kernel can only put it to sleep and wake it (reset method pm)"
    return _known(display)


def _known(display: Function) -> str:
    pci_id = display.pci_id
    if pci_id.vendor == _AMD:
        name = next((name for first, last, name in _AMD_RANGES if first <= pci_id.device <= last), "")
        return (
            f"AMD's {name} cards often stay dead after a reset (module vendor-reset helps some)"
            if name
            else ""
        )
    if not pci_id.is_nvidia:
        return ""
    try:
        is_blackwell = card_of(pci_id).generation == BLACKWELL.name
    except LocalaiError:
        return ""
    return (
        "Blackwell cards have been seen 'not ready after FLR', with the node hanging" if is_blackwell else ""
    )
