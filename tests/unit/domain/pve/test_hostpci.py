from __future__ import annotations

import pytest

from localai_deploy.domain.pve.hostpci import cards_in, free_slot, mapped_card, parse_hostpci
from localai_deploy.errors import LocalaiError


@pytest.mark.parametrize(
    "text",
    [
        "mapping=gpu0,pcie=1",
        "mapping=gpu0,pcie=1,x-vga=1,rombar=0",
        "0000:01:00,pcie=1",
        "0000:01:00.0;0000:01:00.1",
    ],
)
def test_both_directions(text: str) -> None:
    assert str(parse_hostpci(text)) == text


def test_addresses_in_full() -> None:
    assert str(parse_hostpci("host=01:00.0,pcie=1")) == "0000:01:00.0,pcie=1"


def test_a_mapped_card() -> None:
    assert str(mapped_card("gpu0")) == "mapping=gpu0,pcie=1"


def test_cards_of_a_config_by_slot_number() -> None:
    config = {"hostpci10": "mapping=c", "hostpci2": "mapping=b", "name": "x", "hostpci0": "mapping=a"}
    assert [(slot, card.mapping) for slot, card in cards_in(config).items()] == [
        ("hostpci0", "a"),
        ("hostpci2", "b"),
        ("hostpci10", "c"),
    ]
    assert free_slot(config) == "hostpci1"
    assert free_slot({f"hostpci{number}": "mapping=a" for number in range(16)}) is None


def test_nonsense() -> None:
    with pytest.raises(LocalaiError) as caught:
        parse_hostpci("mapping=a,b,c")
    assert caught.value.error_id == "pve-answer-unreadable"
