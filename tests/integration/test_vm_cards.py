"""Cards on the embedded node: found, mapped, leased, given to a VM, read back and taken away again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.pve.card_move import find_vm, plan_move
from localai_deploy.domain.pve.lease import read_leases
from localai_deploy.domain.pve.ownership import NotedCards, find_block
from localai_deploy.domain.pve.roles import run_access
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.proxmox.card_users import card_world
from localai_deploy.proxmox.card_vms import CardVms
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.leases import Leases
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.sandbox.state import Mapping, Vm
from localai_deploy.targets.executor import Completed
from localai_deploy.workflow.card_moves import CardMover
from tests.integration.controller import wait_for
from tests.integration.pve_flow import grant
from tests.integration.vm_place import (
    Guest,
    Machine,
    Place,
    Ssh,
    give_cards,
    isolate,
    new_site,
    quickly,
    serving,
)

MAPPING = "localai-pve1-0000-01-00"
ENTRY = "node=pve1,path=0000:01:00,id=10de:2684,iommugroup=11,subsystem-id=1043:889c"
OTHER = "node=pve1,path=0000:02:00,id=10de:2684,iommugroup=12,subsystem-id=1043:889c"
VM = "/nodes/pve1/qemu/9209"
WHERE = {"vm_storage": "disks", "image_storage": "local", "seed_storage": "seeds"}


class GuestWithCard(Ssh):
    """A guest that sees a card until ``lost`` of its looks are over."""

    looks = 0
    lost_after = 99

    def run(self, argv: list[str], **options: object) -> Completed:
        if "/sys/bus/pci" not in argv[-1]:
            return super().run(argv, **options)
        type(self).looks += 1
        is_there = type(self).looks <= self.lost_after
        return Completed(0, b"0x10de\n0x2684\n0x10de\n0x22ba\n" if is_there else b"", b"")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    isolate(tmp_path, monkeypatch)
    with serving(new_site()) as place:
        give_cards(place.site)
        yield place


def config_of(place: Place) -> dict[str, Any]:
    return place.site.cluster.vms[9209].config


def lease_of(place: Place, mapping: str = MAPPING) -> list[tuple[str, int]]:
    description = place.site.cluster.mappings[mapping].description or ""
    return [(one.holder.name, one.holder.vmid) for one in read_leases(description)]


def test_a_card_by_its_address(place: Place) -> None:
    """Whole device, mapping with group and subsystem, lease, pcie=1; stopped and started once."""
    ended = place.machine(gpus=("0000:01:00.0",)).up()
    assert (ended.code, ended.text, ended.notes) == (0, "", ())
    assert ended.actions == {"image": "create", "card": "create", "vm": "create", "start": "create"}
    assert place.site.cluster.mappings[MAPPING].map == [ENTRY]
    config = config_of(place)
    assert (config["hostpci0"], config["balloon"], config["cpu"]) == (f"mapping={MAPPING},pcie=1", 0, "host")
    assert lease_of(place) == [("ai1", 9209)]
    block = find_block(config["description"])
    assert block is not None
    assert (block.spec["gpus"], block.tested) == ([MAPPING], ("0000:01:00 10de:2684",))
    assert place.changes().count(f"POST {VM}/status/start") == 2
    assert place.changes().count(f"POST {VM}/status/shutdown") == 1


@pytest.mark.parametrize("gpus", [(), (MAPPING,), ("0000:01:00",), ("RTX 4090",), ("auto",)], ids=str)
def test_a_second_run_changes_nothing(place: Place, gpus: tuple[str, ...]) -> None:
    assert place.machine(gpus=("0000:01:00",)).up().code == 0
    place.forget()
    machine = place.machine(**({"gpus": gpus} if gpus else {}))
    ended = machine.up()
    assert (ended.code, ended.text) == (0, "")
    assert ended.actions == dict.fromkeys(("image", "card", "vm", "start"), "keep")
    assert place.changes() == []


@pytest.mark.parametrize("last", [StepKind.CARD, StepKind.VM], ids=str)
def test_a_run_that_was_cut_off_is_gone_on_with(place: Place, last: StepKind) -> None:
    """Mapping and lease are there, or the VM too: the next run, with another run's id, takes them over."""
    target = place.machine(gpus=("0000:01:00",)).target()
    plan = target.survey()
    for kind in (StepKind.IMAGE, StepKind.CARD, StepKind.VM)[: 2 if last is StepKind.CARD else 3]:
        target.provision(kind, plan, lambda text, looks: None)
    ended = place.machine(gpus=("0000:01:00",)).up()
    assert (ended.code, ended.text) == (0, "")
    assert list(place.site.cluster.mappings) == [MAPPING]
    assert (list(place.site.cluster.vms), lease_of(place)) == ([9209], [("ai1", 9209)])


