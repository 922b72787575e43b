"""Which VMs are ours, and that nothing else is ever touched: the log of requests says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.pve.ownership import OwnershipBlock, find_block
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.sandbox.state import Vm, Volume
from localai_deploy.targets.proxmox_vm import ProxmoxVm
from localai_deploy.workflow import owned
from localai_deploy.workflow.observe import look_at_state
from tests.integration.vm_place import Guest, Place, isolate, new_site, quickly, serving

OURS, OTHER = 9209, 300


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A node with a VM of ours that is up."""
    isolate(tmp_path, monkeypatch)
    with serving(new_site()) as place:
        assert place.machine().up().code == 0
        place.forget()
        yield place


def ours(place: Place) -> Vm:
    return place.site.cluster.vms[OURS]


def client(place: Place) -> PveClient:
    return PveClient(place.machine().wish().node)


def clone(place: Place) -> None:
    """As qm clone does, through the API, into our pool, under our name."""
    api = client(place)
    sent = {"newid": OTHER, "name": "ai1", "full": 1, "pool": "localai"}
    upid = api.post(f"nodes/pve1/qemu/{OURS}/clone", **sent)
    TaskWaiter(api, sleep=quickly).wait(upid, 10)


def restore(place: Place, vmid: int, **changes: Any) -> None:
    """A backup of ours, as a restore leaves it: the whole config, pool and all."""
    cluster = place.site.cluster
    config = {**ours(place).config, **changes}
    cluster.vms[vmid] = Vm(vmid, "pve1", config, Guest())
    cluster.pools["localai"].vms.add(vmid)


def restore_alone(place: Place) -> None:
    """A backup of ours under another id, after ours has gone."""
    restore(place, OTHER)
    forget_ours(place)


def forget_ours(place: Place) -> None:
    place.site.cluster.vms.pop(OURS)
    place.site.cluster.pools["localai"].vms.discard(OURS)


def clone_alone(place: Place) -> None:
    clone(place)
    forget_ours(place)


def take_out_of_pool(place: Place) -> None:
    place.site.cluster.pools["localai"].vms.discard(OURS)


def move_to_pool(place: Place) -> None:
    take_out_of_pool(place)
    client(place).post("pools", poolid="other")
    place.site.cluster.pools["other"].vms.add(OURS)


def take_tag_away(place: Place) -> None:
    ours(place).config["tags"] = "production"


def edit_description(place: Place) -> None:
    ours(place).config["description"] = "Anna's. Ask before you touch it."


def two_blocks(place: Place) -> None:
    ours(place).config["description"] *= 2


def another_uuid(place: Place) -> None:
    ours(place).config["smbios1"] = "uuid=11111111-2222-4333-8444-555555555555"


def restored_over_as_another(place: Place) -> None:
    restore(place, OURS, smbios1="uuid=11111111-2222-4333-8444-555555555555")


NOT_OURS_ANY_MORE = [
    restore_alone,
    clone_alone,
    take_out_of_pool,
    move_to_pool,
    take_tag_away,
    edit_description,
    two_blocks,
    another_uuid,
    restored_over_as_another,
]


@pytest.mark.parametrize("happens", NOT_OURS_ANY_MORE, ids=lambda one: one.__name__)
def test_what_is_not_ours_is_left_alone(place: Place, happens: Callable[[Place], None]) -> None:
    happens(place)
    before = place.state()
    place.forget()
    assert owned.owned_names(place.machine().wish().node) == []
    down = place.machine().down()
    assert (down.code, down.plan and down.plan.vm) == (0, None)
    up = place.machine().up()
    assert (up.code, up.error_id) == (3, "vm-name-taken")
    assert place.changes() == []
    assert place.state() == before


