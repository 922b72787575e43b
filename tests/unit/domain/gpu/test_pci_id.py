from __future__ import annotations

import pytest

from localai_deploy.domain.gpu.pci_id import PciId, parse_pci_id
from localai_deploy.errors import InputError

RTX_3090 = PciId(0x10DE, 0x2204)


@pytest.mark.parametrize(
    "text", ["10de:2204", "10DE2204", "0x10de 0x2204", "0x10DE:0x2204", " [10de:2204] ", "10de 2204"]
)
def test_all_ways_to_write_an_id(text: str) -> None:
    assert parse_pci_id(text) == RTX_3090


def test_written_as_it_is_read() -> None:
    assert str(RTX_3090) == "10de:2204"
    with_subsystem = parse_pci_id("10de:1e30:103c:129e")
    assert with_subsystem == PciId(0x10DE, 0x1E30, 0x103C, 0x129E)
    assert str(with_subsystem) == "10de:1e30:103c:129e"


@pytest.mark.parametrize(
    "text", ["", "2204", "10de:220", "10de:22041", "10de:220g", "01:00.0", "10de:2204:1"]
)
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_pci_id(text)
    assert caught.value.error_id == "pci-id-invalid"


def test_numbers_are_16_bits_and_a_subsystem_is_whole() -> None:
    with pytest.raises(ValueError, match="16 bits"):
        PciId(0x10DE, 0x12204)
    with pytest.raises(ValueError, match="subsystem"):
        PciId(0x10DE, 0x2204, 0x1043)


def test_vendor() -> None:
    assert RTX_3090.is_nvidia
    assert not parse_pci_id("1002:73bf").is_nvidia