def test_a_mapping_of_an_admin_is_used(place: Place) -> None:
    place.site.cluster.mappings["gpu0"] = Mapping("gpu0", [ENTRY], "in the upper slot")
    ended = place.machine(gpus=("0000:01:00",)).up()
    assert ended.code == 0
    assert ended.actions["card"] == "change"
    assert config_of(place)["hostpci0"] == "mapping=gpu0,pcie=1"
    assert list(place.site.cluster.mappings) == ["gpu0"]
    assert (place.site.cluster.mappings["gpu0"].description or "").startswith("in the upper slot ")


def test_two_cards(place: Place) -> None:
    ended = place.machine(gpus=("0000:02:00", "0000:01:00")).up()
    assert ended.code == 0
    config = config_of(place)
    assert config["hostpci0"] == "mapping=localai-pve1-0000-02-00,pcie=1"
    assert config["hostpci1"] == f"mapping={MAPPING},pcie=1"


def test_a_card_is_changed_with_a_restart(place: Place) -> None:
    assert place.machine(gpus=("0000:01:00",)).up().code == 0
    machine = place.machine(gpus=("0000:02:00",))
    plan = machine.plan()
    (step,) = [one for one in plan.steps if one.kind == "vm"]
    assert [(one.name, one.before, one.after) for one in step.changes] == [
        ("hostpci0", f"mapping={MAPPING},pcie=1", ""),
        ("hostpci1", "", "mapping=localai-pve1-0000-02-00,pcie=1"),
    ]
    assert plan.restarts
    assert machine.up().code == 0
    config = config_of(place)
    assert "hostpci0" not in config
    assert config["hostpci1"] == "mapping=localai-pve1-0000-02-00,pcie=1"
    assert (lease_of(place), lease_of(place, "localai-pve1-0000-02-00")) == ([], [("ai1", 9209)])
    assert place.machine().up().actions == dict.fromkeys(("image", "card", "vm", "start"), "keep")


def test_a_card_is_taken_away(place: Place) -> None:
    assert place.machine(gpus=("0000:01:00",)).up().code == 0
    ended = place.machine(gpus=()).up()
    assert (ended.code, ended.actions["vm"], ended.actions["start"]) == (0, "change", "change")
    assert "hostpci0" not in config_of(place)
    assert lease_of(place) == []
    again = place.machine().up()
    assert again.actions == dict.fromkeys(("image", "vm", "start"), "keep")


def test_down_gives_the_card_back(place: Place) -> None:
    assert place.machine(gpus=("0000:01:00",)).up().code == 0
    ended = place.machine().down()
    assert ended.code == 0
    assert f"resource mapping {MAPPING} stays; its card is free then" in ended.text
    assert (place.state()["vms"], lease_of(place)) == ({}, [])


