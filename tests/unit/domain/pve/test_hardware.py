from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.pci.address import parse_address
from localai_deploy.domain.pve.hardware import cards_of, parse_devices

RECORDED = Path(__file__).parents[5] / "shared/data/pve-transcripts/pve9-full-flow-tool.json"


def entry(address: str, class_id: str, ids: str, **more: Any) -> dict[str, Any]:
    vendor, device = ids.split(":")
    return {"id": address, "class": class_id, "vendor": f"0x{vendor}", "device": f"0x{device}", **more}


GPU = entry(
    "0000:01:00.0",
    "0x030000",
    "10de:2684",
    iommugroup=14,
    subsystem_vendor="0x1043",
    subsystem_device="0x889c",
    vendor_name="NVIDIA Corporation",
    device_name="AD102 [GeForce RTX 4090]",
)
AUDIO = entry("0000:01:00.1", "0x040300", "10de:22ba", iommugroup=14)
NETWORK = entry("0000:03:00.0", "0x020000", "8086:15f3", iommugroup=16)
COMPUTE = entry("0000:0a:00.0", "0x030200", "10de:20b0", iommugroup=-1)
OTHER = entry("0000:00:02.0", "0x030000", "1234:1111", vendor_name="QEMU", device_name="standard VGA")


def test_cards_are_whole_devices() -> None:
    unknown, card, compute = cards_of("pve1", parse_devices([NETWORK, COMPUTE, AUDIO, GPU, OTHER]))
    assert (card.node, card.slot, card.pci_id, card.subsystem_id) == (
        "pve1",
        "0000:01:00",
        "10de:2684",
        "1043:889c",
    )
    assert (card.iommu_group, card.ids_of([card.address])) == (14, ("10de:2684", "10de:22ba"))
    assert card.ids_of([parse_address("01:00.1")]) == ("10de:22ba",)
    assert (card.name, str(card)) == ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090 (0000:01:00)")
    assert (compute.slot, compute.iommu_group, compute.subsystem_id) == ("0000:0a:00", None, None)
    assert (unknown.name, unknown.pci_id) == ("QEMU standard VGA", "1234:1111")


def test_a_card_without_any_name() -> None:
    (card,) = cards_of("pve1", parse_devices([entry("0000:05:00.0", "0x038000", "10de:ffff")]))
    assert card.name == "10de:ffff"


def test_recorded_answer() -> None:
    if not RECORDED.exists():
        pytest.skip("the recorded conversations lie outside of the project and are not here")
    steps = json.loads(RECORDED.read_text())["steps"]
    answer = next(one for one in steps if one.get("path") == "/nodes/pve1/hardware/pci")["body"]["data"]
    found = cards_of("pve1", parse_devices(answer))
    assert [(one.slot, one.iommu_group, one.name) for one in found] == [
        ("0000:01:00", 14, "NVIDIA GeForce RTX 4090"),
        ("0000:02:00", 15, "NVIDIA GeForce RTX 4090"),
    ]
