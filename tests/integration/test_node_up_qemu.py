"""One virtual machine on the embedded node: firmware, a kernel of its own, an image without the guest agent.

Cold, and with a saved guest. All in it is emulated where KVM does not work.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.node_place import NodePlace, node_place
from tests.integration.node_runs import CALLS_AT_MOST, calls_of_making, run, up
from tests.lab.system import reason_to_skip_guests

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.layout import Lab

pytestmark = [pytest.mark.host, pytest.mark.timeout(3600)]
BODIES = ["qemu", pytest.param("resume", marks=pytest.mark.slow)]


@pytest.fixture(params=BODIES)
def place(request: pytest.FixtureRequest, lab: Lab, tmp_path: Path) -> Iterator[NodePlace]:
    if reason := reason_to_skip_guests():
        pytest.skip(reason)
    with node_place(lab, tmp_path, request.param) as place:
        yield place


def test_a_guest_is_proven_stays_as_it_is_and_goes(place: NodePlace) -> None:
    first, guest = up(place, "--name", "llm"), place.vm("llm")
    first.tell("up from nothing")
    assert first.host["verification"]["passed"] is True
    assert "Paris" in first.host["completion"]["text"]
    assert first.changes == calls_of_making(guest.vmid)
    assert "cloud" in guest.file("/proc/sys/kernel/osrelease") != platform.release()
    assert "qemu-guest-agent" in guest.file("/var/log/apt/history.log"), "the image had it already"
    key = guest.host_key()
    assert key in place.user.known_hosts.read_text()

    second = up(place, "--name", "llm")
    second.tell("up again")
    assert (second.changes, second.host["changed_tasks"]) == ([], 0)
    assert second.host["verification"]["passed"] is True
    assert len(second.requests) <= CALLS_AT_MOST
    assert guest.host_key() == key

    gone = run(place, *place.user.words("down", "llm"))
    gone.tell("down")
    assert (gone.ended.code, gone.host["removed"]) == (0, True)
    client = place.sandbox.client()
    assert client.get("nodes/sandbox/qemu") == []
    assert [one["content"] for one in client.get("nodes/sandbox/storage/local/content")] == ["import"]
