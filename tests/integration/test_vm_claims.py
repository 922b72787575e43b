"""Who gets a name: several runs at once, ids that are taken, creates that nobody finished."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.pve.ownership import find_block
from localai_deploy.domain.pve.roles import run_access
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec, candidate_ids
from localai_deploy.proxmox.claims import Claims
from localai_deploy.sandbox.faults import Faults
from localai_deploy.sandbox.state import Vm, Volume
from localai_deploy.workflow import apply
from tests.integration.pve_flow import grant
from tests.integration.vm_faults import Killed, Step, arm, await_api
from tests.integration.vm_place import Ended, Guest, Machine, Place, isolate, new_site, serving

FIRST, SECOND, THIRD = [*candidate_ids(VmSpec("ai1", "pve1"))][:3]
TEMPLATE = 900
_OF_THIS_THREAD = threading.local()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A node; every thread is a machine of its own with its own journal."""
    isolate(tmp_path, monkeypatch)

    def state_dir() -> Path:
        name = getattr(_OF_THIS_THREAD, "name", "main")
        directory = tmp_path / f"state of {name}"
        directory.mkdir(exist_ok=True)
        return directory

    monkeypatch.setattr(apply, "state_dir", state_dir)
    with serving(new_site()) as place:
        yield place


def together(machines: list[Machine], *, at_once: bool) -> list[Ended]:
    """All run ``up``; ``at_once``: nobody begins before all have planned."""
    ended: list[Ended] = []
    barrier = threading.Barrier(len(machines))

    def work(number: int, machine: Machine) -> None:
        _OF_THIS_THREAD.name = f"machine {number}"
        if not at_once:
            time.sleep(number * 0.03)
            ended.append(machine.up())
            return
        target = machine.target()
        plan = target.survey()
        barrier.wait(30)
        ended.append(machine.carry_out(target, plan))

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(machines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ended) == len(machines)
    return ended


def undisturbed(place: Place, **given: Any) -> dict[str, Any]:
    """What one run alone makes, on a node of its own with the same web server."""
    with serving(new_site(), place.web) as other:
        assert other.machine(**given).up().code == 0
        return other.state()


@pytest.mark.parametrize("count", [2, 8])
def test_of_several_runs_at_once_one_makes_the_vm(place: Place, count: int) -> None:
    place.site.pace.import_s = 0.2
    ended = together([place.machine() for _ in range(count)], at_once=True)
    assert sorted((one.code, one.error_id) for one in ended) == [(0, "")] + [(6, "vm-held")] * (count - 1)
    assert place.state() == undisturbed(place)
    assert len([one for one in place.changes() if one == "POST /nodes/pve1/qemu"]) <= count
    place.forget()
    assert [place.machine().up().code for _ in range(2)] == [0, 0]
    assert place.changes() == []


def test_runs_one_after_the_other_go_on_with_the_same_vm(place: Place) -> None:
    """A run that comes later waits for the create and goes on with its VM, or is told to wait."""
    place.site.pace.import_s = 0.2
    ended = together([place.machine() for _ in range(6)], at_once=False)
    assert {one.code for one in ended} <= {0, 6}, [one.text for one in ended]
    assert {one.error_id for one in ended} <= {"", "vm-held"}
    assert place.state() == undisturbed(place)


def test_two_runs_with_the_rights_of_the_run_role(place: Place) -> None:
    """A token of the pool alone does not see a VM before it lies in the pool."""
    place.site.pace.import_s = 0.2
    where = {"vm_storage": "disks", "image_storage": "local", "seed_storage": "seeds"}
    access = run_access(VmSpec("ai1", "pve1", **where), PveVersion(9, 2), deletes_seeds=True)
    grant(place.sandbox, access)
    machines = [place.machine("localai@pve!localai", **where) for _ in range(2)]
    ended = together(machines, at_once=True)
    assert sorted((one.code, one.error_id) for one in ended) == [(0, ""), (6, "vm-held")]
    assert list(place.site.cluster.vms) == [FIRST]
    assert [one.content for one in place.site.cluster.volumes.values()].count("iso") == 0


def test_two_runs_that_clone_a_template(place: Place) -> None:
    add_template(place)
    place.site.pace.import_s = 0.2
    machines = [place.machine(template=TEMPLATE) for _ in range(2)]
    ended = together(machines, at_once=True)
    assert sorted((one.code, one.error_id) for one in ended) == [(0, ""), (6, "vm-held")]
    assert sorted(place.site.cluster.vms) == [TEMPLATE, FIRST]


def add_template(place: Place) -> None:
    cluster = place.site.cluster
    volid = f"local:{TEMPLATE}/base-{TEMPLATE}-disk-0.raw"
    cluster.volumes[volid] = Volume(volid, "images", "raw", 2 << 30, 0, vmid=TEMPLATE)
    config = {"name": "t", "template": 1, "scsi0": f"{volid},size=2G", "memory": "512"}
    cluster.vms[TEMPLATE] = Vm(TEMPLATE, "pve1", config, Guest())


