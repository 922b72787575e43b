"""One row of the card tables: what a PCI id does not say and no driver is needed to know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

Row = tuple[str, str, tuple[float, ...], float | None, int | None, int | None]
"""PCI device ids (hexadecimal, space between), name as the driver says it without the vendor, memory sizes
that are sold under these ids (GiB, for one GPU), memory bandwidth (GB/s), board power (W), multiprocessors.
``()`` and ``None`` stand for figures that vary by maker or that no source settled."""

_OWN_BRANDS = ("Quadro", "Tesla", "NVS", "GRID")
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of a card by name.

    :param name: as ``nvidia-smi`` prints it.
    :param vram_choices: memory sizes in bytes, ascending; several where one id was sold with several.
    :param bandwidth_gb_s: memory bandwidth, 10^9 bytes per second.
    :param tdp_w: board power as sold; makers and users may set other limits.
    :param sms: streaming multiprocessors.
    """

    name: str
    vram_choices: tuple[int, ...]
    bandwidth_gb_s: float | None
    tdp_w: int | None
    sms: int | None


def read_rows(rows: Iterable[Row]) -> Iterator[tuple[int, Figures]]:
    """Device id and figures, one pair for each id of each row."""
    for ids, name, vram_gib, bandwidth, tdp, sms in rows:
        sizes = tuple(sorted(int(size * GIB) for size in vram_gib))
        figures = Figures(full_name(name), sizes, bandwidth, tdp, sms)
        yield from ((int(one, 16), figures) for one in ids.split())


def full_name(name: str) -> str:
    """``GeForce RTX 3090`` → ``NVIDIA GeForce RTX 3090``; Quadro and Tesla stand alone, as in the driver."""
    return name if name.startswith(_OWN_BRANDS) else f"NVIDIA {name}"


def merged(tables: Iterable[Iterable[Row]]) -> Mapping[int, Figures]:
    """All tables in one; an id in two rows is a mistake of the tables.

    :raises ValueError: an id is listed twice.
    """
    found: dict[int, Figures] = {}
    for table in tables:
        for device, figures in read_rows(table):
            if device in found:
                raise ValueError(f"{device:04x} is listed twice")
            found[device] = figures
    return found
