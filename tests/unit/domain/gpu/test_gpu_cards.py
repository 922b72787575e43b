"""Cards that people own, with figures written here by hand from the vendor's pages."""

from __future__ import annotations

import pytest

from localai_deploy.domain.gpu.card import Card, Knowledge, card_data
from localai_deploy.domain.gpu.catalogue import FIGURES, card_of
from localai_deploy.domain.gpu.figures import GIB, merged
from localai_deploy.domain.gpu.pci_id import parse_pci_id
from localai_deploy.errors import LocalaiError

EITHER, PROPRIETARY, OPEN = ["open", "proprietary"], ["proprietary"], ["open"]
ALL, TWELVE, NONE = ["cuda12", "cuda13"], ["cuda12"], []
WELL_KNOWN = [
    ("10de:128b", "GeForce GT 710", "3.5", 1, PROPRIETARY, 470, NONE),
    ("10de:102d", "Tesla K80", "3.7", 12, PROPRIETARY, 470, NONE),
    ("10de:1380", "GeForce GTX 750 Ti", "5.0", 2, PROPRIETARY, 580, TWELVE),
    ("10de:13c2", "GeForce GTX 970", "5.2", 4, PROPRIETARY, 580, TWELVE),
    ("10de:17c8", "GeForce GTX 980 Ti", "5.2", 6, PROPRIETARY, 580, TWELVE),
    ("10de:17fd", "Tesla M40", "5.2", 12, PROPRIETARY, 580, TWELVE),
    ("10de:15f8", "Tesla P100-PCIE-16GB", "6.0", 16, PROPRIETARY, 580, TWELVE),
    ("10de:1c03", "GeForce GTX 1060 6GB", "6.1", 6, PROPRIETARY, 580, TWELVE),
    ("10de:1b06", "GeForce GTX 1080 Ti", "6.1", 11, PROPRIETARY, 580, TWELVE),
    ("10de:1b38", "Tesla P40", "6.1", 24, PROPRIETARY, 580, TWELVE),
    ("10de:1bb3", "Tesla P4", "6.1", 8, PROPRIETARY, 580, TWELVE),
    ("10de:1d81", "TITAN V", "7.0", 12, PROPRIETARY, 580, TWELVE),
    ("10de:1db4", "Tesla V100-PCIE-16GB", "7.0", 16, PROPRIETARY, 580, TWELVE),
    ("10de:2184", "GeForce GTX 1660", "7.5", 6, EITHER, None, ALL),
    ("10de:1f08", "GeForce RTX 2060", "7.5", 6, EITHER, None, ALL),
    ("10de:1e07", "GeForce RTX 2080 Ti", "7.5", 11, EITHER, None, ALL),
    ("10de:1eb8", "Tesla T4", "7.5", 16, EITHER, None, ALL),
    ("10de:20b5", "A100 80GB PCIe", "8.0", 80, EITHER, None, ALL),
    ("10de:2504", "GeForce RTX 3060", "8.6", 12, EITHER, None, ALL),
    ("10de:2484", "GeForce RTX 3070", "8.6", 8, EITHER, None, ALL),
    ("10de:2206", "GeForce RTX 3080", "8.6", 10, EITHER, None, ALL),
    ("10de:2204", "GeForce RTX 3090", "8.6", 24, EITHER, None, ALL),
    ("10de:2230", "RTX A6000", "8.6", 48, EITHER, None, ALL),
    ("10de:2236", "A10", "8.6", 24, EITHER, None, ALL),
    ("10de:2805", "GeForce RTX 4060 Ti", "8.9", 16, EITHER, None, ALL),
    ("10de:2783", "GeForce RTX 4070 SUPER", "8.9", 12, EITHER, None, ALL),
    ("10de:2684", "GeForce RTX 4090", "8.9", 24, EITHER, None, ALL),
    ("10de:27b8", "L4", "8.9", 24, EITHER, None, ALL),
    ("10de:26b9", "L40S", "8.9", 48, EITHER, None, ALL),
    ("10de:2331", "H100 PCIe", "9.0", 80, EITHER, None, ALL),
    ("10de:2335", "H200", "9.0", 141, EITHER, None, ALL),
    ("10de:2342", "GH200 480GB", "9.0", 96, OPEN, None, ALL),
    ("10de:2901", "B200", "10.0", 180, OPEN, None, ALL),
    ("10de:2d04", "GeForce RTX 5060 Ti", "12.0", 8, OPEN, None, ALL),
    ("10de:2f04", "GeForce RTX 5070", "12.0", 12, OPEN, None, ALL),
    ("10de:2c02", "GeForce RTX 5080", "12.0", 16, OPEN, None, ALL),
    ("10de:2b85", "GeForce RTX 5090", "12.0", 32, OPEN, None, ALL),
    ("10de:2bb1", "RTX PRO 6000 Blackwell Workstation Edition", "12.0", 96, OPEN, None, ALL),
]


def card(text: str) -> Card:
    return card_of(parse_pci_id(text))


@pytest.mark.parametrize(
    ("pci_id", "name", "capability", "vram_gib", "modules", "last_branch", "builds"), WELL_KNOWN
)
def test_well_known_cards(
    pci_id: str,
    name: str,
    capability: str,
    vram_gib: int,
    modules: list[str],
    last_branch: int | None,
    builds: list[str],
) -> None:
    data = card_data(card(pci_id))
    assert data["name"].removeprefix("NVIDIA ") == name
    assert data["known"] is True
    assert data["compute_capability"] == capability
    assert data["vram_bytes"] == vram_gib << 30
    assert data["driver"]["kernel_modules"] == modules
    assert data["driver"]["last_branch"] == last_branch
    assert data["driver"]["recommended"] == modules[0]
    assert data["runtime_builds"] == builds


