"""``sandbox start --hardware`` as a user runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.sandbox_user import Sandboxed, new_user


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Sandboxed]:
    user = new_user(tmp_path)
    yield user
    assert user.sandbox("stop").code == 0


def test_a_shipped_one(user: Sandboxed) -> None:
    assert user.started("--body", "bare", "--hardware", "busy")["hardware"] == "busy"
    client = user.client()
    assert [one["id"] for one in client.get("nodes/sandbox/hardware/pci")] == ["0000:01:00.0", "0000:01:00.1"]
    assert [vm["name"] for vm in client.get("nodes/sandbox/qemu")] == ["gaming"]
    assert user.sandbox("reset").data["vms"][0]["status"] == "running"
    again = user.run("sandbox", "start", "--hardware", "one-card")
    assert again.code == 3
    assert "hardware is busy, not one-card" in again.stderr


def test_a_file_and_a_typo(user: Sandboxed, tmp_path: Path) -> None:
    file = tmp_path / "mine.yml"
    file.write_text("nodes: {sandbox: {cards: [{address: '01:00', id: '10de:2204'}]}}")
    refused = user.run("sandbox", "start", "--body", "bare", "--hardware", str(file))
    assert refused.code == 2
    assert "group is missing" in refused.stderr
    file.write_text("nodes: {sandbox: {cards: [{address: '01:00', id: '10de:2204', group: 3}]}}")
    assert user.started("--body", "bare", "--hardware", str(file))["hardware"] == str(file)
    (card,) = user.client().get("nodes/sandbox/hardware/pci")
    assert card["iommugroup"] == 3


def test_a_further_node_by_its_name(user: Sandboxed) -> None:
    user.started("--body", "bare", "--hardware", "two-nodes")
    for words, nodes in (
        ((), ["sandbox", "sandbox2"]),
        (("--node", "sandbox2"), ["sandbox2"]),
    ):
        listed = user.run("gpu", "list", *words, "-o", "json")
        assert listed.code == 0, listed
        assert [one["node"] for one in listed.data["nodes"]] == nodes
        assert [card["address"] for card in listed.data["nodes"][-1]["cards"]] == ["0000:05:00"]
    assert user.run("gpu", "list", "--node", "sandbox3").code == 2