@pytest.mark.parametrize(
    ("vmid", "begun", "code"),
    [(555, True, 6), (9500, True, 0), (555, False, 6), (9500, False, 6)],
    ids=["begun, lower", "begun, higher", "whole, lower", "whole, higher"],
)
def test_another_run_makes_the_name_under_another_id(
    place: Place, monkeypatch: pytest.MonkeyPatch, vmid: int, begun: bool, code: int
) -> None:
    """One that is whole has won; of two that are begun, the lower id: one of them stays, never none."""

    def appears(self: Claims, ours: int, *others: object) -> None:
        config = dict(place.site.cluster.vms[ours].config)
        block = find_block(config["description"])
        assert block is not None
        config["description"] = replace(block, vmid=vmid, begun=begun).render()
        config["tags"] = "" if begun else "localai"
        place.site.cluster.vms[vmid] = Vm(vmid, "pve1", config, Guest())
        place.site.cluster.pools["localai"].vms.add(vmid)

    monkeypatch.setattr(Claims, "_await_others", appears)
    ended = place.machine().up()
    assert (ended.code, ended.error_id) == (code, "vm-held" if code else "")
    assert (FIRST in place.site.cluster.vms) == (code == 0)
    assert vmid in place.site.cluster.vms


def test_runs_that_ask_for_different_ids(place: Place) -> None:
    place.site.pace.import_s = 0.2
    ended = together([place.machine(vmid=555), place.machine()], at_once=True)
    assert sorted(one.code for one in ended)[0] == 0
    named = [vm for vm in place.site.cluster.vms.values() if vm.config.get("name") == "ai1"]
    assert len(named) == [one.code for one in ended].count(0)


def test_a_foreign_vm_has_the_first_id(place: Place) -> None:
    place.site.cluster.vms[FIRST] = Vm(FIRST, "pve1", {"name": "nas"}, Guest())
    ended = place.machine().up()
    assert (ended.code, ended.text) == (0, "")
    assert sorted(place.site.cluster.vms) == sorted([FIRST, SECOND])
    assert place.site.cluster.vms[FIRST].config == {"name": "nas"}
    place.forget()
    assert (place.machine().up().code, place.changes()) == (0, [])
    assert place.machine().down().code == 0
    assert list(place.site.cluster.vms) == [FIRST]


def test_a_foreign_vm_that_the_token_does_not_see(place: Place) -> None:
    place.site.cluster.vms[FIRST] = Vm(FIRST, "pve1", {"name": "nas"}, Guest())
    where = {"vm_storage": "disks", "image_storage": "local", "seed_storage": "seeds"}
    grant(place.sandbox, run_access(VmSpec("ai1", "pve1", **where), PveVersion(9, 2), deletes_seeds=True))
    ended = place.machine("localai@pve!localai", **where).up()
    assert (ended.code, ended.text) == (0, "")
    assert sorted(place.site.cluster.vms) == sorted([FIRST, SECOND])


def test_somebody_takes_the_id_at_the_same_moment(place: Place) -> None:
    place.site.faults.add("id-race", f"create {FIRST}")
    ended = place.machine().up()
    assert (ended.code, ended.text) == (0, "")
    assert place.site.cluster.vms[FIRST].config["name"] == "rival"
    assert place.site.cluster.vms[SECOND].config["name"] == "ai1"
    assert not [volid for volid in place.site.cluster.volumes if ":iso/" in volid]


def test_an_id_that_was_asked_for_is_taken(place: Place) -> None:
    place.site.cluster.vms[555] = Vm(555, "pve1", {"name": "nas"}, Guest())
    ended = place.machine(vmid=555).up()
    assert (ended.code, ended.error_id) == (5, "pve-vmid-taken")
    assert list(place.site.cluster.vms) == [555]
    assert not [volid for volid in place.site.cluster.volumes if ":iso/" in volid]


def test_the_vm_came_while_the_plan_was_on_the_screen(place: Place) -> None:
    """Another run made it, with other values: this run does not change it behind its back."""
    machine = place.machine(cores=8)
    target = machine.target()
    plan = target.survey()
    assert place.machine().up().code == 0
    place.forget()
    ended = machine.carry_out(target, plan)
    assert (ended.code, ended.error_id) == (6, "vm-held")
    assert [one for one in place.changes() if "qemu" in one] == []
    assert place.site.cluster.vms[FIRST].config["cores"] == 2


CREATE = Step(r"POST /nodes/pve1/qemu$", "qmcreate")
CLONE = Step(r"POST .*/clone$", "qmclone")


