"""The proof that a card did the work: its steps, and where a platform or a runtime cannot give one.

A step that cannot be given is skipped as ``n/a`` with the reason, which never counts as passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

DEVICES, DRIVER, CARD, KERNEL = "devices-present", "gpu-driver", "gpu-card", "gpu-kernel"
OFFLOAD, MEMORY, WORK, XID = "gpu-offload", "gpu-memory", "gpu-work", "gpu-xid"
STEPS = (DEVICES, DRIVER, CARD, KERNEL, OFFLOAD, MEMORY, WORK, XID)

PLATFORMS = ("linux", "wsl")
"""``linux``: a VM or bare metal with a PCI bus and NVIDIA's kernel module."""
RUNTIMES = ("llama_cpp",)

_NOT_ON: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "wsl": MappingProxyType(
            {
                DEVICES: "WSL has no PCI bus with the card: Windows' driver hands it in",
                DRIVER: "WSL loads no kernel module of NVIDIA: the driver is Windows'",
                MEMORY: "Windows' display model tells no memory by process",
                XID: "WSL's kernel has no NVIDIA module that could log an Xid",
            }
        )
    }
)


def not_applicable(step: str, platform: str) -> str:
    """Why ``step`` cannot be given on ``platform``; empty: it can."""
    return _NOT_ON.get(platform, {}).get(step, "")


def table() -> dict[str, dict[str, str]]:
    """Step → ``platform runtime`` → ``yes`` or ``n/a``."""
    return {
        step: {
            f"{platform} {runtime}": "n/a" if not_applicable(step, platform) else "yes"
            for platform in PLATFORMS
            for runtime in RUNTIMES
        }
        for step in STEPS
    }
