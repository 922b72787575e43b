"""Which chip a PCI device id belongs to: NVIDIA gives each chip a run of ids.

The runs were read from the public PCI id list; all entries of the vendor's list of driver 550.163.01 agree.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from localai_deploy.domain.gpu import generation as gen
from localai_deploy.domain.gpu.generation import Generation


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip.

    :param compute_capability: ``(8, 6)``; ``None`` where it is not published, or older than 3.0.
    :param first_branch: driver branch that knew the chip first; 0 where every branch that is still to be
        had knows it.
    """

    name: str
    generation: Generation
    compute_capability: tuple[int, int] | None
    first_branch: int = 0


_Run = tuple[int, int, Chip]


def _runs(
    generation: Generation, *rows: tuple[int, int, str, tuple[int, int] | None, int]
) -> tuple[_Run, ...]:
    return tuple((first, last, Chip(name, generation, cc, branch)) for first, last, name, cc, branch in rows)


_RUNS: tuple[_Run, ...] = tuple(
    sorted(
        (
            *_runs(
                gen.KEPLER,
                (0x0FC0, 0x0FFF, "GK107", (3, 0), 0),
                (0x1000, 0x102C, "GK110", (3, 5), 0),
                (0x102D, 0x102D, "GK210", (3, 7), 0),
                (0x102E, 0x103F, "GK110", (3, 5), 0),
                (0x1180, 0x11BF, "GK104", (3, 0), 0),
                (0x11C0, 0x11FF, "GK106", (3, 0), 0),
                (0x1280, 0x12BF, "GK208", (3, 5), 0),
                (0x1300, 0x130F, "GK110", (3, 5), 0),
            ),
            *_runs(
                gen.MAXWELL,
                (0x1340, 0x137F, "GM108", (5, 0), 0),
                (0x1380, 0x13BF, "GM107", (5, 0), 0),
                (0x13C0, 0x13FF, "GM204", (5, 2), 0),
                (0x1400, 0x143F, "GM206", (5, 2), 0),
                (0x1600, 0x167F, "GM204", (5, 2), 0),
                (0x1740, 0x174F, "GM108", (5, 0), 0),
                (0x1780, 0x179F, "GM107", (5, 0), 0),
                (0x17C0, 0x17FF, "GM200", (5, 2), 0),
            ),
            *_runs(
                gen.PASCAL,
                (0x15C0, 0x15FF, "GP100", (6, 0), 0),
                (0x1720, 0x172F, "GP100", (6, 0), 0),
                (0x1B00, 0x1B7F, "GP102", (6, 1), 0),
                (0x1B80, 0x1BFF, "GP104", (6, 1), 0),
                (0x1C00, 0x1C7F, "GP106", (6, 1), 0),
                (0x1C80, 0x1CFF, "GP107", (6, 1), 0),
                (0x1D00, 0x1D7F, "GP108", (6, 1), 0),
            ),
            *_runs(gen.VOLTA, (0x1D80, 0x1DFF, "GV100", (7, 0), 0)),
            *_runs(
                gen.TURING,
                (0x1E00, 0x1E7F, "TU102", (7, 5), 418),
                (0x1E80, 0x1EFF, "TU104", (7, 5), 418),
                (0x1F00, 0x1F7F, "TU106", (7, 5), 418),
                (0x1F80, 0x1FFF, "TU117", (7, 5), 430),
                (0x2180, 0x21FF, "TU116", (7, 5), 418),
            ),
            *_runs(
                gen.AMPERE,
                (0x2080, 0x20FF, "GA100", (8, 0), 450),
                (0x2200, 0x227F, "GA102", (8, 6), 460),
                (0x2400, 0x247F, "GA103", (8, 6), 510),
                (0x2480, 0x24FF, "GA104", (8, 6), 460),
                (0x2500, 0x257F, "GA106", (8, 6), 460),
                (0x2580, 0x25FF, "GA107", (8, 6), 460),
            ),
            *_runs(
                gen.ADA,
                (0x2680, 0x26FF, "AD102", (8, 9), 525),
                (0x2700, 0x277F, "AD103", (8, 9), 525),
                (0x2780, 0x27FF, "AD104", (8, 9), 525),
                (0x2800, 0x287F, "AD106", (8, 9), 535),
                (0x2880, 0x28FF, "AD107", (8, 9), 535),
            ),
            *_runs(
                gen.HOPPER,
                (0x2300, 0x233F, "GH100", (9, 0), 525),
                (0x2350, 0x23FF, "GH100", (9, 0), 525),
            ),
            *_runs(gen.GRACE_HOPPER, (0x2340, 0x234F, "GH100", (9, 0), 535)),
            *_runs(
                gen.BLACKWELL,
                (0x2900, 0x297F, "GB100", (10, 0), 570),
                (0x2980, 0x29FF, "GB102", (10, 0), 570),
                (0x2B00, 0x2B7F, "GB10B", (11, 0), 580),
                (0x2B80, 0x2BFF, "GB202", (12, 0), 570),
                (0x2C00, 0x2C7F, "GB203", (12, 0), 570),
                (0x2D00, 0x2D7F, "GB206", (12, 0), 570),
                (0x2D80, 0x2DFF, "GB207", (12, 0), 575),
                (0x2E00, 0x2E7F, "GB20B", (12, 1), 580),
                (0x2F00, 0x2F7F, "GB205", (12, 0), 570),
                (0x3180, 0x31FF, "GB110", (10, 3), 580),
                (0x3200, 0x327F, "GB112", (10, 3), 580),
                (0x3340, 0x337F, "GB120", None, 580),
            ),
            *_runs(gen.RUBIN, (0x3000, 0x307F, "GR100", None, 590), (0x3080, 0x30FF, "GR102", None, 590)),
        ),
        key=lambda run: run[0],
    )
)
_STARTS = [first for first, _, _ in _RUNS]

_OTHER_FUNCTIONS = (
    (0x0BE2, 0x0BEF),
    (0x0E08, 0x0E1D),
    (0x0FAE, 0x0FBF),
    (0x10E5, 0x10FF),
    (0x1AD0, 0x1AFF),
    (0x200A, 0x200A),
    (0x2280, 0x22FF),
    (0x2F80, 0x2FFF),
)
"""Audio and USB functions of cards, bridges, NVSwitch: devices of the vendor that compute nothing."""


def chip_of(device: int) -> Chip | None:
    """Chip of a device id since Kepler; ``None`` where no run holds it."""
    position = bisect_right(_STARTS, device) - 1
    if position < 0:
        return None
    _, last, chip = _RUNS[position]
    return chip if device <= last else None


def is_other_function(device: int) -> bool:
    """Whether an id belongs to a sound, USB, bridge or switch function rather than a GPU."""
    return any(first <= device <= last for first, last in _OTHER_FUNCTIONS)
