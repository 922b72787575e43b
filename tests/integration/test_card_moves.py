"""A card goes from one VM to another at the embedded node: done, undone, cut off and gone on with."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from localai_deploy.domain.pve.card_move import CardMove, find_vm, plan_move
from localai_deploy.domain.pve.lease import Before, Holder, Lease, Was, read_leases, with_leases
from localai_deploy.domain.pve.ownership import NotedCards, find_block
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.card_users import card_world
from localai_deploy.proxmox.card_vms import CardVms
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.sandbox.body import BareBody, BodyError, GuestPlan
from localai_deploy.workflow.card_moves import CardMover
from tests.integration.card_place import CardPlace, card_place, soon

IDS = ("10de:2684", "10de:22ba")
HAS, GAVE = NotedCards(has=("gpu0",)), NotedCards(gave=("gpu0",))
IN_GUEST = b"0008\t10de2684\t10\t0\n0009\t10de22ba\t0\t0\n0100\t1af41041\t0\t0\n"


@pytest.fixture
def place() -> Iterator[CardPlace]:
    with card_place() as there:
        yield there


def planned(place: CardPlace, target: str, client: PveClient | None = None) -> CardMove:
    world = card_world(client or place.client())
    mapping = world.mapping("gpu0")
    assert mapping is not None
    return plan_move(world, mapping, "pve1", find_vm(world, "pve1", target), time.time())


def mover(place: CardPlace, run: str = "run-1", client: PveClient | None = None, **options) -> CardMover:
    client = client or place.client()
    waiter = TaskWaiter(client, sleep=soon)
    said = options.pop("said", [])
    return CardMover(
        place.leases(run, client),
        CardVms(client, waiter),
        IDS,
        said.append,
        shutdown_s=5,
        **{"agent_patience_s": 0, **options},
    )


def lease_of(place: CardPlace) -> list[tuple[str, bool]]:
    leases = read_leases(place.cluster.mappings["gpu0"].description)
    return [(one.holder.name, one.before is not None) for one in leases]


def config(place: CardPlace, vmid: int) -> dict:
    return place.cluster.vms[vmid].config


def noted(place: CardPlace, vmid: int) -> NotedCards:
    block = find_block(config(place, vmid)["description"])
    assert block is not None
    return block.noted


def test_from_one_vm_to_another_and_back(place: CardPlace) -> None:
    a = place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b", "gpu0", onboot=0)
    place.leases().take("gpu0", a)
    plan = planned(place, "b")
    assert plan.steps() == (
        "shut VM 1001 (a) down",
        "start VM 1002 (b) with the node from now on, and no longer VM 1001 (a)",
        "start VM 1002 (b), and see that it has the card",
        "note it in the description of VM 1001 (a): `up` goes by that",
    )
    assert mover(place).move(plan) == ("the agent of VM 1002 (b) does not tell what its guest sees",)
    assert (place.power(1001), place.power(1002)) == ("stopped", "running")
    assert (config(place, 1001)["onboot"], config(place, 1002)["onboot"]) == (0, 1)
    assert lease_of(place) == [("b", False)]
    assert (noted(place, 1001), noted(place, 1002)) == (GAVE, HAS)
    assert planned(place, "b").is_done
    mover(place, "run-2").move(planned(place, "1001"))
    assert (place.power(1001), place.power(1002)) == ("running", "stopped")
    assert (config(place, 1001)["onboot"], config(place, 1002)["onboot"]) == (1, 0)
    assert lease_of(place) == [("a", False)]
    assert (noted(place, 1001), noted(place, 1002)) == (HAS, GAVE)


def test_to_a_vm_that_never_had_it_and_runs(place: CardPlace) -> None:
    place.add_vm(1001, "a", "gpu0", running=True, onboot=0)
    place.add_vm(1002, "b", onboot=0)
    place.cluster.vms[1002].body.power = "running"
    plan = planned(place, "b")
    assert plan.steps() == (
        "give VM 1002 (b) the card in its config: hostpci0=mapping=gpu0,pcie=1",
        "shut VM 1001 (a) down",
        "shut VM 1002 (b) down, for it runs without the card",
        "start VM 1002 (b), and see that it has the card",
        "note it in the description of VM 1001 (a) and VM 1002 (b): `up` goes by that",
    )
    mover(place).move(plan)
    assert (noted(place, 1001), noted(place, 1002)) == (GAVE, HAS)
    assert (place.power(1001), place.power(1002)) == ("stopped", "running")
    assert config(place, 1002)["hostpci0"] == "mapping=gpu0,pcie=1"
    assert place.cluster.vms[1002].devices == ["0000:01:00.0", "0000:01:00.1"]


def test_a_free_card(place: CardPlace) -> None:
    place.add_vm(1002, "b")
    mover(place).move(planned(place, "b"))
    assert place.power(1002) == "running"
    assert lease_of(place) == [("b", False)]


class Broken(BareBody):
    """A guest that cannot be started."""

    def start(self, plan: GuestPlan) -> None:
        raise BodyError("start failed: QEMU exited with code 1")


class Stubborn(BareBody):
    """A guest that does not power off."""

    def shutdown(self, timeout_s: float) -> bool:
        return False


def state(place: CardPlace) -> dict[int, tuple[str, dict]]:
    return {vmid: (vm.body.state(), dict(vm.config)) for vmid, vm in place.cluster.vms.items()}


@pytest.mark.parametrize("had", [True, False])
@pytest.mark.parametrize("leased", [True, False])
def test_the_first_gets_it_back(place: CardPlace, had: bool, leased: bool) -> None:
    a = place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b", *(["gpu0"] if had else []), onboot=0)
    place.cluster.vms[1002].body = Broken()
    if leased:
        place.leases().take("gpu0", a)
    before = state(place)
    with pytest.raises(LocalaiError) as caught:
        mover(place).move(planned(place, "b"))
    assert (caught.value.error_id, caught.value.exit_code) == ("card-move-undone", ExitCode.FAILED)
    assert "VM 1001 (a) has it as before" in caught.value.what
    assert state(place) == before
    assert lease_of(place) == [("a", False)]


def test_a_vm_that_ran_without_the_card_runs_again(place: CardPlace) -> None:
    place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b", onboot=0)
    target = place.cluster.vms[1002]
    target.body = BareBody(powers_off=True, answers={"file-read": b"0100\t1af41041\t0\n"}, power="running")
    target.config["agent"] = "enabled=1"
    before = state(place)
    with pytest.raises(LocalaiError) as caught:
        mover(place).move(planned(place, "b"))
    assert "it has no PCI device 10de:22ba, 10de:2684" in caught.value.why
    assert state(place) == before


def test_an_owner_that_stays(place: CardPlace) -> None:
    place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b", onboot=0)
    place.cluster.vms[1001].body = Stubborn(power="running")
    before = state(place)
    with pytest.raises(LocalaiError) as caught:
        mover(place).move(planned(place, "b"))
    assert "powerdown failed" in caught.value.why
    assert state(place) == before


def test_what_the_guest_sees(place: CardPlace) -> None:
    place.add_vm(1002, "b", "gpu0")
    vm = place.cluster.vms[1002]
    vm.config["agent"] = "1"
    vm.body = BareBody(answers={"file-read": IN_GUEST})
    assert mover(place).move(planned(place, "b")) == ()


def test_a_silent_agent_is_told(place: CardPlace) -> None:
    place.add_vm(1002, "b", "gpu0")
    place.cluster.vms[1002].config["agent"] = "1"
    notes = mover(place, agent_patience_s=4).move(planned(place, "b"))
    assert notes == ("the agent of VM 1002 (b) does not tell what its guest sees",)


def test_somebody_else_is_faster(place: CardPlace) -> None:
    """A VM that nobody knew of is started with the card while its owner is already down."""
    place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b", "gpu0")
    place.add_vm(100, "gaming", "gpu0", ours=False)
    plan = planned(place, "b")
    place.cluster.vms[1001].body.stop()
    place.switch_on(100)
    with pytest.raises(LocalaiError) as caught:
        mover(place).move(plan)
    assert (caught.value.error_id, caught.value.exit_code) == ("card-held", ExitCode.HELD)
    assert "VM 100 (gaming)" in caught.value.what


class Intruder(BareBody):
    """While it powers off, another VM takes the card."""

    def __init__(self, place: CardPlace) -> None:
        super().__init__(power="running", powers_off=True)
        self.place = place

    def shutdown(self, timeout_s: float) -> bool:
        done = super().shutdown(timeout_s)
        self.place.cluster.vms[1001].devices = []
        self.place.switch_on(100)
        return done


def test_somebody_is_faster_in_the_middle(place: CardPlace) -> None:
    place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b", "gpu0")
    place.add_vm(100, "gaming", "gpu0", ours=False)
    place.cluster.vms[1001].body = Intruder(place)
    with pytest.raises(LocalaiError) as caught:
        mover(place).move(planned(place, "b"))
    assert caught.value.exit_code == ExitCode.HELD
    assert "VM 100 (gaming)" in caught.value.what
    assert lease_of(place) == []
    assert [place.power(vmid) for vmid in (100, 1001, 1002)] == ["running", "stopped", "stopped"]


def test_without_the_right_to_write_leases(place: CardPlace) -> None:
    client = place.token_without("Mapping.Modify")
    place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b")
    mover(place, client=client).move(planned(place, "b", client))
    assert (place.power(1001), place.power(1002)) == ("stopped", "running")
    assert lease_of(place) == []


def test_a_run_that_was_taken_over_stops(place: CardPlace) -> None:
    place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b", "gpu0")
    plan = planned(place, "b")
    first = mover(place, "run-1")

    class TakesOver(BareBody):
        def shutdown(self, timeout_s: float) -> bool:
            place.leases("run-2").begin_move("gpu0", plan.before, plan.ended)
            self.power = "stopped"
            return True

    place.cluster.vms[1001].body = TakesOver(power="running")
    with pytest.raises(LocalaiError) as caught:
        first.move(plan)
    assert (caught.value.error_id, caught.value.exit_code) == ("card-taken-over", ExitCode.HELD)
    assert place.power(1002) == "stopped"
    mover(place, "run-2").move(planned(place, "b"))
    assert place.power(1002) == "running"


class Killed(BaseException):
    """A run ends here."""


class Dying(PveClient):
    """A client whose process is killed right before or right after its nth change."""

    def __init__(self, place: CardPlace, number: int, *, after: bool) -> None:
        super().__init__(place.client().connection, sleep=soon)
        self.left, self.after = number, after

    def _call(self, method: str, path: str, parameters):
        if method == "get":
            return super()._call(method, path, parameters)
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        answer = super()._call(method, path, parameters)
        if self.left == 0:
            raise Killed
        return answer


def settle_tasks(place: CardPlace) -> None:
    for task in list(place.sandbox.site.tasks.all.values()):
        assert task.ended.wait(10)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("then", ["again", "fails", "back"])
def test_killed_at_every_change(place: CardPlace, number: int, after: bool, then: str) -> None:
    """The same command goes on; if the second VM then fails, or one goes back, the first is as it was."""
    a = place.add_vm(1001, "a", "gpu0", running=True)
    place.add_vm(1002, "b", onboot=0)
    place.leases().take("gpu0", a)
    before = state(place)
    with pytest.raises(Killed):
        mover(place, client=Dying(place, number, after=after)).move(planned(place, "b"))
    settle_tasks(place)
    assert [place.power(vmid) for vmid in (1001, 1002)].count("running") <= 1
    if then == "back":
        mover(place, "run-2").move(planned(place, "a"))
        assert (place.power(1001), place.power(1002)) == ("running", "stopped")
        assert (config(place, 1001)["onboot"], lease_of(place)) == (1, [("a", False)])
        assert noted(place, 1001) == HAS
        assert noted(place, 1002).has == ()
        return
    if then == "fails" and place.power(1002) == "stopped":
        place.cluster.vms[1002].body = Broken()
        with pytest.raises(LocalaiError) as caught:
            mover(place, "run-2").move(planned(place, "b"))
        assert caught.value.error_id == "card-move-undone"
        assert state(place) == before
        assert lease_of(place) == [("a", False)]
        return
    mover(place, "run-2").move(planned(place, "b"))
    assert (place.power(1001), place.power(1002)) == ("stopped", "running")
    assert (config(place, 1001)["onboot"], config(place, 1002)["onboot"]) == (0, 1)
    assert lease_of(place) == [("b", False)]
    assert (noted(place, 1001), noted(place, 1002)) == (GAVE, HAS)


def test_the_plan_of_a_move_that_was_cut_off_knows_how_it_was(place: CardPlace) -> None:
    a = place.add_vm(1001, "a", "gpu0")
    b = place.add_vm(1002, "b", "gpu0")
    before = Before(Was(b, "", running=True, onboot=False), Was(a, "hostpci0", running=True, onboot=True))
    place.cluster.mappings["gpu0"].description = with_leases(
        "words", [Lease(b, "pve1", "run-0", int(time.time()), before)]
    )
    assert planned(place, "b").before == before
    back = planned(place, "a")
    assert back.before.source is not None
    assert back.before.source.holder == b
    assert back.ended == (b,)


def test_a_vm_that_is_being_made_keeps_the_card(place: CardPlace) -> None:
    place.add_vm(1002, "b", "gpu0")
    place.leases().take("gpu0", Holder("new"))
    with pytest.raises(LocalaiError) as caught:
        mover(place).move(planned(place, "b"))
    assert "VM new, which is being made" in caught.value.what


def test_a_move_ends_the_lease_of_a_stopped_vm_though_another_one_runs(place: CardPlace) -> None:
    a = place.add_vm(1001, "a", "gpu0")
    place.add_vm(1002, "b", "gpu0")
    place.leases().take("gpu0", a)
    place.add_vm(1003, "c", "gpu0", running=True)
    mover(place).move(planned(place, "b"))
    assert [place.power(vmid) for vmid in (1001, 1002, 1003)] == ["stopped", "running", "stopped"]
    assert lease_of(place) == [("b", False)]


def test_a_move_on_its_way_is_not_led_elsewhere(place: CardPlace) -> None:
    place.add_vm(1001, "a", "gpu0")
    place.add_vm(1002, "b", "gpu0")
    place.add_vm(1003, "c", "gpu0")
    plan = planned(place, "b")
    place.leases("run-0").begin_move("gpu0", plan.before, plan.ended)
    with pytest.raises(LocalaiError) as caught:
        mover(place).move(planned(place, "c"))
    assert (caught.value.error_id, caught.value.exit_code) == ("card-held", ExitCode.HELD)
    assert lease_of(place) == [("b", True)]
    mover(place).move(planned(place, "b"))
    assert place.power(1002) == "running"


def test_unknown_vms(place: CardPlace) -> None:
    place.add_vm(100, "twin", ours=False)
    place.add_vm(101, "twin", ours=False)
    with pytest.raises(LocalaiError) as caught:
        planned(place, "nobody")
    assert caught.value.error_id == "vm-unknown"
    with pytest.raises(LocalaiError) as caught:
        planned(place, "twin")
    assert caught.value.error_id == "vm-name-ambiguous"
    place.add_vm(1001, "twin")
    assert planned(place, "twin").target.vmid == 1001