def test_a_card_that_another_vm_runs_with_is_held(place: Place) -> None:
    place.site.cluster.mappings["gpu0"] = Mapping("gpu0", [ENTRY])
    foreign = Guest()
    foreign.power = "running"
    config = {"name": "games", "hostpci0": "mapping=gpu0,pcie=1", "smbios1": "uuid=aa"}
    place.site.cluster.vms[101] = Vm(101, "pve1", config, foreign)
    ended = place.machine(gpus=("0000:01:00",)).up()
    assert (ended.code, ended.error_id) == (6, "card-held")
    assert "VM 101 (games) runs with it" in ended.text
    assert place.changes() == []
    assert place.machine(gpus=("auto",)).up().code == 0
    assert config_of(place)["hostpci0"] == "mapping=localai-pve1-0000-02-00,pcie=1"


def test_the_card_of_another_vm_of_ours_is_held(place: Place) -> None:
    assert place.machine(gpus=("0000:01:00",)).up().code == 0
    place.forget()
    second = replace(place.machine(gpus=("0000:01:00",)), name="ai2")
    ended = second.up()
    assert (ended.code, ended.error_id) == (6, "card-held")
    assert "VM 9209 (ai1)" in ended.text
    assert place.changes() == []


def client_of(place: Place) -> PveClient:
    return PveClient(place.machine().wish().node, sleep=quickly)


def move_card(place: Place, target: str, choice: str = MAPPING) -> None:
    """As ``gpu move`` does."""
    client = client_of(place)
    world = card_world(client)
    mapping = world.mapping(choice)
    assert mapping is not None
    move = plan_move(world, mapping, "pve1", find_vm(world, "pve1", target), time.time())
    vms = CardVms(client, TaskWaiter(client, sleep=quickly))
    CardMover(Leases(client, "move-1"), vms, (), lambda _: None, 5, agent_patience_s=0).move(move)


def noted(place: Place, vmid: int) -> NotedCards:
    block = find_block(place.site.cluster.vms[vmid].config["description"])
    assert block is not None
    return block.noted


@pytest.fixture
def moved(place: Place) -> tuple[Machine, Machine]:
    """VM ai1 had the card that VM ai2 has by now."""
    first, second = place.machine(), replace(place.machine(), name="ai2")
    assert place.machine(gpus=("0000:01:00",)).up().code == 0
    assert second.up().code == 0
    move_card(place, "ai2")
    place.forget()
    return first, second


def test_a_card_that_was_moved_is_the_other_vms(place: Place, moved: tuple[Machine, Machine]) -> None:
    """A plain `up` of each goes by the move: one has it, the other does without."""
    first, second = moved
    other = second.plan().vm
    assert other is not None
    assert config_of(place)["hostpci0"] == f"mapping={MAPPING},pcie=1", "people may start it with the card"
    ended = first.up()
    assert (ended.code, ended.text) == (0, "")
    assert ended.actions == {"image": "keep", "card": "keep", "vm": "change", "start": "change"}
    assert ended.notes == (
        "VM 9209 does not start with its node: that goes with a card that is moved; "
        "on the node: qm set 9209 --onboot 1",
    )
    assert "hostpci0" not in config_of(place)
    assert (noted(place, 9209), noted(place, other.vmid)) == (NotedCards(), NotedCards(has=(MAPPING,)))
    assert first.up().actions == dict.fromkeys(("image", "vm", "start"), "keep")
    assert second.up().actions == {"image": "keep", "card": "keep", "vm": "keep", "start": "change"}
    assert second.up().actions == dict.fromkeys(("image", "card", "vm", "start"), "keep")
    assert lease_of(place) == [("ai2", other.vmid)]


def test_who_asks_for_a_card_that_was_moved_is_told(place: Place, moved: tuple[Machine, Machine]) -> None:
    ended = replace(moved[0], given={"gpus": (MAPPING,)}).up()
    assert (ended.code, ended.error_id) == (6, "card-held")
    assert "--gpu none (localai_gpu: none) leaves this VM without it" in ended.text
    assert place.changes() == []


def test_auto_takes_no_card_that_was_given_away(place: Place, moved: tuple[Machine, Machine]) -> None:
    assert replace(moved[0], given={"gpus": ("auto",)}).up().code == 0
    config = config_of(place)
    assert "hostpci0" not in config
    assert config["hostpci1"] == "mapping=localai-pve1-0000-02-00,pcie=1"


