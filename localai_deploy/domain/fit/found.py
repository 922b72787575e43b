"""What a machine's own tools say of its cards and memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from localai_deploy.domain.fit.cards import fit_card
from localai_deploy.domain.fit.wish import Card
from localai_deploy.domain.gpu.catalogue import card_of
from localai_deploy.domain.gpu.pci_id import PciId
from localai_deploy.errors import LocalaiError

SMI_QUERY = "pci.device_id,pci.sub_device_id,memory.total,name"
_ROW = re.compile(
    r"0x(?P<device>[0-9a-f]{4})(?P<vendor>[0-9a-f]{4}), *"
    r"0x(?P<subdevice>[0-9a-f]{4})(?P<subvendor>[0-9a-f]{4}), *(?P<mib>[0-9]+), *(?P<name>.+)",
    re.IGNORECASE,
)
_TOTAL = re.compile(r"^MemTotal:\s+([0-9]+) kB$", re.MULTILINE)


def cards_from_smi(output: str) -> tuple[Card, ...]:
    """Read ``nvidia-smi --query-gpu=`` :data:`SMI_QUERY` ``--format=csv,noheader,nounits``.

    A card whose memory it does not tell (one that shares the host's) is left out.
    """
    return tuple(_smi_card(match) for line in output.splitlines() if (match := _ROW.fullmatch(line.strip())))


def _smi_card(match: re.Match[str]) -> Card:
    numbers = [int(match[part], 16) for part in ("vendor", "device", "subvendor", "subdevice")]
    found = fit_card(card_of(PciId(*numbers)), int(match["mib"]) << 20)
    return replace(found, name=match["name"])


def cards_from_ids(ids: Iterable[PciId]) -> Iterator[Card]:
    """Take the nominal memory of each card; functions that are no GPU, or of unknown memory, are left out."""
    for pci_id in ids:
        try:
            yield fit_card(card_of(pci_id))
        except LocalaiError:
            continue


def memory_from_meminfo(text: str) -> int:
    """Read ``MemTotal`` of ``/proc/meminfo``, in bytes; 0 when it is not there."""
    found = _TOTAL.search(text)
    return int(found[1]) << 10 if found else 0