@pytest.mark.parametrize("beside", [clone, lambda place: restore(place, OTHER)], ids=["clone", "restored"])
def test_a_copy_beside_ours_is_left_alone(place: Place, beside: Callable[[Place], None]) -> None:
    beside(place)
    other = dict(place.site.cluster.vms[OTHER].config)
    assert find_block(other["description"]) == find_block(ours(place).config["description"])
    place.forget()
    assert owned.owned_names(place.machine().wish().node) == ["ai1"]
    again = place.machine().up()
    assert (again.code, place.changes()) == (0, [])
    assert again.plan is not None
    assert again.plan.vm is not None
    assert again.plan.vm.vmid == OURS
    assert place.machine().down().code == 0
    assert place.changes() == [
        f"POST /nodes/pve1/qemu/{OURS}/status/shutdown",
        f"DELETE /nodes/pve1/qemu/{OURS}",
    ]
    assert place.site.cluster.vms[OTHER].config == other
    assert list(place.site.cluster.vms) == [OTHER]


def test_a_backup_over_the_same_id_is_ours(place: Place) -> None:
    """Same id, same UUID, same pool and tag: it is this very VM as it was."""
    restore(place, OURS)
    place.forget()
    again = place.machine().up()
    assert (again.code, again.actions["vm"], again.actions["start"]) == (0, "keep", "change")
    assert place.changes() == [f"POST /nodes/pve1/qemu/{OURS}/status/start"]
    assert place.machine().down().code == 0
    assert place.state()["vms"] == {}


def test_a_note_beside_the_block_changes_nothing(place: Place) -> None:
    config = ours(place).config
    config["description"] = f"Runs Anna's models.\n\n{config['description']}\nAsk her first."
    config["tags"] = "anna;localai"
    place.forget()
    again = place.machine().up()
    assert (again.code, again.actions["vm"], place.changes()) == (0, "keep", [])


def test_two_of_a_name(place: Place) -> None:
    block = find_block(ours(place).config["description"])
    assert block is not None
    uuid = "11111111-2222-4333-8444-555555555555"
    description = OwnershipBlock("ai1", OTHER, uuid, block.spec).render()
    restore(place, OTHER, smbios1=f"uuid={uuid}", description=description)
    before = place.state()
    place.forget()
    for ended in (place.machine().up(), place.machine().down()):
        assert (ended.code, ended.error_id) == (3, "vm-name-twice")
        assert "300, 9209" in ended.text
    assert place.changes() == []
    assert place.state() == before


def test_status_only_looks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    clone(place)
    monkeypatch.setattr(ProxmoxVm, "observe", lambda self: None)
    place.forget()
    machine = place.machine()
    seen = look_at_state(machine.host(), machine.target())
    assert seen.vm is not None
    assert (seen.vm.vmid, seen.vm.status) == (OURS, "running")
    assert owned.owned_names(machine.wish().node) == ["ai1"]
    assert place.changes() == []


@pytest.mark.parametrize(
    "happens", [take_out_of_pool, take_tag_away, another_uuid], ids=lambda one: one.__name__
)
def test_ownership_is_read_again_right_before_the_end(place: Place, happens: Callable[[Place], None]) -> None:
    """Somebody disowns the VM while the question is on the screen."""
    machine = place.machine()
    target = machine.target()
    assert target.survey().vm is not None
    happens(place)
    before = place.state()
    place.forget()
    with pytest.raises(LocalaiError, match="no VM of ours on pve1 is named ai1"):
        target.destroy()
    assert place.changes() == []
    assert place.state() == before


def test_a_seed_that_a_stranger_uses_stays(place: Place) -> None:
    """Ours is disowned before its first boot was over: the ISO is still in its drive."""
    iso = "local:iso/localai-seed-ai1-0a1b2c3d.iso"
    place.site.cluster.volumes[iso] = Volume(iso, "iso", "iso", 1, 0)
    ours(place).config["scsi1"] = f"{iso},media=cdrom"
    take_tag_away(place)
    place.forget()
    assert place.machine().down().code == 0
    assert place.changes() == []
    assert iso in place.site.cluster.volumes
