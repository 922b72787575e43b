"""A clone or a restored backup carries our block, and is still not ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from localai_deploy.domain.pve.ownership import (
    NotedCards,
    OwnershipBlock,
    find_block,
    owned_block,
    strip_block,
)

UUID = "6f1c9d2e-0000-4000-8000-00000000abcd"
BLOCK = OwnershipBlock("ai1", 120, UUID, {"cores": 4})


def config(**changes: Any) -> dict[str, Any]:
    return {
        "description": BLOCK.render("my notes"),
        "tags": "localai;gpu",
        "smbios1": f"uuid={UUID}",
    } | changes


def test_block_both_ways() -> None:
    text = BLOCK.render("my notes")
    assert find_block(text) == BLOCK
    assert strip_block(text) == "my notes"
    assert strip_block(BLOCK.render()) == ""


def test_ours() -> None:
    assert owned_block(120, config(), "localai") == BLOCK
    assert owned_block(120, config(description=quote(BLOCK.render())), "localai") == BLOCK


@pytest.mark.parametrize(
    ("vmid", "changes", "pool"),
    [
        (121, {"smbios1": "uuid=11111111-0000-4000-8000-00000000abcd"}, "localai"),
        (120, {"smbios1": "uuid=11111111-0000-4000-8000-00000000abcd"}, "localai"),
        (121, {}, "localai"),
        (120, {"tags": "gpu"}, "localai"),
        (120, {"tags": ""}, "localai"),
        (120, {}, None),
        (120, {}, "production"),
        (120, {"description": "nothing"}, "localai"),
        (120, {"description": BLOCK.render() + BLOCK.render()}, "localai"),
        (120, {"description": BLOCK.render().replace('"vmid"', '"vm"')}, "localai"),
        (120, {"smbios1": ""}, "localai"),
    ],
    ids=[
        "clone",
        "restored over",
        "restored elsewhere",
        "tag taken away",
        "no tags",
        "pool unseen",
        "other pool",
        "no block",
        "two blocks",
        "damaged block",
        "no uuid",
    ],
)
def test_not_ours(vmid: int, changes: dict[str, Any], pool: str | None) -> None:
    assert owned_block(vmid, config(**changes), pool) is None


TWO = OwnershipBlock("ai1", 120, UUID, {"cores": 4, "gpus": ["left", "right"]})


def test_a_card_that_is_given_away_and_comes_back() -> None:
    gave = TWO.with_noted({"left", "both"}, TWO.noted.of({"left", "both"}).given_away())
    assert gave.noted == NotedCards(has=("right",), gave=("left",))
    assert gave.spec == {"cores": 4, "gpus": ["right"]}
    assert find_block(gave.render("my notes")) == gave
    back = gave.with_noted({"left", "both"}, NotedCards(has=("left",)))
    assert back.noted == NotedCards(has=("right", "left"))


def test_what_is_noted_already_changes_nothing() -> None:
    assert TWO.with_noted({"left"}, NotedCards(has=("left",))) is TWO
    assert BLOCK.with_noted({"left"}, NotedCards()) is BLOCK


def test_a_vm_that_runs_with_a_card_did_not_give_it_away() -> None:
    gave = OwnershipBlock("ai1", 120, UUID, {"gpus": []}, gave=("left", "right"))
    assert gave.having({"left", "other"}).noted == NotedCards(has=("left",), gave=("right",))
    assert gave.having({"other", ""}) is gave
