"""A VM with a card on the embedded node, with the real command: what guests cannot have is told as failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.node_place import NodePlace, node_place
from tests.integration.node_runs import Run, run

if TYPE_CHECKING:
    from tests.lab.content import Content
    from tests.lab.layout import Lab

pytestmark = pytest.mark.host

MAPPING = "localai-sandbox-0000-01-00"


@pytest.fixture(scope="module")
def place(lab: Lab, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodePlace]:
    del content
    with node_place(lab, tmp_path_factory.mktemp("node"), hardware="one-card") as place:
        yield place


def up(place: NodePlace, *words: str) -> Run:
    return run(
        place, "up", "--yes", "-i", str(place.user.inventory), "--node", "sandbox", "--name", "a", *words
    )


def test_the_only_display_takes_consent(place: NodePlace) -> None:
    done = up(place, "--gpu", "01:00")
    assert done.ended.code == 3
    assert "[only-display]" in done.ended.stderr
    assert done.changes == []


def test_a_container_has_no_card_and_that_is_said(place: NodePlace) -> None:
    done = up(place, "--gpu", "RTX 4090", "--gpu-accept", "only-display")
    assert done.ended.code == 4
    failed = [one for one in done.host["verification"]["checks"] if one["outcome"] == "fail"]
    assert failed[0]["id"] == "devices-present"
    assert {one["id"] for one in failed[1:]} >= {"gpu-driver", "gpu-card", "gpu-kernel", "gpu-offload"}
    assert all(one["id"].startswith("gpu-") for one in failed[1:])
    assert failed[0]["detail"] == (
        "10de:22ba is there not at all, not 1 times; 10de:2684 is there not at all, not 1 times"
    )
    assert place.vm("a").config()["hostpci0"] == f"mapping={MAPPING},pcie=1"
    starts = [one for one in done.changes if one.endswith("/status/start")]
    assert len(starts) == 2


def test_a_second_run_changes_nothing_and_says_it_again(place: NodePlace) -> None:
    done = up(place)
    assert done.ended.code == 4
    assert done.changes == []


def test_verify_says_it_too(place: NodePlace) -> None:
    done = run(place, "verify", "-i", str(place.user.inventory), "--node", "sandbox", "a")
    assert done.ended.code == 4


def test_without_the_card_all_is_well(place: NodePlace) -> None:
    done = up(place, "--gpu", "none")
    assert done.ended.code == 0
    assert "hostpci0" not in place.vm("a").config()
    assert "devices-present" not in {one["id"] for one in done.host["verification"]["checks"]}
