"""Chips before Kepler: no driver that is still maintained has them, only the last branch differs."""

from __future__ import annotations

from bisect import bisect_right

from localai_deploy.domain.gpu.generation import ONLY_PROPRIETARY, Generation

FIRST_KEPLER = 0x0FC0
_LAST_BRANCH_FROM: tuple[tuple[int, int], ...] = (
    (0x0000, 71),
    (0x0040, 304),
    (0x00A0, 71),
    (0x00C0, 304),
    (0x00FA, 173),
    (0x0100, 71),
    (0x0110, 96),
    (0x0140, 304),
    (0x0150, 71),
    (0x0160, 304),
    (0x0170, 96),
    (0x0191, 340),
    (0x01A0, 96),
    (0x01D0, 304),
    (0x01F0, 96),
    (0x0211, 304),
    (0x0250, 96),
    (0x0290, 304),
    (0x0301, 173),
    (0x038B, 304),
    (0x0400, 340),
    (0x0531, 304),
    (0x05E0, 340),
    (0x06C0, 390),
    (0x06E0, 340),
    (0x07E0, 304),
    (0x0840, 340),
    (0x0DC0, 390),
    (0x1040, 390),
    (0x10C0, 340),
    (0x1100, 390),
)
"""First id of a run → last branch of its cards, as the vendor's list of driver 550.163.01 gives it."""

_STARTS = [first for first, _ in _LAST_BRANCH_FROM]
_GRID_K_IDS = frozenset({0x0FEF, 0x0FF2, 0x11BF})
GRID_K = Generation("Kepler", ONLY_PROPRIETARY, 367)
"""The GRID K boards are Kepler, but left the driver earlier than the others."""


def generation_before_kepler(device: int) -> Generation:
    """What holds for an id that no run of Kepler or later has."""
    branch = _LAST_BRANCH_FROM[bisect_right(_STARTS, device) - 1][1]
    return Generation("before Kepler", ONLY_PROPRIETARY, branch)


def is_grid_k(device: int) -> bool:
    """Whether an id is one of the GRID K boards."""
    return device in _GRID_K_IDS
