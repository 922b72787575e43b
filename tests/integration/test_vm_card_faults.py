"""After each fault at each step about a card the same command ends as if nothing had been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.pve.lease import read_leases
from tests.integration.test_vm_faults import LOST, REFUSED, run
from tests.integration.vm_faults import Step, arm, await_api
from tests.integration.vm_place import Machine, Place, Web, give_cards, isolate, new_site, serving

CARD = {
    "map": Step(r"POST /cluster/mapping/pci$"),
    "lease": Step(r"PUT /cluster/mapping/pci/"),
}
LATER = {
    "resize": Step(r"PUT .*/resize$", "resize"),
    "create": Step(r"POST /nodes/pve1/qemu$", "qmcreate"),
    "start": Step(r"POST .*/status/start$", "qmstart"),
}
DOWN = {"free": Step(r"PUT /cluster/mapping/pci/")}
STEPS = CARD | LATER | DOWN
CASES = [(fault, name) for name in (*CARD, *DOWN) for fault in (*REFUSED, *LOST, "killed after")]
CASES += [(fault, name) for name in LATER for fault in ("reset-after-success", "killed after")]
CASES.remove(("403", "free"))
"""A token that may not write leases leaves them: that of a VM that is gone holds nobody up."""


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.stop()


@pytest.fixture
def place(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    isolate(tmp_path, monkeypatch)
    with serving(new_site(), web) as place:
        give_cards(place.site)
        yield place


def machine(place: Place) -> Machine:
    return place.machine(gpus=("0000:01:00",))


def leases(place: Place) -> dict[str, list[tuple[str, int]]]:
    """Mapping → name and id of each VM with a lease."""
    return {
        one.name: [(lease.holder.name, lease.holder.vmid) for lease in read_leases(one.description or "")]
        for one in place.site.cluster.mappings.values()
    }


def everything(place: Place) -> dict[str, Any]:
    return place.state() | {"leases": leases(place)}


@pytest.fixture(scope="module")
def undisturbed(web: Web, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        isolate(tmp_path_factory.mktemp("undisturbed"), monkeypatch)
        with serving(new_site(), web) as place:
            give_cards(place.site)
            assert machine(place).up().code == 0
            return everything(place)


@pytest.mark.parametrize(("fault", "name"), CASES)
def test_the_same_command_again_converges(
    place: Place, undisturbed: dict[str, Any], fault: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "down" if name in DOWN else "up"
    if command == "down":
        assert machine(place).up().code == 0
    with monkeypatch.context() as patch:
        has_struck = arm(place, fault, STEPS[name], patch)
        impatient = machine(place)
        impatient.call_timeout_s = 1.0 if fault == "timeout-after-success" else impatient.call_timeout_s
        run(impatient, command)
        await_api(place)
    assert has_struck()
    again = run(machine(place), command)
    assert again.code == 0, again.text
    if command == "up":
        assert everything(place) == undisturbed
    else:
        assert (place.state()["vms"], leases(place)) == ({}, {one: [] for one in undisturbed["leases"]})
    place.forget()
    assert (run(machine(place), command).code, place.changes()) == (0, [])
