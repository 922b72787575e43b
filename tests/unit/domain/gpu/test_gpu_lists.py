"""The catalogue held against the vendor's list, Debian's lists and the public PCI id list."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.gpu import catalogue
from localai_deploy.domain.gpu.card import Card, Knowledge
from localai_deploy.domain.gpu.catalogue import FIGURES, card_of
from localai_deploy.domain.gpu.generation import KernelModules
from localai_deploy.domain.gpu.pci_id import NVIDIA, PciId, parse_pci_id
from localai_deploy.errors import LocalaiError

SHARED = Path(__file__).parents[5] / "shared" / "data" / "gpu"
VENDOR_LIST = SHARED / "supported-gpus-550.163.01.json"
pytestmark = pytest.mark.skipif(not VENDOR_LIST.exists(), reason="the lists of cards are not here")

FIRST_TURING, FIRST_MAXWELL, FIRST_KEPLER = 0x1E00, 0x1340, 0x0FC0


def vendor_entries() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(VENDOR_LIST.read_text())["chips"]
    return entries


def device_of(entry: dict[str, Any]) -> int:
    return int(entry["devid"], 16)


def listed(name: str) -> set[int]:
    return {parse_pci_id(line).device for line in (SHARED / name).read_text().split()}


def public_ids() -> dict[int, str]:
    lines = (SHARED / "pci-ids-10de.txt").read_text().splitlines()
    found = (re.match(r"\t([0-9a-f]{4})  (.*)", line) for line in lines)
    return {int(one[1], 16): one[2] for one in found if one}


def card(device: int) -> Card:
    return card_of(PciId(NVIDIA, device))


def test_all_entries_of_the_vendor_resolve() -> None:
    entries = vendor_entries()
    assert len(entries) == 2224
    assert [e["devid"] for e in entries if not card(device_of(e)).is_known] == []


def test_open_modules_where_the_vendor_has_them() -> None:
    differing = [
        (entry["devid"], entry["name"])
        for entry in vendor_entries()
        if (KernelModules.OPEN in card(device_of(entry)).kernel_modules)
        != ("kernelopen" in entry["features"])
    ]
    assert differing == []


def test_last_branch_is_the_vendors_legacy_branch() -> None:
    """The list of 550 has no legacy branch for Maxwell to Volta: that 580 is their last came later."""
    differing = []
    for entry in vendor_entries():
        legacy = entry.get("legacybranch")
        device = device_of(entry)
        newer = None if device >= FIRST_TURING else 580
        expected = int(legacy.split(".")[0]) if legacy else newer
        if card(device).last_branch != expected:
            differing.append((entry["devid"], entry["name"], card(device).last_branch))
    assert differing == []


def test_all_since_maxwell_have_a_row_with_the_vendors_name() -> None:
    names: dict[int, set[str]] = {}
    for entry in vendor_entries():
        names.setdefault(device_of(entry), set()).add(entry["name"])
    since_maxwell = {device for device in names if device >= FIRST_MAXWELL}
    assert since_maxwell - set(FIGURES) == set()

    def plain(name: str) -> str:
        return name.removeprefix("NVIDIA ").replace("Embedded GPU", "Laptop GPU").casefold()

    differing = {
        f"{device:04x}": (FIGURES[device].name, names[device])
        for device in since_maxwell
        if plain(FIGURES[device].name) not in {plain(name) for name in names[device]}
    }
    assert set(differing) == {"137a", "1e78", "25b6"}, "one id for two cards"


def test_what_came_after_535() -> None:
    known_to_535 = listed("nvidia-tesla-535.ids")
    late = {device for device in listed("nvidia.ids") - known_to_535 if device >= FIRST_TURING}
    assert late == catalogue.SINCE_550
    assert {card(device).first_branch for device in late} == {550}


def test_rows_that_only_other_lists_have() -> None:
    vendors = {device_of(entry) for entry in vendor_entries()}
    debians = set().union(
        *(listed(f"nvidia{part}.ids") for part in ("", "-open", "-tesla-470", "-tesla-535"))
    )
    ours = {device for device in FIGURES if device < catalogue.FIRST_AFTER_550}
    assert ours & debians - vendors == catalogue.DEBIAN_LIST_ONLY | {0x137D}
    assert ours - debians - vendors == catalogue.ID_LIST_ONLY - {0x137D}
    assert {0x1E37, 0x1EB4, 0x1EB8, 0x1EB9, 0x20B1, 0x20F0, 0x20F2, 0x26B8} == listed(
        "nvidia-open.ids"
    ) - vendors


def test_chips_are_those_of_the_public_list() -> None:
    """Engineering samples apart, which name the chip that they stand for."""
    differing = set()
    for device, name in public_ids().items():
        if device < FIRST_KEPLER or not re.match(r"(G[KMPVAH]|TU|AD|GB|GR)\d", name):
            continue
        try:
            chip = card(device).chip
        except LocalaiError:
            assert re.search(r"Audio|USB|NVSwitch|PCI", name), name
            continue
        if chip and not name.startswith(chip):
            differing.add(f"{device:04x}")
    assert differing == {"1024", "13ad", "13ae", "13be", "13bf", "2c2c", "2d2c"}


def test_no_sound_or_usb_function_passes_for_a_card() -> None:
    functions = {
        device
        for device, name in public_ids().items()
        if device >= FIRST_KEPLER and re.search(r"Audio|USB|UCSI|NVSwitch", name)
    }
    assert len(functions) > 20
    for device in functions:
        with pytest.raises(LocalaiError, match="no GPU"):
            card(device)


def test_ids_of_the_public_list_that_no_row_has_are_named_unknown() -> None:
    """Reserved numbers and samples: said to be unknown, with the modules of their chip's generation."""
    unknown = [
        card(device)
        for device, name in public_ids().items()
        if device >= FIRST_MAXWELL and device not in FIGURES and re.match(r"(G[MPVAH]|TU|AD|GB)\d", name)
        if not re.search(r"Audio|USB|UCSI|NVSwitch|PCI", name)
    ]
    assert len(unknown) > 50
    assert {one.knowledge for one in unknown} == {Knowledge.UNKNOWN}
    assert all("unknown" in one.name and one.kernel_modules for one in unknown)
