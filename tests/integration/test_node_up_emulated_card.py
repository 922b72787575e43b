"""A card that guests of QEMU can really have, with the real command: a container cannot, and that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.node_place import node_place
from tests.integration.node_runs import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.content import Content
    from tests.lab.layout import Lab

pytestmark = [pytest.mark.host, pytest.mark.slow]

ENTRY = "node=sandbox,path=0000:01:00,id=1234:1111,iommugroup=14,subsystem-id=1af4:1100"
UP = ("up", "--yes", "--node", "sandbox", "--name", "a", "--gpu", "01:00")


def test_a_container_cannot_have_it(lab: Lab, content: Content, tmp_path: Path) -> None:
    """Only the check of devices fails, with the ids that a guest of QEMU would see."""
    del content
    with node_place(lab, tmp_path, hardware="emulated") as place:
        done = run(place, *UP, "-i", str(place.user.inventory))
        assert done.ended.code == 4, done.ended
        failed = [one for one in done.host["verification"]["checks"] if one["outcome"] == "fail"]
        assert [(one["id"], one["detail"]) for one in failed] == [
            ("devices-present", "1234:1111 is there not at all, not 1 times")
        ]
        mapping = place.sandbox.client().get("cluster/mapping/pci/localai-sandbox-0000-01-00")
        assert mapping["map"] == [ENTRY]
