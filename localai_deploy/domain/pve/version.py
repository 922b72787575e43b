"""Versions of Proxmox VE and what they can do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localai_deploy.errors import LocalaiError

OLDEST_SUPPORTED = 8


@dataclass(frozen=True, slots=True, order=True)
class PveVersion:
    """``9.2.11``; PVE 7 writes ``7.4-20``."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def has_import_content(self) -> bool:
        """Storages take disk images as content ``import`` (from 8.4)."""
        return (self.major, self.minor) >= (8, 4)

    @property
    def agent_privileges(self) -> tuple[str, ...]:
        """Privileges for the guest agent's calls: 9 split VM.Monitor up."""
        return ("VM.GuestAgent.Audit", "VM.GuestAgent.FileRead") if self.major >= 9 else ("VM.Monitor",)


def parse_version(text: str) -> PveVersion:
    """Read what ``GET /version`` answers.

    :raises LocalaiError: ``pve-answer-unreadable`` or ``pve-version-unsupported``.
    """
    match = re.match(r"(\d+)\.(\d+)(?:[.-](\d+))?", text)
    if match is None:
        raise LocalaiError("pve-answer-unreadable", f"{text!r} is no version of Proxmox VE")
    version = PveVersion(int(match[1]), int(match[2]), int(match[3] or 0))
    if version.major < OLDEST_SUPPORTED:
        raise LocalaiError(
            "pve-version-unsupported",
            f"the node runs Proxmox VE {text}",
            why="resource mappings and disk import by API came with 8",
            hint="upgrade the node to Proxmox VE 8 or 9",
        )
    return version
