"""What nvidia-smi, sysfs and /proc/meminfo say of a machine."""

from __future__ import annotations

from localai_deploy.domain.fit.cards import card_from
from localai_deploy.domain.fit.found import cards_from_ids, cards_from_smi, memory_from_meminfo
from localai_deploy.domain.gpu.pci_id import PciId

SMI = """0x220410DE, 0x403B1458, 24576, NVIDIA GeForce RTX 3090
0x250310DE, 0x39191462, 12288, NVIDIA GeForce RTX 3060
0x2E1210DE, 0x20B610DE, [N/A], NVIDIA GB10
"""


def test_cards_of_nvidia_smi() -> None:
    large, small = cards_from_smi(SMI)
    assert (large.name, large.memory_bytes) == ("NVIDIA GeForce RTX 3090", 24 << 30)
    assert (large.bandwidth_bytes_s, large.multiprocessors) == (936e9, 82)
    assert small.memory_bytes == 12 << 30


def test_a_card_of_no_table_keeps_its_name_and_memory() -> None:
    (card,) = cards_from_smi("0x3FFF10DE, 0x000010DE, 49140, NVIDIA Next 1\n")
    assert (card.name, card.memory_bytes, card.bandwidth_bytes_s) == ("NVIDIA Next 1", 49140 << 20, 0)


def test_no_answer_is_no_card() -> None:
    assert cards_from_smi("NVIDIA-SMI has failed because it could not communicate with the driver.") == ()


def test_ids_give_nominal_memory() -> None:
    ids = [PciId(0x10DE, 0x2204, 0, 0), PciId(0x10DE, 0x1AEF, 0, 0), PciId(0x1002, 0x73BF, 0, 0)]
    assert [card.memory_bytes for card in cards_from_ids(ids)] == [24 << 30]


def test_memory() -> None:
    assert memory_from_meminfo("MemTotal:       24680428 kB\nMemFree: 1 kB\n") == 24680428 << 10
    assert memory_from_meminfo("") == 0


def test_what_a_card_is_made_of() -> None:
    assert card_from("Tesla P40").tensor_cores is False
    assert card_from("GTX 1660").tensor_cores is False
    assert card_from("RTX 2060").tensor_cores is True
    assert card_from("H100 PCIe").stacked_memory is True
    assert card_from("RTX 5090").stacked_memory is False