def test_a_card_as_data() -> None:
    assert card_data(card("10de:1b38")) == {
        "pci_id": "10de:1b38",
        "known": True,
        "knowledge": "card",
        "name": "Tesla P40",
        "generation": "Pascal",
        "chip": "GP102",
        "compute_capability": "6.1",
        "vram_bytes": 24 << 30,
        "vram_choices_bytes": [24 << 30],
        "memory_bandwidth_gb_s": 346,
        "tdp_w": 250,
        "multiprocessors": 30,
        "driver": {
            "kernel_modules": ["proprietary"],
            "first_branch": None,
            "last_branch": 580,
            "recommended": "proprietary",
        },
        "cuda": {"first": "8.0", "last": "12.9"},
        "runtime_builds": ["cuda12"],
        "sources": [
            "NVIDIA's list of supported GPUs of driver 550.163.01",
            "public PCI id list: chip by run of ids",
            "NVIDIA's published figures, held against a second collection (docs/gpu-catalogue.md)",
            "release notes of the CUDA toolkits",
        ],
    }


def test_one_id_for_two_memory_sizes() -> None:
    unsure = card("10de:1e30")
    assert unsure.figures.vram_choices == (24 * GIB, 48 * GIB)
    assert unsure.vram_bytes == 24 * GIB
    by_subsystem = card("10de:1e30:103c:129e")
    assert (by_subsystem.name, by_subsystem.vram_bytes) == ("Quadro RTX 8000", 48 * GIB)
    assert card("10de:25b6:10de:157e").name == "NVIDIA A2"
    assert card("10de:2204:1043:87b3").name == "NVIDIA GeForce RTX 3090"


def test_mining_cards_have_no_open_modules() -> None:
    assert card_data(card("10de:1e09"))["driver"]["kernel_modules"] == ["proprietary"]


@pytest.mark.parametrize(
    ("pci_id", "modules", "last_branch", "capability", "builds"),
    [
        ("10de:2210", EITHER, None, "8.6", ALL),  # a gap inside the run of GA102
        ("10de:1503", PROPRIETARY, 580, None, TWELVE),  # between Maxwell and Pascal
        ("10de:2600", EITHER, None, None, ["cuda13"]),  # between Ampere and Ada
        ("10de:2ba0", OPEN, None, "12.0", ALL),
        ("10de:5000", OPEN, None, None, ["cuda13"]),  # newer than all that is known
    ],
)
def test_unknown_ids_get_the_safe_choice(
    pci_id: str, modules: list[str], last_branch: int | None, capability: str | None, builds: list[str]
) -> None:
    found = card(pci_id)
    data = card_data(found)
    assert found.knowledge is Knowledge.UNKNOWN
    assert data["known"] is False
    assert data["name"].startswith(f"unknown NVIDIA card {pci_id}")
    assert data["driver"]["kernel_modules"] == modules
    assert data["driver"]["last_branch"] == last_branch
    assert data["compute_capability"] == capability
    assert data["vram_bytes"] is None
    assert data["runtime_builds"] == builds
    assert data["sources"][-1].startswith("no source")


def refusal(device: int) -> str:
    try:
        found = card(f"10de:{device:04x}")
    except LocalaiError as error:
        return error.error_id
    assert found.kernel_modules
    assert found.name
    return ""


def test_every_number_is_a_card_or_said_to_be_none() -> None:
    refusals = {
        device: why for device in (*range(0x3600), *range(0x3600, 0x10000, 101)) if (why := refusal(device))
    }
    assert set(refusals.values()) == {"gpu-no-card"}
    assert set(refusals) & set(FIGURES) == set()


def test_cards_before_kepler_are_told_by_their_branch() -> None:
    fermi = card("10de:06c0")
    assert fermi.knowledge is Knowledge.RULE
    assert (fermi.last_branch, fermi.cuda_majors, fermi.compute_capability) == (390, (), None)


@pytest.mark.parametrize(
    ("pci_id", "error_id"),
    [("1002:73bf", "gpu-not-nvidia"), ("10de:1aef", "gpu-no-card"), ("10de:22a3", "gpu-no-card")],
)
def test_what_is_no_card_of_the_vendor(pci_id: str, error_id: str) -> None:
    with pytest.raises(LocalaiError) as caught:
        card(pci_id)
    assert caught.value.error_id == error_id


def test_figures_are_plausible() -> None:
    for device, figures in FIGURES.items():
        assert list(figures.vram_choices) == sorted(set(figures.vram_choices)), f"{device:04x}"
        assert all(GIB <= size <= 288 * GIB for size in figures.vram_choices)
        assert figures.bandwidth_gb_s is None or 14 <= figures.bandwidth_gb_s <= 8000
        assert figures.tdp_w is None or 18 <= figures.tdp_w <= 1200
        assert figures.sms is None or 1 <= figures.sms <= 188


def test_an_id_in_two_rows_is_refused() -> None:
    row = ("2204", "GeForce RTX 3090", (24,), 936, 350, 82)
    with pytest.raises(ValueError, match="2204 is listed twice"):
        merged([[row], [row]])
