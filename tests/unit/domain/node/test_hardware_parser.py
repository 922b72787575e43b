"""A node's own words as values, also when they are hostile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localai_deploy.domain.node.hardware import Loader
from localai_deploy.domain.node.hardware_parser import MOST_FUNCTIONS, MOST_WORDS, parse_hardware
from localai_deploy.domain.pci.address import parse_address
from localai_deploy.errors import LocalaiError
from tests.lab.sections import encode_sections
from tests.unit.domain.node.node_samples import AMD_APU, BOOT_GPU, INTEL_NVIDIA, TWO_EQUAL

CARD = parse_address("0000:01:00.0")


def test_a_function() -> None:
    found = INTEL_NVIDIA.hardware.function(CARD)
    assert found is not None
    assert (found.class_id, str(found.pci_id), found.iommu_group) == (0x030000, "10de:2684:1043:8888", 2)
    assert (found.driver, found.override, found.reset_methods) == ("vfio-pci", "", ("flr", "bus"))
    assert [(bar.index, bar.size_bytes >> 20, bar.is_64bit) for bar in found.bars] == [
        (0, 32768, True),
        (1, 32, True),
        (2, 16, False),
    ]
    assert not found.is_boot_display
    assert INTEL_NVIDIA.hardware.of_slot("0000:00:02")[0].is_boot_display


def test_a_node() -> None:
    node = INTEL_NVIDIA.hardware
    assert (node.kernel, node.cpu_vendor, node.physical_bits) == ("6.8.12-4-pve", "GenuineIntel", 46)
    assert node.memory_available_bytes == 32 << 30
    assert node.loader is Loader.GRUB
    assert node.secure_boot is None
    assert "intel_iommu=on" in node.cmdline
    assert node.claims_on(node.of_slot("0000:01:00")) == ()


def test_systemd_boot_and_secure_boot() -> None:
    node = AMD_APU.hardware
    assert node.loader is Loader.SYSTEMD_BOOT
    assert node.uses_boot_tool
    assert node.secure_boot is True
    assert "iommu=pt" in node.next_cmdline


def test_boot_tool_with_grub() -> None:
    sample = replace(INTEL_NVIDIA, more={"boot_uuids": "1A2B-3C4D\n", "grub": "/vmlinuz root=x iommu=pt\n"})
    assert sample.hardware.loader is Loader.GRUB
    assert sample.hardware.next_cmdline == ("/vmlinuz", "root=x", "iommu=pt")


def test_the_frame_buffer_lies_in_the_cards_window() -> None:
    (claim,) = BOOT_GPU.hardware.claims_on(BOOT_GPU.hardware.of_slot("0000:01:00"))
    assert (claim.start, claim.owner) == (0x60_0000_0000, "BOOTFB")


def test_equal_cards_are_told_apart_by_address() -> None:
    first, second = (TWO_EQUAL.hardware.of_slot(slot)[0] for slot in ("0000:01:00", "0000:02:00"))
    assert first.short_id == second.short_id == "10de:2204"
    assert (first.driver, second.driver) == ("vfio-pci", "nouveau")


@pytest.mark.parametrize(
    "line",
    [
        "no address|0x030000|0x10de|0x2204||||||",
        "0000:01:00.0|0x030000|0x10de",
        "0000:01:00.0|x|0x10de|0x2204||||||",
        "0000:01:00.0|0x030000|0x10de1|0x2204||||||",
        "0000:01:00.0|0x030000|0x10de|0x2204|||0|a|b|c|d|e",
        "\x00\x1b[31m",
    ],
)
def test_lines_that_are_no_function_are_left_out(line: str) -> None:
    node = parse_hardware(encode_sections({"uid": "0\n", "pci": f"{line}\n"}))
    assert node.functions == ()


def test_what_a_node_prints_is_bounded_and_printable() -> None:
    line = "0000:01:00.0|0x030000|0x10de|0x2204|0xffffff|0x1|0|\x1b]0;x\x07|" + "flr " * 500 + "|0x0 0x0\n"
    sections = {
        "uid": "0\n",
        "kernel": "k" * 10_000 + "\x1b[2J",
        "cmdline": "word " * 5000,
        "pci": line * (MOST_FUNCTIONS + 100),
        "groups": "0000:01:00.0 99999999999999999999\n",
        "drivers": "0000:01:00.0 \x1b[31mnvidia\n",
        "iomem": "zz-1 : BOOTFB\n5-1 : \n1-2 : BOOTFB\x1b\n" * 50_000,
        "prepared": "0000:01:00.0 ; rm -rf / $(id)\n",
        "meminfo": "MemAvailable: 9999999999999999999999 kB\n",
        "secure_boot": "06 00",
    }
    node = parse_hardware(encode_sections(sections))
    assert len(node.functions) == MOST_FUNCTIONS
    assert len(node.kernel) == 200
    assert len(node.cmdline) == MOST_WORDS
    assert node.prepared == ("0000:01:00.0",)
    assert node.functions[0].iommu_group is None
    assert len(node.functions[0].reset_methods) == 16
    texts = [node.functions[0].driver, node.functions[0].override, node.framebuffers[0].owner]  # type: ignore[index]
    assert all(text.isprintable() for text in texts)
    assert node.secure_boot is None


@pytest.mark.parametrize("output", ["", "begin MQo=\nuid MAo=\n", "garbage\n"])
def test_a_look_that_was_cut_short(output: str) -> None:
    with pytest.raises(LocalaiError) as caught:
        parse_hardware(output)
    assert caught.value.error_id == "host-unreadable"
