"""Leases of cards at the embedded node: who has one, who may take it over."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from localai_deploy.domain.pve.card_claims import MAKING_S
from localai_deploy.domain.pve.lease import Before, Holder, Was, own_words, read_leases
from localai_deploy.errors import ExitCode, LocalaiError
from tests.integration.card_place import CardPlace, card_place


@pytest.fixture(params=[8, 9])
def place(request: pytest.FixtureRequest) -> Iterator[CardPlace]:
    with card_place(request.param) as there:
        yield there


def leases_of(place: CardPlace, mapping: str = "gpu0") -> list[tuple[str, str]]:
    return [(one.holder.name, one.run) for one in read_leases(place.cluster.mappings[mapping].description)]


def test_taken_kept_and_given_back(place: CardPlace) -> None:
    a = place.add_vm(1001, "a", "gpu0")
    leases = place.leases()
    assert leases.owner("gpu0") is None
    assert leases.take("gpu0", a)
    assert leases.take("gpu0", a)
    owner = leases.owner("gpu0")
    assert owner is not None
    assert str(owner) == "VM 1001 (a) has its lease and does not run"
    assert own_words(place.cluster.mappings["gpu0"].description) == "the left slot"
    leases.require_mine("gpu0")
    with pytest.raises(LocalaiError) as caught:
        place.leases("run-2").require_mine("gpu0")
    assert caught.value.exit_code == ExitCode.HELD
    assert leases.give_back("gpu0", a)
    assert not leases.give_back("gpu0", a)
    assert not leases.free("gpu0")
    assert place.cluster.mappings["gpu0"].description == "the left slot"


def test_held_by_a_stopped_vm(place: CardPlace) -> None:
    a, b = place.add_vm(1001, "a", "gpu0"), place.add_vm(1002, "b", "gpu0")
    assert place.leases().take("gpu0", a)
    with pytest.raises(LocalaiError) as caught:
        place.leases("run-2").take("gpu0", b)
    error = caught.value
    assert (error.error_id, error.exit_code) == ("card-held", ExitCode.HELD)
    assert "VM 1001 (a)" in error.what
    assert "gpu move gpu0 --to VM" in error.hint
    assert "gpu release gpu0" in error.hint
    assert leases_of(place) == [("a", "run-1")]


@pytest.mark.parametrize("ours", [True, False])
def test_held_by_a_running_vm_without_a_lease(place: CardPlace, ours: bool) -> None:
    place.add_vm(100, "gaming", "gpu0", running=True, ours=ours)
    with pytest.raises(LocalaiError) as caught:
        place.leases().take("gpu0", Holder("new"))
    assert "VM 100 (gaming) runs with it" in caught.value.why


def test_held_through_another_mapping_of_the_card(place: CardPlace) -> None:
    a = place.add_vm(1001, "a", "both")
    assert place.leases().take("both", a)
    with pytest.raises(LocalaiError) as caught:
        place.leases().take("gpu0", Holder("new"))
    assert caught.value.error_id == "card-held"


def test_a_raw_address_holds_the_card_too(place: CardPlace) -> None:
    place.add_vm(100, "gaming", running=True, ours=False)
    place.cluster.vms[100].config["hostpci0"] = "01:00,pcie=1"
    with pytest.raises(LocalaiError) as caught:
        place.leases().take("gpu0", Holder("new"))
    assert caught.value.error_id == "card-held"


def test_a_mapping_of_two_cards_has_room_for_two(place: CardPlace) -> None:
    vms = [place.add_vm(1001 + number, name, "both") for number, name in enumerate("abc")]
    assert place.leases().take("both", vms[0])
    assert place.leases().take("both", vms[1])
    with pytest.raises(LocalaiError):
        place.leases().take("both", vms[2])
    assert leases_of(place, "both") == [("a", "run-1"), ("b", "run-1")]


def gone(place: CardPlace) -> None:
    del place.cluster.vms[1001]


def another_one(place: CardPlace) -> None:
    place.cluster.vms[1001].config["smbios1"] = "uuid=0d0c8a4e-0000-4000-8000-000000000009"


def without_card(place: CardPlace) -> None:
    del place.cluster.vms[1001].config["hostpci0"]


def on_another_node(place: CardPlace) -> None:
    place.cluster.vms[1001].node = "pve2"


@pytest.mark.parametrize("change", [gone, another_one, without_card, on_another_node])
def test_a_dead_holder(place: CardPlace, change) -> None:
    a = place.add_vm(1001, "a", "gpu0")
    assert place.leases().take("gpu0", a)
    change(place)
    later = place.leases("run-2", later_s=MAKING_S)
    assert later.owner("gpu0") is None
    assert later.take("gpu0", Holder("new"))
    assert leases_of(place) == [("new", "run-2")]


def test_one_that_is_gone_is_dead_at_once(place: CardPlace) -> None:
    a = place.add_vm(1001, "a", "gpu0")
    assert place.leases().take("gpu0", a)
    gone(place)
    assert place.leases().owner("gpu0") is None


def test_a_vm_in_the_making_holds_for_a_while(place: CardPlace) -> None:
    leases = place.leases()
    assert leases.take("gpu0", Holder("new"))
    owner = leases.owner("gpu0")
    assert owner is not None
    assert owner.holder == Holder("new")
    made = place.add_vm(1003, "new", "gpu0")
    assert leases.take("gpu0", made)
    still = place.leases("run-2", later_s=MAKING_S).owner("gpu0")
    assert still is not None
    assert still.holder == made


def test_a_foreign_holder_that_the_token_does_not_see_is_not_called_dead(place: CardPlace) -> None:
    foreign = place.add_vm(100, "gaming", "gpu0", ours=False)
    assert place.leases().take("gpu0", foreign)
    small = place.leases("run-2", place.token_without())
    with pytest.raises(LocalaiError) as caught:
        small.take("gpu0", Holder("new"))
    assert caught.value.error_id == "card-held"


def test_without_the_right_to_write_the_start_decides(place: CardPlace) -> None:
    a = place.add_vm(1001, "a", "gpu0")
    place.add_vm(100, "gaming", "gpu0", ours=False)
    small = place.leases(client=place.token_without("Mapping.Modify"))
    assert not small.take("gpu0", a)
    assert not small.give_back("gpu0", a)
    assert place.cluster.mappings["gpu0"].description == "the left slot"
    refusal = LocalaiError("pve-card-in-use", "start: PCI device already in use by VMID '100'")
    place.switch_on(100)
    held = small.as_held("gpu0", refusal)
    assert (held.error_id, held.exit_code) == ("card-held", ExitCode.HELD)
    assert "VM 100" in held.what
    assert "VM 100 (gaming)" in place.leases().as_held("gpu0", refusal).what
    other = LocalaiError("pve-no-kvm", "no KVM")
    assert small.as_held("gpu0", other) is other


def test_an_unknown_mapping(place: CardPlace) -> None:
    with pytest.raises(LocalaiError) as caught:
        place.leases().take("nothing", Holder("new"))
    assert caught.value.error_id == "pve-mapping-missing"


def test_a_move_is_written_down(place: CardPlace) -> None:
    a = place.add_vm(1001, "a", "gpu0", running=True)
    b, c = place.add_vm(1002, "b", "gpu0"), place.add_vm(1003, "c", "gpu0")

    def before(target: Holder) -> Before:
        return Before(Was(target, "hostpci0", running=False, onboot=False), source)

    source = Was(a, "hostpci0", running=True, onboot=True)
    assert place.leases().begin_move("gpu0", before(b), [a])
    lease = read_leases(place.cluster.mappings["gpu0"].description)[0]
    assert (lease.holder, lease.before) == (b, before(b))
    with pytest.raises(LocalaiError) as caught:
        place.leases("run-2").begin_move("gpu0", before(c), [a])
    assert "VM 1002 (b)" in caught.value.what
    assert "gpu move gpu0 --to 1002 goes on with a move that was cut off" in caught.value.hint
    assert place.leases("run-3").begin_move("gpu0", before(b), [a])
    with pytest.raises(LocalaiError) as caught:
        place.leases().settle("gpu0", b)
    assert caught.value.exit_code == ExitCode.HELD
    assert place.leases("run-3").settle("gpu0", a)
    assert leases_of(place) == [("a", "run-3")]


@pytest.mark.parametrize("round_", range(5))
def test_of_several_at_once_one_wins(round_: int) -> None:
    with card_place() as place:
        vms = [place.add_vm(1001 + number, name, "gpu0") for number, name in enumerate("abc")]
        ends: dict[str, str] = {}

        def take(vm: Holder) -> None:
            try:
                place.leases(f"run-{vm.name}").take("gpu0", vm)
                ends[vm.name] = "won"
            except LocalaiError as error:
                ends[vm.name] = error.error_id

        threads = [threading.Thread(target=take, args=(vm,)) for vm in vms]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert sorted(ends.values()) == ["card-held", "card-held", "won"]
        winner = next(name for name, end in ends.items() if end == "won")
        assert leases_of(place) == [(winner, f"run-{winner}")]
