from __future__ import annotations

from dataclasses import replace

import pytest

from localai_deploy.domain.pve.hardware import CardOnNode, cards_of, parse_devices
from localai_deploy.domain.pve.mapping import (
    entry_for,
    mapping_problem,
    new_mapping_name,
    parse_entry,
    parse_mapping,
)

GPU = "node=pve1,path=0000:01:00,id=10de:2684,iommugroup=14,subsystem-id=1043:889c"


def device(address: str, group: int, kind: str = "0x030000", model: str = "0x2684") -> dict[str, object]:
    return {
        "id": address,
        "class": kind,
        "vendor": "0x10de",
        "device": model,
        "iommugroup": group,
        "subsystem_vendor": "0x1043",
        "subsystem_device": "0x889c",
    }


def card(group: int = 14, model: str = "0x2684") -> CardOnNode:
    audio = device("0000:01:00.1", group, "0x040300", "0x22ba")
    return cards_of("pve1", parse_devices([device("0000:01:00.0", group, model=model), audio]))[0]


@pytest.mark.parametrize(
    "text",
    [
        GPU,
        "node=pve1,path=0000:01:00.0;0000:02:00.0,id=10de:2684",
        "node=pve1,path=0000:01:00,id=10de:2684,iommugroup=14,description=left slot",
    ],
)
def test_entries_in_both_directions(text: str) -> None:
    assert str(parse_entry(text)) == text


def test_the_entry_of_a_card_is_whole() -> None:
    assert str(entry_for(card())) == GPU


def test_a_card_without_subsystem_and_group() -> None:
    entry = {"id": "0000:01:00.0", "class": "0x030000", "vendor": "0x1234", "device": "0x1111"}
    bare = cards_of("pve1", parse_devices([{**entry, "iommugroup": -1}]))[0]
    assert str(entry_for(bare)) == "node=pve1,path=0000:01:00,id=1234:1111"


def test_slots_of_several_paths() -> None:
    assert parse_entry("node=a,path=0000:01:00.0;0000:01:00.1;0000:02:00,id=1:2").slots == (
        "0000:01:00",
        "0000:02:00",
    )


def test_a_mapping_that_fits() -> None:
    assert mapping_problem(parse_entry(GPU), card()) is None
    one_function = "node=pve1,path=0000:01:00.1,id=10de:22ba,iommugroup=14,subsystem-id=1043:889c"
    assert mapping_problem(parse_entry(one_function), card()) is None


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (card(group=15), "iommugroup is 15, mapped as 14"),
        (card(group=-1), "iommugroup is none, mapped as 14"),
        (card(model="0x2204"), "id is 10de:2204, mapped as 10de:2684"),
        (None, "node pve1 has no card at 0000:01:00"),
    ],
)
def test_a_mapping_out_of_date(there: CardOnNode | None, said: str) -> None:
    problem = mapping_problem(parse_entry(GPU), there)
    assert problem is not None
    assert said in problem


def test_an_entry_that_says_too_little_is_out_of_date() -> None:
    short = replace(parse_entry(GPU), iommugroup=None, subsystem_id=None)
    problem = mapping_problem(short, card())
    assert problem == (
        "0000:01:00 on pve1: iommugroup is 14, mapped as none; subsystem-id is 1043:889c, mapped as none"
    )


def test_answers() -> None:
    other = "node=pve2,path=0000:05:00,id=10de:2204,iommugroup=3"
    found = parse_mapping(
        {
            "id": "gpu0",
            "map": [GPU, other],
            "digest": "d40e",
            "checks": [
                {"severity": "error", "message": "Invalid configuration: 'id' does not match\n"},
                {"severity": "warning", "message": "No mapping for node x."},
            ],
        }
    )
    assert (found.name, found.description, found.digest) == ("gpu0", "", "d40e")
    assert found.checks == ("Invalid configuration: 'id' does not match",)
    assert found.slots_on("pve1") == ("0000:01:00",)
    assert found.is_of(card())
    assert parse_mapping({"map": [GPU]}, "gpu1").name == "gpu1"


def test_a_mapping_of_two_cards_is_not_that_of_one() -> None:
    both = {"id": "both", "map": [GPU, GPU.replace("01:00", "02:00")]}
    assert not parse_mapping(both).is_of(card())


def test_names() -> None:
    assert new_mapping_name(card(), ()) == "localai-pve1-0000-01-00"
    taken = ("localai-pve1-0000-01-00", "localai-pve1-0000-01-00-2")
    assert new_mapping_name(card(), taken) == "localai-pve1-0000-01-00-3"
