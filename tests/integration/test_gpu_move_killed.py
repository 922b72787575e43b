"""``gpu move`` as a process of its own, killed at each of its changes; the same command goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localai_deploy.domain.pve.lease import read_leases
from tests.integration.sandbox_user import Sandboxed, new_user

MOVE = ("gpu", "move", "gpu0", "--to", "b", "--node", "sandbox", "--foreign", "--yes", "-o", "json")
HARDWARE = """
nodes:
  sandbox:
    cards:
      - {address: "01:00", id: "10de:2204", group: 3, subsystem: "1043:889c"}
mappings:
  gpu0: ["node=sandbox,path=0000:01:00,id=10de:2204,iommugroup=3,subsystem-id=1043:889c"]
vms:
  - {vmid: 100, name: a, card: "mapping=gpu0,pcie=1"}
  - {vmid: 101, name: b, card: "mapping=gpu0,pcie=1", running: false}
"""
POINTS = ("PUT /cluster/mapping/pci/gpu0", "status/shutdown", "PUT /nodes/sandbox/qemu/100", "status/start")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Sandboxed]:
    user = new_user(tmp_path)
    (tmp_path / "mine.yml").write_text(HARDWARE)
    user.started("--body", "bare", "--hardware", str(tmp_path / "mine.yml"))
    yield user
    assert user.sandbox("stop").code == 0


def requests(user: Sandboxed) -> str:
    return "".join(path.read_text() for path in user.state.glob("*/requests.log"))


def killed_at(user: Sandboxed, point: str) -> None:
    process = user.start(*MOVE)
    deadline = time.monotonic() + 60
    while point not in requests(user) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_run_again(user: Sandboxed, point: str) -> None:
    killed_at(user, point)
    time.sleep(0.5)
    again = user.run(*MOVE)
    assert again.code == 0, again
    client = user.client()
    states = {vm["name"]: vm["status"] for vm in client.get("nodes/sandbox/qemu")}
    assert states == {"a": "stopped", "b": "running"}
    (lease,) = read_leases(client.get("cluster/mapping/pci/gpu0")["description"])
    assert (lease.holder.name, lease.before) == ("b", None)
    onboot = {vmid: client.get(f"nodes/sandbox/qemu/{vmid}/config")["onboot"] for vmid in (100, 101)}
    assert onboot == {100: 0, 101: 1}


def test_whole_and_back(user: Sandboxed) -> None:
    done = user.run(*MOVE)
    assert (done.code, done.data["changed"]) == (0, True)
    back = user.run("gpu", "move", "gpu0", "--to", "100", "--node", "sandbox", "--foreign", "--yes")
    assert back.code == 0
    states = {vm["name"]: vm["status"] for vm in user.client().get("nodes/sandbox/qemu")}
    assert states == {"a": "running", "b": "stopped"}
