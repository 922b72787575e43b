"""VMs on the embedded node with the real command: made, proven, moved, changed, found by strangers, removed.

The tests go one way in this order, on one node with two VMs: what an earlier one has made, a later one meets.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from localai_deploy.sandbox_record import DIRECTORY_VARIABLE
from tests.integration.controller import end_process, wait_for
from tests.integration.node_place import BOOT_S, NodePlace, NodeVm, node_place
from tests.integration.node_runs import CALLS_AT_MOST, Run, calls_of_making, run, up
from tests.integration.product import await_end
from tests.integration.vm_user import CORES, VmUser, document

if TYPE_CHECKING:
    from tests.lab.content import Content
    from tests.lab.layout import Lab

pytestmark = pytest.mark.host

SILENT_S = 12.0
LONG_SILENT_S = 60.0
"""Longer than the client waits for one answer."""
MOVED = "192.168.213.199", "192.168.213.198"


@pytest.fixture(scope="module")
def place(lab: Lab, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodePlace]:
    del content
    with node_place(lab, tmp_path_factory.mktemp("node")) as place:
        yield place


@pytest.fixture(scope="module")
def a(place: NodePlace) -> NodeVm:
    return place.vm("a")


@pytest.fixture(scope="module")
def agent(place: NodePlace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An SSH agent that has the user's key."""
    socket = tmp_path_factory.mktemp("agent") / "socket"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL) as process:
        wait_for(socket.exists, "the agent")
        add = ["ssh-add", "-q", str(place.user.home / "id_ed25519")]
        subprocess.run(add, check=True, env={**os.environ, "SSH_AUTH_SOCK": str(socket)})
        yield socket
        process.terminate()


@pytest.fixture
def stranger(place: NodePlace, agent: Path, tmp_path: Path) -> Iterator[VmUser]:
    """Somebody with the key at hand, but without inventory, state and known hosts."""
    node = {DIRECTORY_VARIABLE: str(place.sandbox.runtime), "SSH_AUTH_SOCK": str(agent)}
    user = VmUser(tmp_path / "home", {**node, "XDG_RUNTIME_DIR": str(tmp_path)})
    user.home.mkdir()
    yield user
    for pid in user.processes():
        end_process(pid)


def all_of_inventory(place: NodePlace, command: str) -> list[str]:
    """The words of a command about VMs that the inventory itself names."""
    hosts = {name: {"localai_node": "sandbox"} for name in ("a", "b")}
    text = yaml.safe_dump({"proxmox_vms": {"hosts": hosts}})
    (place.user.inventory / "hosts.yml").write_text(text)
    return [command, "-i", str(place.user.inventory)]


@dataclass(frozen=True)
class Deployed:
    """After the first ``up``; the guest's own key and what the user knows of it are never to change."""

    run: Run
    host_key: str
    known_hosts: str


@pytest.fixture(scope="module")
def deployed(place: NodePlace, a: NodeVm) -> Deployed:
    first = up(place, "--name", "a")
    first.tell("up from nothing")
    return Deployed(first, a.host_key(), place.user.known_hosts.read_text())


def test_a_plan_before_anything_is_there(place: NodePlace) -> None:
    planned = run(place, *all_of_inventory(place, "plan"), "--detailed-exitcode")
    assert (planned.ended.code, planned.changes) == (10, [])
    hosts = document(planned.ended)["hosts"]
    assert [host["host"] for host in hosts] == ["a", "b"]
    for host in hosts:
        assert [(step["kind"], step["action"]) for step in host["steps"]][:3] == [
            ("image", "create"),
            ("vm", "create"),
            ("start", "create"),
        ]


def test_up_makes_a_vm_and_proves_it(place: NodePlace, deployed: Deployed, a: NodeVm) -> None:
    first, config = deployed.run, a.config()
    assert first.host["verification"]["passed"] is True
    assert "Paris" in first.host["completion"]["text"]
    assert first.changes == calls_of_making(a.vmid)
    assert (config["cores"], config["memory"], config["tags"]) == (2, "1024", "localai")
    assert config["scsi0"].endswith(",size=8G")
    assert "scsi1" not in config
    volumes = place.sandbox.client().get("nodes/sandbox/storage/local/content")
    assert sorted(one["content"] for one in volumes) == ["images", "images", "import"]
    assert deployed.host_key in deployed.known_hosts
    assert len(deployed.known_hosts.splitlines()) == 1


def test_a_second_run_changes_nothing_at_the_node_or_in_the_guest(
    place: NodePlace, deployed: Deployed
) -> None:
    second = up(place, "a")
    second.tell("up again")
    assert second.changes == []
    assert second.host["changed_tasks"] == 0
    assert second.host["verification"]["passed"] is True
    assert len(second.requests) <= CALLS_AT_MOST


def test_a_plan_afterwards(place: NodePlace, deployed: Deployed) -> None:
    words = ("--inventory", str(place.user.inventory), "--node", "sandbox", "a")
    planned = run(place, "plan", *words, "--detailed-exitcode")
    assert (planned.ended.code, planned.changes) == (0, [])
    assert {step["action"] for step in planned.host["steps"]} == {"keep", "check"}


def test_a_stranger_finds_a_guest_that_has_moved(
    place: NodePlace, deployed: Deployed, a: NodeVm, stranger: VmUser
) -> None:
    place.move_lease(a.mac, MOVED[0])
    a.begin("networkctl", "reconfigure", "eth0")
    wait_for(lambda: a.address() == MOVED[0], "the new address", BOOT_S)
    (seen,) = document(stranger.run("status", "--node", "sandbox", "-o", "json"))["hosts"]
    assert (seen["host"], seen["state"], seen["unfinished_step"]) == ("a", "running", None)
    assert (seen["vm"]["vmid"], seen["vm"]["address"], seen["vm"]["seed"]) == (a.vmid, MOVED[0], "")
    assert stranger.known_hosts.read_text() == deployed.known_hosts
    checked = stranger.run("verify", "--node", "sandbox", "a", "-o", "json")
    assert (checked.code, document(checked)["passed"]) == (0, True)
    assert not stranger.state.exists() or not list(stranger.state.glob("journal/*"))


