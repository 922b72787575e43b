from __future__ import annotations

from typing import Any

import pytest

from localai_deploy.domain.pve.gpu_selection import NodeCards, Selection, parse_selection, select_cards
from localai_deploy.domain.pve.hardware import cards_of, parse_devices
from localai_deploy.domain.pve.mapping import parse_mapping
from localai_deploy.errors import InputError


def entry(address: str, ids: str, group: int, name: str = "", class_id: str = "0x030000") -> dict[str, Any]:
    vendor, device = ids.split(":")
    return {
        "id": address,
        "class": class_id,
        "vendor": f"0x{vendor}",
        "device": f"0x{device}",
        "iommugroup": group,
        "device_name": name,
    }


AUDIO = "0x040300"
DEVICES = parse_devices(
    [
        entry("0000:00:02.0", "8086:4680", 0, "AlderLake-S GT1 [UHD Graphics 770]"),
        entry("0000:01:00.0", "10de:2684", 14, "AD102 [GeForce RTX 4090]"),
        entry("0000:01:00.1", "10de:22ba", 14, "AD102 High Definition Audio Controller", AUDIO),
        entry("0000:02:00.0", "10de:2684", 15, "AD102 [GeForce RTX 4090]"),
        entry("0000:02:00.1", "10de:22ba", 15, "AD102 High Definition Audio Controller", AUDIO),
        entry("0000:03:00.0", "8086:15f3", 16, "Ethernet Controller I225-V", "0x020000"),
        entry("0000:04:00.0", "10de:2231", 17, "GA102GL [RTX A5000]"),
    ]
)
CARDS = cards_of("pve1", DEVICES)
FIRST = "node=pve1,path=0000:01:00,id=10de:2684,iommugroup=14"
SECOND = "node=pve1,path=0000:02:00.0,id=10de:2684,iommugroup=15"
MAPPINGS = tuple(
    parse_mapping({"id": name, "map": entries})
    for name, entries in {
        "gpu0": [FIRST],
        "any": [FIRST, SECOND],
        "second": [SECOND],
        "elsewhere": ["node=pve2,path=0000:01:00,id=10de:2684,iommugroup=3"],
        "gone": ["node=pve1,path=0000:09:00,id=10de:2684,iommugroup=9"],
    }.items()
)


def select(*wanted: str, **more: Any) -> Selection:
    return select_cards(wanted, NodeCards("pve1", CARDS, MAPPINGS, **more))


def found(selection: Selection) -> list[tuple[str, str]]:
    assert selection.findings == ()
    return [(one.card.slot, one.name) for one in selection.choices]


def refused(selection: Selection) -> tuple[str, str]:
    assert selection.choices == ()
    (finding,) = selection.findings
    return finding.finding_id, f"{finding.what}\n{finding.why}\n{finding.hint}"


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("none", ()),
        ("None", ()),
        ("", ()),
        ([], ()),
        ("auto", ("auto",)),
        ("01:00", ("0000:01:00",)),
        ("00000000:0A:00.0", ("0000:0a:00.0",)),
        ("RTX 4090", ("RTX 4090",)),
        ("01:00, gpu1", ("0000:01:00", "gpu1")),
        (["gpu1", "RTX A5000"], ("gpu1", "RTX A5000")),
        ("raw:01:00.0", ("raw:01:00.0",)),
    ],
)
def test_forms(value: object, texts: tuple[str, ...]) -> None:
    assert parse_selection("localai_gpu", value) == texts


@pytest.mark.parametrize(
    "value",
    [7, [1], "auto,01:00", ["none", "gpu0"], "gpu0,", "01:00,0000:01:00", ",".join(map(str, range(17)))],
)
def test_values_that_mean_nothing(value: object) -> None:
    with pytest.raises(InputError) as error:
        parse_selection("localai_gpu", value)
    assert error.value.error_id == "setting-invalid"


@pytest.mark.parametrize("text", ["0000:01:00", "0000:01:00.0", "0000:01:00.1"])
def test_an_address_is_the_whole_device(text: str) -> None:
    selection = select(text)
    assert found(selection) == [("0000:01:00", "gpu0")]
    assert selection.choices[0].guest_ids == ("10de:2684", "10de:22ba")


def test_a_mapping_of_one_function_gives_no_more() -> None:
    (choice,) = select("second").choices
    assert (choice.card.slot, choice.guest_ids, choice.name) == ("0000:02:00", ("10de:2684",), "second")