def cut_off(place: Place, fault: str, step: Step, monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
    with monkeypatch.context() as patch:
        arm(place, fault, step, patch)
        with pytest.raises(Killed):
            place.machine(**given).up()
    await_api(place)


def test_a_begun_vm_is_made_whole_with_the_values_of_today(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(place, "killed after", CREATE, monkeypatch)
    begun = place.site.cluster.vms[FIRST].config
    block = find_block(begun["description"])
    assert block is not None
    assert (block.begun, "tags" in begun) == (True, False)
    place.forget()
    ended = place.machine(cores=4).up()
    assert (ended.code, ended.text) == (0, "")
    assert ended.actions == {"image": "keep", "vm": "create", "start": "create"}
    assert "POST /nodes/pve1/qemu" not in place.changes()
    config = place.site.cluster.vms[FIRST].config
    assert (config["cores"], config["tags"], config["boot"]) == (4, "localai", "order=scsi0")
    assert not [volid for volid in place.site.cluster.volumes if ":iso/" in volid]


@pytest.mark.parametrize("fault", ["killed before", "killed after", "task-lost", "reset-after-success"])
def test_a_clone_that_was_cut_off(place: Place, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_template(place)
    if fault.startswith("killed"):
        cut_off(place, fault, CLONE, monkeypatch, template=TEMPLATE)
    else:
        arm(place, fault, CLONE, monkeypatch)
        assert place.machine(template=TEMPLATE).up().code == 0
    ended = place.machine(template=TEMPLATE).up()
    assert (ended.code, ended.text) == (0, "")
    cluster = place.site.cluster
    assert sorted(cluster.vms) == [TEMPLATE, FIRST]
    assert cluster.vms[FIRST].config["tags"] == "localai"
    assert sorted(one.content for one in cluster.volumes.values()) == ["images"] * 3


def test_down_takes_a_begun_vm_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(place, "killed after", CREATE, monkeypatch)
    assert place.machine().down().code == 0
    assert place.site.cluster.vms == {}
    assert sorted(one.content for one in place.site.cluster.volumes.values()) == ["import"]


def test_a_begun_vm_that_somebody_started_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(place, "killed after", CREATE, monkeypatch)
    place.site.cluster.vms[FIRST].body.power = "running"  # type: ignore[attr-defined]
    before = dict(place.site.cluster.vms[FIRST].config)
    ended = place.machine().up()
    assert (ended.code, ended.error_id) == (5, "vm-half-made")
    assert place.site.cluster.vms[FIRST].config == before


def test_a_clone_of_a_begun_vm_is_not_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_off(place, "killed after", CREATE, monkeypatch)
    cluster = place.site.cluster
    cluster.vms[300] = Vm(300, "pve1", dict(cluster.vms.pop(FIRST).config), Guest())
    cluster.pools["localai"].vms = {300}
    place.forget()
    ended = place.machine().up()
    assert (ended.code, ended.error_id, place.changes()) == (3, "vm-name-taken", [])


def test_power_fails_in_a_create(place: Place) -> None:
    """What is left holds only a lock: nobody's. The next id is taken, and the plan tells of it."""
    place.site.cluster.vms[FIRST] = Vm(FIRST, "pve1", {"lock": "create"}, Guest())
    ended = place.machine().up()
    assert (ended.code, ended.text) == (0, "")
    assert sorted(place.site.cluster.vms) == sorted([FIRST, SECOND])
    assert ended.plan is not None
    assert [one.finding_id for one in ended.plan.findings] == ["vm-create-cut-off"]
    assert f"qm unlock {FIRST}" in ended.plan.findings[0].hint


def test_storage_full_in_mid_import_tells_the_cause_and_leaves_nothing(place: Place) -> None:
    place.site.faults.add("storage-full", "import")
    ended = place.machine().up()
    assert (ended.code, ended.error_id) == (5, "pve-storage-full")
    assert "No space left on device" in ended.text
    assert place.site.cluster.vms == {}
    assert sorted(one.content for one in place.site.cluster.volumes.values()) == ["import"]


def test_without_an_agent_the_vm_is_kept_and_waited_for_again(place: Place) -> None:
    faults = Faults()
    faults.add("agent-missing", times=-1)
    place.site.faults = faults
    ended = place.machine().up()
    assert (ended.code, ended.error_id) == (5, "guest-agent-missing")
    assert "localai_first_boot_timeout_s" in ended.text
    assert place.site.cluster.vms[FIRST].body.state() == "running"
    assert "scsi1" in place.site.cluster.vms[FIRST].config
    faults.clear()
    place.forget()
    again = place.machine().up()
    assert (again.code, again.actions) == (0, {"image": "keep", "vm": "keep", "start": "change"})
    assert [one.split()[0] for one in place.changes()] == ["PUT", "DELETE"]
