from __future__ import annotations

import pytest

from localai_deploy.domain.pci.address import PciAddress, is_address, parse_address
from localai_deploy.errors import InputError


@pytest.mark.parametrize(
    ("text", "full", "slot"),
    [
        ("01:00", "0000:01:00", "0000:01:00"),
        ("01:00.0", "0000:01:00.0", "0000:01:00"),
        ("0000:01:00", "0000:01:00", "0000:01:00"),
        ("0000:01:00.1", "0000:01:00.1", "0000:01:00"),
        ("00000000:01:00.0", "0000:01:00.0", "0000:01:00"),
        ("0000:C1:1F.7", "0000:c1:1f.7", "0000:c1:1f"),
        (" 10000:01:00.0 ", "10000:01:00.0", "10000:01:00"),
    ],
)
def test_forms(text: str, full: str, slot: str) -> None:
    address = parse_address(text)
    assert (str(address), address.slot) == (full, slot)
    assert parse_address(full) == address


@pytest.mark.parametrize(
    "text", ["", "01", "01:20", "01:00.8", "1:0", "10de:2684", "000:01:00", "auto", "01:00.0.0"]
)
def test_other_texts(text: str) -> None:
    assert not is_address(text)
    with pytest.raises(InputError) as refused:
        parse_address(text)
    assert refused.value.error_id == "pci-address-invalid"


def test_order() -> None:
    texts = ["0000:01:00", "0000:01:00.0", "0000:01:00.1", "0000:02:00.0", "0000:0a:00.0", "0001:00:00.0"]
    assert [str(one) for one in sorted(map(parse_address, reversed(texts)))] == texts


def test_a_device_holds_its_functions() -> None:
    device, function = PciAddress(0, 1, 0), PciAddress(0, 1, 0, 1)
    assert device.holds(function)
    assert device.holds(device)
    assert not function.holds(device)
    assert not device.holds(PciAddress(0, 2, 0, 1))