@pytest.mark.parametrize("text", ["RTX A5000", "nvidia rtx a5000", "RTXA5000", "10de:2231", "0000:04:00"])
def test_names_of_a_card_without_mapping(text: str) -> None:
    assert found(select(text)) == [("0000:04:00", "localai-pve1-0000-04-00")]


def test_each_card_once() -> None:
    assert found(select("gpu0", "0000:01:00.1", "second")) == [
        ("0000:01:00", "gpu0"),
        ("0000:02:00", "second"),
    ]


def test_a_name_of_two_cards_is_ambiguous() -> None:
    error_id, text = refused(select("RTX 4090"))
    assert error_id == "gpu-ambiguous"
    assert "0000:01:00 NVIDIA GeForce RTX 4090; mapping gpu0" in text
    assert "--gpu 0000:01:00 or --gpu 0000:02:00" in text


def test_what_the_vm_has_is_meant() -> None:
    assert found(select("RTX 4090", held=frozenset({"second"}))) == [("0000:02:00", "second")]


def test_a_mapping_of_two_cards_is_ambiguous() -> None:
    assert refused(select("any"))[0] == "gpu-ambiguous"


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("RTX 4080", '--gpu "NVIDIA GeForce RTX 4090"'),
        ("A5000", '--gpu "NVIDIA RTX A5000" or --gpu 0000:04:00'),
        ("gpu1", "--gpu gpu0"),
        ("0000:05:00", "--gpu 0000:0"),
        ("0000:03:00", "--gpu 0000:0"),
        ("zzzz", "name one of these"),
        ("elsewhere", "name one of the cards"),
    ],
)
def test_an_unknown_one_names_the_nearest(text: str, near: str) -> None:
    error_id, told = refused(select(text))
    assert error_id == "gpu-unknown"
    assert near in told
    assert "0000:04:00 NVIDIA RTX A5000" in told


def test_a_mapping_whose_device_is_gone() -> None:
    error_id, told = refused(select("gone"))
    assert error_id == "pci-renumber"
    assert "node pve1 has no card at 0000:09:00" in told


def test_auto_takes_the_only_free_one() -> None:
    users = {"0000:01:00": ("VM 101 (win)",), "0000:02:00": ("VM 102 (games)",)}
    assert found(select("auto", users=users)) == [("0000:04:00", "localai-pve1-0000-04-00")]


def test_auto_asks_when_several_are_free() -> None:
    error_id, told = refused(select("auto", users={"0000:01:00": ("VM 101 (win)",)}))
    assert error_id == "gpu-ambiguous"
    assert "--gpu 0000:02:00 or --gpu 0000:04:00" in told


def test_auto_takes_none_that_something_speaks_against() -> None:
    selection = select(
        "auto", users={"0000:01:00": ("VM 101 (win)",)}, against=lambda card: f"no {card.slot}"
    )
    error_id, told = refused(selection)
    assert error_id == "gpu-none-free"
    assert "NVIDIA GeForce RTX 4090 (0000:01:00): used by VM 101 (win)" in told
    assert "NVIDIA RTX A5000 (0000:04:00): no 0000:04:00" in told
    assert "UHD" not in told


def test_auto_keeps_what_the_vm_has() -> None:
    assert found(select("auto", held=frozenset({"gpu0"}))) == [("0000:01:00", "gpu0")]


def test_a_raw_address_is_for_root_alone() -> None:
    error_id, told = refused(select("raw:0000:01:00.0"))
    assert error_id == "pve-hostpci-root"
    assert "API token" in told


def test_a_mapping_that_is_out_of_date_is_shown_and_not_replaced() -> None:
    stale = parse_mapping({"id": "old", "map": [FIRST.replace("iommugroup=14", "iommugroup=3")]})
    (choice,) = select_cards(["0000:01:00"], NodeCards("pve1", CARDS, (stale,))).choices
    assert (choice.name, choice.mapping) == ("old", stale)


def test_a_name_of_ours_that_is_taken() -> None:
    foreign = parse_mapping({"id": "localai-pve1-0000-04-00", "map": [SECOND]})
    assert found(select_cards(["0000:04:00"], NodeCards("pve1", CARDS, (foreign,)))) == [
        ("0000:04:00", "localai-pve1-0000-04-00-2")
    ]