def test_a_vm_that_somebody_started_with_its_card_keeps_it(
    place: Place, moved: tuple[Machine, Machine]
) -> None:
    """By hand, on the node: `up` does not take the card out of a VM that runs with it, it asks for order."""
    first, second = moved
    other = second.plan().vm
    assert other is not None
    client = client_of(place)
    client.post(f"nodes/pve1/qemu/{other.vmid}/status/stop")
    wait_for(lambda: place.site.cluster.vms[other.vmid].body.state() == "stopped", "stop")
    client.post("nodes/pve1/qemu/9209/status/start")
    wait_for(lambda: place.site.cluster.vms[9209].body.state() == "running", "start")
    ended = first.up()
    assert (ended.code, ended.error_id) == (6, "card-held")
    move_card(place, "ai1")
    assert (noted(place, 9209), noted(place, other.vmid)) == (
        NotedCards(has=(MAPPING,)),
        NotedCards(gave=(MAPPING,)),
    )
    assert first.up().code == 0


def unseen_rival(place: Place) -> Machine:
    """A machine whose token does not see the VM that runs with the card: only the start tells."""
    place.site.cluster.mappings["gpu0"] = Mapping("gpu0", [ENTRY])
    foreign = Guest()
    foreign.power = "running"
    config = {"name": "games", "hostpci0": "mapping=gpu0,pcie=1", "smbios1": "uuid=aa"}
    devices = ["0000:01:00.0", "0000:01:00.1"]
    place.site.cluster.vms[101] = Vm(101, "pve1", config, foreign, devices=devices)
    access = run_access(VmSpec("ai1", "pve1", **WHERE), PveVersion(9, 2), mappings=["gpu0"])
    grant(place.sandbox, access)
    place.forget()
    return place.machine(access.token_id, **WHERE)


def test_the_node_decides_where_leases_cannot_be_written(place: Place) -> None:
    """The loser ends with 6, and the VM that it made for the card is gone again."""
    machine = unseen_rival(place)
    machine.given |= {"gpus": ("gpu0",)}
    ended = machine.up()
    assert (ended.code, ended.error_id) == (6, "card-held")
    assert "VM 101" in ended.text
    assert list(place.site.cluster.vms) == [101]


def test_a_vm_that_loses_is_as_it_was(place: Place) -> None:
    machine = unseen_rival(place)
    assert machine.up().code == 0
    before = deepcopy(place.state())
    machine.given |= {"gpus": ("gpu0",)}
    ended = machine.up()
    assert (ended.code, ended.error_id) == (6, "card-held")
    assert place.state() == before


def test_a_vm_that_cannot_be_made_leaves_no_lease(place: Place) -> None:
    place.site.cluster.mappings["gpu0"] = Mapping("gpu0", [ENTRY])
    machine = place.machine(gpus=("gpu0",), vmid=500)
    target, plan = machine.target(), machine.plan()
    place.site.cluster.vms[500] = Vm(500, "pve1", {"name": "other"}, Guest())
    ended = machine.carry_out(target, plan)
    assert (ended.code, ended.error_id) == (5, "pve-vmid-taken")
    assert lease_of(place, "gpu0") == []


