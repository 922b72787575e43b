"""A card that guests can really have, with the real command: who sees it passes, who cannot have it is told.

It computes nothing and is of no driver's make: that it is there is all that holds of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.node_place import NodePlace, node_place
from tests.integration.node_runs import Run, run
from tests.lab.system import reason_to_skip_guests

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.content import Content
    from tests.lab.layout import Lab

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(3 * 3600)]

MAPPING = "localai-sandbox-0000-01-00"
ENTRY = "node=sandbox,path=0000:01:00,id=1234:1111,iommugroup=14,subsystem-id=1af4:1100"
CARD = ("--gpu", "01:00")


def up(place: NodePlace, *words: str) -> Run:
    done = run(
        place, "up", "--yes", "-i", str(place.user.inventory), "--node", "sandbox", "--name", "a", *words
    )
    done.tell(f"up {' '.join(words)}")
    return done


def devices_check(done: Run) -> tuple[str, str]:
    """Outcome and detail of the check of devices, which is the only one that may fail."""
    checks = {one["id"]: one for one in done.host["verification"]["checks"]}
    others = {one["outcome"] for name, one in checks.items() if name != "devices-present"}
    assert "fail" not in others, checks
    return checks["devices-present"]["outcome"], checks["devices-present"]["detail"]


def entries(place: NodePlace) -> list[str]:
    return list(place.sandbox.client().get(f"cluster/mapping/pci/{MAPPING}")["map"])


def test_a_container_cannot_have_it(lab: Lab, content: Content, tmp_path: Path) -> None:
    del content
    with node_place(lab, tmp_path, hardware="emulated") as place:
        done = up(place, *CARD)
        assert done.ended.code == 4, done.ended
        assert devices_check(done) == ("fail", "1234:1111 is there not at all, not 1 times")
        assert entries(place) == [ENTRY]
        assert place.vm("a").config()["hostpci0"] == f"mapping={MAPPING},pcie=1"


def test_a_guest_of_qemu_sees_it(lab: Lab, tmp_path: Path) -> None:
    """The VM comes without a card, from a saved guest; its own kernel then boots twice with it."""
    if reason := reason_to_skip_guests():
        pytest.skip(reason)
    with node_place(lab, tmp_path, "resume", hardware="emulated") as place:
        assert up(place).ended.code == 0
        done = up(place, *CARD)
        assert done.ended.code == 0, done.ended
        assert devices_check(done)[0] == "pass"
        starts = [one for one in done.changes if one.endswith("/status/start")]
        assert len(starts) == 2
        assert entries(place) == [ENTRY]
        again = up(place)
        assert (again.ended.code, again.changes) == (0, [])
        assert devices_check(again)[0] == "pass"
