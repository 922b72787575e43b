from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from localai_deploy.errors import InputError
from localai_deploy.sandbox.hardware_file import load_hardware, parse_hardware, preset_names

DOCS = Path(__file__).parents[3] / "docs" / "sandbox-hardware.md"
CARD = {"address": "01:00", "id": "10de:2684", "group": 14}


def one(card: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"nodes": {"sandbox": {"cards": [card or CARD]}}, **more}


def test_all_that_are_shipped_can_be_read_and_are_in_the_docs() -> None:
    listed = [line.split("`")[1] for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    assert sorted(listed) == preset_names()
    for name in preset_names():
        assert load_hardware(name).nodes[0].name == "sandbox"
    assert load_hardware("").nodes == ()


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    example = DOCS.read_text().split("```yaml\n")[1].split("```")[0]
    file = tmp_path / "mine.yml"
    file.write_text(example)
    hardware = load_hardware(str(file))
    first, second = hardware.nodes[0].cards
    assert [one.id for one in first.functions] == ["10de:2684", "10de:22ba"]
    assert (second.model, second.functions[0].id) == ("secondary-vga", "1234:1111")
    assert hardware.vms[0].vmid == 100


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "a mapping is expected"),
        ({}, "there is no node"),
        (one(node={}), "'node' is unknown"),
        (one({**CARD, "grup": 1}), "'grup' is unknown"),
        (one({"address": "01:00", "id": "10de:2684"}), "group is missing"),
        (one({**CARD, "address": "0000:01:00.0"}), "address is '0000:01:00.0'"),
        (one({**CARD, "group": "14"}), "group is '14'"),
        (one({**CARD, "group": True}), "group is True"),
        (one({**CARD, "reset": "sometimes"}), "reset is 'sometimes'"),
        (one({**CARD, "emulated": "secondary-vga"}), "'id' is unknown"),
        (one(vms=[{"vmid": 100, "name": "a", "node": "other", "card": "01:00"}]), "node is 'other'"),
        (one(vms=[{"vmid": 100, "name": "a", "card": "01:00", "running": 1}]), "running is 1"),
        (one(mappings={"gpu0": "node=sandbox"}), "a list is expected"),
        ({"nodes": {"a b": {}}}, "names with values"),
        ({"nodes": {"sandbox": {"cards": {}}}}, "a list is expected"),
    ],
)
def test_what_is_refused(data: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_hardware(data, "file")
    assert caught.value.error_id == "sandbox-hardware-invalid"
    assert said in str(caught.value)


def test_a_typo_in_a_key_names_the_one_that_is_meant() -> None:
    with pytest.raises(InputError) as caught:
        parse_hardware(one({**CARD, "adress": "x"}), "file")
    assert caught.value.why == "did you mean address?"


@pytest.mark.parametrize(
    ("text", "why"), [("two-node", "did you mean two-nodes?"), ("/nowhere.yml", "shipped are")]
)
def test_a_file_that_is_not_there(text: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        load_hardware(text)
    assert why in caught.value.why


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    file = tmp_path / "bad.yml"
    file.write_text("nodes: [")
    with pytest.raises(InputError):
        load_hardware(str(file))
    file.write_text(yaml.dump("text"))
    with pytest.raises(InputError):
        load_hardware(str(file))
