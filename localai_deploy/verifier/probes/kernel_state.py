"""What the kernel itself shows of NVIDIA cards: PCI functions, the loaded module, its cards, Xid errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from localai_deploy.verifier.probes.commands import run

_UUID = re.compile(r"^GPU UUID:\s*(\S+)", re.MULTILINE)
_XID = re.compile(r"NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): (\d+),?\s*(.*)")
LOG_COMMANDS = (
    ("journalctl", "--dmesg", "--boot", "--no-pager", "--quiet", "--output=cat"),
    ("dmesg", "--nopager"),
)
NVIDIA = "10de"


def is_wsl(root: Path) -> bool:
    """Whether this is WSL with a card handed in by Windows."""
    release = _text(root / "proc/sys/kernel/osrelease").lower()
    return "microsoft" in release and (root / "dev/dxg").exists()


def pci_functions(root: Path) -> list[dict[str, str]]:
    """NVIDIA's functions: address, vendor and device, class (``0300``), and the kernel driver that has it."""
    found = []
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor, device, kind = (_hexadecimal(folder / name) for name in ("vendor", "device", "class"))
        if vendor == NVIDIA:
            driver = folder / "driver"
            name = driver.resolve().name if driver.exists() else ""
            found.append(
                {"address": folder.name, "ids": f"{vendor}:{device}", "class": kind[:4], "driver": name}
            )
    return found


def module_text(root: Path) -> str:
    """First line of ``/proc/driver/nvidia/version``; empty: the module is not loaded."""
    lines = _text(root / "proc/driver/nvidia/version").splitlines()
    return lines[0] if lines else ""


def module_cards(root: Path) -> dict[str, str]:
    """PCI address → UUID, as the loaded module tells them."""
    found = {}
    for folder in sorted((root / "proc/driver/nvidia/gpus").glob("*")):
        uuid = _UUID.search(_text(folder / "information"))
        found[folder.name] = uuid.group(1) if uuid else ""
    return found


def xid_errors() -> dict[str, Any]:
    """Xid lines of the kernel's log since it started; ``error`` when no log can be read."""
    reason = ""
    for command in LOG_COMMANDS:
        returncode, text = run(*command)
        if returncode == 0 and text.strip():
            return {"error": "", "xids": parse_xids(text)}
        reason = f"{command[0]}: {text.strip().splitlines()[-1] if text.strip() else 'an empty log'}"
    return {"error": reason, "xids": []}


def parse_xids(text: str) -> list[dict[str, Any]]:
    """``[{"pci": "0000:01:00", "xid": 79, "text": "pid=…"}]``."""
    return [
        {"pci": address.lower(), "xid": int(number), "text": rest.strip()[:200]}
        for address, number, rest in _XID.findall(text)
    ]


def _hexadecimal(path: Path) -> str:
    text = _text(path).strip()
    return text[2:] if text.startswith("0x") else text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