def test_a_card_that_does_not_come_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there at the first start and is gone at the second: not noted as tested, and tried again."""
    monkeypatch.setattr("localai_deploy.targets.proxmox_vm.SshHost", GuestWithCard)
    monkeypatch.setattr(GuestWithCard, "looks", 0)
    monkeypatch.setattr(GuestWithCard, "lost_after", 1)
    ended = place.machine(gpus=("0000:01:00",)).up()
    assert (ended.code, ended.error_id) == (5, "reset")
    assert "10de:22ba, 10de:2684" in ended.text
    block = find_block(config_of(place)["description"])
    assert block is not None
    assert block.tested == ()
    monkeypatch.setattr(GuestWithCard, "lost_after", 99)
    assert place.machine().up().actions["start"] == "change"


SLOT, OTHER_SLOT = "0000:01:00", "0000:02:00"


@pytest.mark.parametrize("fault", ["drivers", "bad_resets", "slow_starts"])
def test_a_vm_that_does_not_start_with_its_new_card_is_as_it_was(place: Place, fault: str) -> None:
    """The group is not viable, the second start fails, the start takes too long: it runs on without it."""
    assert place.machine().up().code == 0
    before = deepcopy(place.state())
    node = place.site.cluster.nodes["pve1"]
    node.pci_devices[3]["iommugroup"] = node.pci_devices[1]["iommugroup"]
    setattr(node, fault, {OTHER_SLOT + ".0": "nouveau"} if fault == "drivers" else frozenset({SLOT}))
    ended = place.machine(gpus=(SLOT,), accepted=("iommu-group-shared",)).up()
    assert (ended.code, ended.error_id) == (5, "reset" if fault == "bad_resets" else "pve-start-failed")
    assert "VM 9209 is as it was, without the card" in ended.text
    assert place.state() == before
    assert lease_of(place) == []
    assert place.machine().up().actions == dict.fromkeys(("image", "vm", "start"), "keep")


def test_a_vm_that_was_made_for_a_card_that_fails_stays_to_be_looked_at(place: Place) -> None:
    place.site.cluster.nodes["pve1"].bad_resets = frozenset({SLOT})
    ended = place.machine(gpus=(SLOT,)).up()
    assert (ended.code, ended.error_id) == (5, "reset")
    assert "VM 9209 does not start a second time with its cards" in ended.text
    assert lease_of(place) == [("ai1", 9209)]
    assert place.machine(gpus=()).up().code == 0
    assert (place.site.cluster.vms[9209].body.state(), lease_of(place)) == ("running", [])


def test_a_token_of_the_run_role(place: Place) -> None:
    """Without Mapping.Modify the card is used and no lease is written."""
    place.site.cluster.mappings["gpu0"] = Mapping("gpu0", [ENTRY])
    access = run_access(VmSpec("ai1", "pve1", **WHERE), PveVersion(9, 2), mappings=["gpu0"])
    grant(place.sandbox, access)
    ended = place.machine(access.token_id, **WHERE, gpus=("gpu0",)).up()
    assert (ended.code, ended.text) == (0, "")
    assert ended.actions["card"] == "keep"
    assert config_of(place)["hostpci0"] == "mapping=gpu0,pcie=1"
    assert lease_of(place, "gpu0") == []


def test_a_token_without_hardware_is_told_of_that_right(place: Place) -> None:
    access = run_access(VmSpec("ai1", "pve1", **WHERE), PveVersion(9, 2))
    grant(place.sandbox, access)
    place.forget()
    ended = place.machine(access.token_id, **WHERE, gpus=("0000:01:00",)).up()
    assert (ended.code, ended.error_id) == (3, "pve-rights-missing")
    assert "missing: Sys.Audit on /\n" in ended.text
    assert place.changes() == []


def test_what_nobody_looked_at_is_unknown(place: Place) -> None:
    plan = place.machine(gpus=("0000:01:00",)).plan()
    found = {one.finding_id: one.severity.value for one in plan.findings}
    assert found == dict.fromkeys(
        ("host-driver-bound", "boot-framebuffer", "reset", "bar-aperture"), "unknown"
    )


def test_without_a_card_nothing_of_cards_is_asked(place: Place) -> None:
    place.machine().plan()
    asked = {path for _, path, _ in place.site.requests}
    assert not [path for path in asked if "hardware" in path or "mapping" in path]


def test_looks_at_cards_are_few(place: Place) -> None:
    place.machine().plan()
    before = len(place.site.requests)
    place.forget()
    place.machine(gpus=("0000:01:00",)).plan()
    assert len(place.site.requests) - before == 3