def test_a_refused_key_is_told_at_once(place: NodePlace, deployed: Deployed, stranger: VmUser) -> None:
    began = time.monotonic()
    stranger.refused(3, "ssh-auth-failed", "status", "--node", "sandbox", "a", SSH_AUTH_SOCK="")
    assert time.monotonic() - began < 30


def test_new_values_restart_the_guest(place: NodePlace, deployed: Deployed, a: NodeVm) -> None:
    place.move_lease(a.mac, MOVED[1])
    changed = up(place, "a", "--cores", "1", "--disk", "9")
    changed.tell("up with other values")
    assert changed.changes == [
        f"PUT /qemu/{a.vmid}/config",
        f"PUT /qemu/{a.vmid}/resize",
        f"POST /qemu/{a.vmid}/status/shutdown",
        f"POST /qemu/{a.vmid}/status/start",
    ]
    assert a.config()["cores"] == 1
    assert a.config()["scsi0"].endswith(",size=9G")
    assert a.waiting() == []
    assert a.address() == MOVED[1]
    assert a.host_key() == deployed.host_key
    assert place.user.known_hosts.read_text() == deployed.known_hosts
    assert changed.host["verification"]["passed"] is True


def test_a_guest_that_was_rebooted_by_hand(
    place: NodePlace, deployed: Deployed, a: NodeVm, stranger: VmUser
) -> None:
    a.shut_down()
    (seen,) = document(stranger.run("status", "--node", "sandbox", "a", "-o", "json"))["hosts"]
    assert (seen["state"], seen["vm"]["status"]) == ("stopped", "stopped")
    stranger.refused(3, "vm-stopped", "verify", "--node", "sandbox", "a")
    place.sandbox.client().post(f"{a.path}/status/start")
    wait_for(a.is_up, "the guest's agent", BOOT_S)
    checked = stranger.run("verify", "--node", "sandbox", "a", "-o", "json")
    assert (checked.code, document(checked)["passed"]) == (0, True), checked
    assert a.host_key() == deployed.host_key


def test_two_at_once_one_of_them_stopped_while_the_api_is_silent_for_a_while(
    place: NodePlace, deployed: Deployed, a: NodeVm
) -> None:
    a.shut_down()
    before, began = len(place.requests()), time.monotonic()
    process = place.user.start(*all_of_inventory(place, "up"), "--yes", "-o", "json")
    started = f"POST /nodes/sandbox/qemu/{place.vm('b').vmid}/status/start 200"
    wait_for(lambda: started in place.requests()[before:], "start of b")
    with place.silent():
        time.sleep(SILENT_S)
    both = Run(await_end(process), place.requests()[before:], time.monotonic() - began)
    assert both.ended.code == 0, both.ended
    both.tell("up of one stopped and one new VM")
    hosts = {host["host"]: host for host in document(both.ended)["hosts"]}
    assert {name: host["verification"]["passed"] for name, host in hosts.items()} == {"a": True, "b": True}
    assert [call for call in both.changes if f"/qemu/{a.vmid}/" in call] == [
        f"PUT /qemu/{a.vmid}/config",
        f"POST /qemu/{a.vmid}/status/start",
    ]
    assert a.config()["cores"] == CORES
    assert a.host_key() == deployed.host_key != place.vm("b").host_key()


def test_a_stranger_takes_one_away_and_the_inventory_the_other(
    place: NodePlace, deployed: Deployed, stranger: VmUser
) -> None:
    began = time.monotonic()
    gone = stranger.run("down", "--node", "sandbox", "a", "--yes", "-o", "json")
    print(f"down: {time.monotonic() - began:.1f} s")
    assert gone.code == 0, gone
    (host,) = document(gone)["hosts"]
    assert (host["host"], host["removed"]) == ("a", True)
    assert "stays on node sandbox for other VMs" in host["kept"][0]
    assert [vm["name"] for vm in place.sandbox.client().get("nodes/sandbox/qemu")] == ["b"]
    both = place.user.run(*all_of_inventory(place, "down"), "a", "b", "--yes", "-o", "json")
    assert both.code == 0, both
    removed = {host["host"]: host["removed"] for host in document(both)["hosts"]}
    assert removed == {"a": False, "b": True}
    client = place.sandbox.client()
    assert client.get("nodes/sandbox/qemu") == []
    assert [one["content"] for one in client.get("nodes/sandbox/storage/local/content")] == ["import"]
    assert document(stranger.run("status", "--node", "sandbox", "-o", "json"))["hosts"] == []


@pytest.mark.slow
def test_an_api_that_is_silent_for_long(place: NodePlace) -> None:
    before = len(place.requests())
    process = place.user.start(*place.user.words("up", "c"))
    wait_for(
        lambda: any(line.startswith("POST /nodes/sandbox/qemu ") for line in place.requests()[before:]), "c"
    )
    with place.silent():
        time.sleep(LONG_SILENT_S)
    ended = await_end(process)
    if ended.code != 0:
        assert (ended.code, "Traceback" in ended.stderr) == (5, False), ended
        print(ended.stderr[-800:])
        assert place.user.vm("up", "c").code == 0
    assert [vm["name"] for vm in place.sandbox.client().get("nodes/sandbox/qemu")] == ["c"]
    assert place.user.vm("down", "c").code == 0
