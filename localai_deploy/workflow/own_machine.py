"""Cards and memory of the machine that runs the command; nothing is changed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from localai_deploy.domain.fit.found import SMI_QUERY, cards_from_ids, cards_from_smi, memory_from_meminfo
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.wish import Card
from localai_deploy.domain.gpu.pci_id import NVIDIA, PciId

_TIMEOUT_S = 20
_DISPLAY_CLASS = "0x03"


def own_machine(root: Path = Path("/")) -> Machine:
    """Look at this machine: cards by ``nvidia-smi``, else by sysfs with their nominal memory; RAM by proc.

    :param root: where ``sys`` and ``proc`` are.
    """
    cards = cards_from_smi(_smi_output()) or tuple(_sysfs_cards(root))
    return Machine(cards, memory_from_meminfo(_text(root / "proc" / "meminfo")))


def _smi_output() -> str:
    command = ["nvidia-smi", f"--query-gpu={SMI_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _sysfs_cards(root: Path) -> Iterator[Card]:
    return cards_from_ids(_nvidia_ids(root / "sys" / "bus" / "pci" / "devices"))


def _nvidia_ids(devices: Path) -> Iterator[PciId]:
    for device in sorted(devices.glob("*")):
        if _text(device / "class").startswith(_DISPLAY_CLASS) and _number(device / "vendor") == NVIDIA:
            yield PciId(
                NVIDIA,
                _number(device / "device"),
                _number(device / "subsystem_vendor"),
                _number(device / "subsystem_device"),
            )


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text, 16) if text else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
