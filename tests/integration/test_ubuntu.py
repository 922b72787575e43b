"""Ubuntu on an imitation: the whole job while apt is busy, and back to the state before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.controller import host_variables, wait_for
from tests.integration.product import User, await_end, write_inventory
from tests.lab.content import Content
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.layout import Lab
from tests.lab.mirror_client import MirrorClient
from tests.lab.state import difference
from tests.lab.ubuntu import RELEASES, Release, imitate_ubuntu, ubuntu_archive

pytestmark = [pytest.mark.host, pytest.mark.slow]

_LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock")
_HOLD = (
    f"import fcntl, signal; files = [open(path, 'w') for path in {_LOCKS}]; "
    "[fcntl.lockf(file, fcntl.LOCK_EX) for file in files]; signal.pause()"
)
"""What unattended-upgrades does to the locks."""
_TRY = f"import fcntl; fcntl.lockf(open({_LOCKS[0]!r}, 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB); print('free')"
_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Box:
    """A host that says it is Ubuntu."""

    host: LabHost
    release: Release


@pytest.fixture(params=RELEASES, ids=lambda release: release.version)
def box(lab: Lab, content: Content, mirror: MirrorClient, request: pytest.FixtureRequest) -> Iterator[Box]:
    release = request.param
    with ubuntu_archive(lab) as archive, start_host(lab, unique_name(), suite=release.debian) as host:
        imitate_ubuntu(host, release, archive)
        _renew(host, _LOCKS)
        yield Box(host, release)


def _renew(host: LabHost, files: Sequence[str]) -> None:
    """Files of the image have another inode on the overlay than the kernel tells of their locks."""
    host.root("rm", "-f", *files)
    for file in files:
        host.root("install", "-m", "0640", "/dev/null", file)


def test_the_whole_job_while_apt_is_busy(box: Box, tmp_path: Path) -> None:
    user = User(tmp_path / "home")
    inventory = str(write_inventory(tmp_path / "inventory", {"box": host_variables(box.host)}))
    before = box.host.state()
    box.host.root("systemd-run", "--quiet", "--collect", "--unit=busy", "python3", "-c", _HOLD)
    wait_for(lambda: not box.host.root("python3", "-c", _TRY, check=False), "apt's lock")

    planned = user.run("plan", "-i", inventory, "-o", "json").data["hosts"][0]
    assert planned["blockers"] == []
    assert "apt-lock" in {one["id"] for one in planned["warnings"]}

    up = user.start("up", "-i", inventory, "--yes", "-o", "json")
    wait_for(
        lambda: (user.state / "journal" / "box.jsonl").exists() or up.poll() is not None, "the first step"
    )
    time.sleep(_WAIT_S)
    box.host.root("systemctl", "stop", "busy")
    first = await_end(up)
    assert first.code == 0, first
    assert first.data["hosts"][0]["verification"]["counts"] == {"pass": 15, "fail": 0, "skip": 1}

    second = user.run("up", "-i", inventory, "-o", "json")
    assert (second.code, second.data["hosts"][0]["changed_tasks"]) == (0, 0), second
    status = user.run("status", "-i", inventory, "-o", "json").data["hosts"][0]
    assert status["system"] == f"Ubuntu {box.release.point} LTS"
    assert user.run("verify", "-i", inventory, "-o", "json").data["passed"]

    down = user.run("down", "-i", inventory, "box", "--purge", "--yes", "-o", "json")
    assert down.code == 0, down
    assert difference(before, box.host.state()) == []
