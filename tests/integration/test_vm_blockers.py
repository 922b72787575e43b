"""A blocked plan changes nothing: for every blocker there is, the log of requests holds only looks."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain import pve
from localai_deploy.domain.plan import Severity
from localai_deploy.domain.pve.credentials import ApiToken
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.sandbox.release import RELEASES, builtin_roles
from localai_deploy.sandbox.state import AclEntry, Mapping, Storage, Token, User, Vm
from tests.integration.vm_place import Guest, Machine, Place, give_cards, isolate, new_site, serving

GIB = 1 << 30


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    isolate(tmp_path, monkeypatch)
    with serving(new_site()) as place:
        yield place


def old_release(place: Place) -> Machine:
    cluster = place.site.cluster
    cluster.release = replace(RELEASES[8], version="8.2.4")
    cluster.roles = builtin_roles(cluster.release)
    cluster.storages["local"].content.remove("import")
    return place.machine()


def no_import_content(place: Place) -> Machine:
    place.site.cluster.storages["local"].content.remove("import")
    return place.machine()


def unknown_storage(place: Place) -> Machine:
    return place.machine(vm_storage="tank")


def storage_disabled(place: Place) -> Machine:
    place.site.cluster.storages["disks"].disable = True
    return place.machine(vm_storage="disks")


def storage_not_mounted(place: Place) -> Machine:
    place.site.cluster.storages["disks"].mounted = False
    return place.machine(vm_storage="disks")


def storage_full(place: Place) -> Machine:
    for storage in place.site.cluster.storages.values():
        storage.avail = 3 * GIB
    return place.machine()


def memory_short(place: Place) -> Machine:
    return place.machine(memory_mib=64 * 1024)


def cores_short(place: Place) -> Machine:
    return place.machine(cores=32)


def no_bridge(place: Place) -> Machine:
    return place.machine(bridge="vmbr9")


def name_taken(place: Place) -> Machine:
    place.site.cluster.vms[101] = Vm(101, "pve1", {"name": "ai1"}, Guest())
    return place.machine()


def token_without_rights(place: Place) -> Machine:
    place.site.cluster.users["new@pve"] = User("new@pve", tokens={"t": Token("secret")})
    return place.machine("new@pve!t")


def token_without_the_right_to_make_a_pool(place: Place) -> Machine:
    cluster = place.site.cluster
    cluster.users["new@pve"] = User("new@pve", tokens={"t": Token("secret", privsep=0)})
    cluster.roles["Most"] = cluster.release.privileges - {"Pool.Allocate"}
    cluster.acl.append(AclEntry("/", "user", "new@pve", "Most"))
    return place.machine("new@pve!t")


class WithoutKey(Machine):
    def wish(self) -> VmWish:
        return replace(super().wish(), authorized_keys=())


def no_ssh_key(place: Place) -> Machine:
    return WithoutKey(place, place.machine().token)


def image_not_found(place: Place) -> Machine:
    return place.machine(image=place.web.image.replace("debian", "nothing"))


def card_unknown(place: Place) -> Machine:
    give_cards(place.site)
    return place.machine(gpus=("RTX 5090",))


def cards_alike(place: Place) -> Machine:
    give_cards(place.site)
    return place.machine(gpus=("RTX 4090",))


def no_card_free(place: Place) -> Machine:
    give_cards(place.site, iommu=False)
    return place.machine(gpus=("auto",))


def mapping_of_a_card_that_is_gone(place: Place) -> Machine:
    give_cards(place.site)
    place.site.cluster.mappings["old"] = Mapping(
        "old", ["node=pve1,path=0000:09:00,id=10de:2684,iommugroup=9"]
    )
    return place.machine(gpus=("old",))


def raw_address(place: Place) -> Machine:
    give_cards(place.site)
    return place.machine(gpus=("raw:0000:01:00",))


def token_that_may_not_map(place: Place) -> Machine:
    give_cards(place.site)
    cluster = place.site.cluster
    cluster.users["new@pve"] = User("new@pve", tokens={"t": Token("secret", privsep=0)})
    cluster.roles["Most"] = cluster.release.privileges - {"Mapping.Modify"}
    cluster.acl.append(AclEntry("/", "user", "new@pve", "Most"))
    return replace(place.machine("new@pve!t"), given={"gpus": ("0000:01:00",)})


BLOCKERS = {
    card_unknown: "gpu-unknown",
    cards_alike: "gpu-ambiguous",
    no_card_free: "gpu-none-free",
    mapping_of_a_card_that_is_gone: "pci-renumber",
    raw_address: "pve-hostpci-root",
    token_that_may_not_map: "card-unmapped",
    old_release: "pve-import-missing",
    no_import_content: "pve-content-missing",
    unknown_storage: "pve-storage-missing",
    storage_disabled: "pve-storage-inactive",
    storage_not_mounted: "pve-storage-inactive",
    storage_full: "pve-no-space",
    memory_short: "pve-memory-short",
    cores_short: "pve-cores-short",
    no_bridge: "pve-bridge-missing",
    name_taken: "vm-name-taken",
    token_without_rights: "pve-rights-missing",
    token_without_the_right_to_make_a_pool: "pve-pool-missing",
    no_ssh_key: "ssh-key-missing",
    image_not_found: "pve-image-unreachable",
}
ERRORS_OF_THE_LOOK = {"pve-image-unreachable"}
"""Blockers that are errors of the node, met while it was asked."""


def blocking_ids() -> set[str]:
    """The first argument of every call that makes a blocker, in the source of the domain."""
    found = set()
    for file in Path(str(pve.__path__[0])).glob("*.py"):
        for call in ast.walk(ast.parse(file.read_text())):
            if not isinstance(call, ast.Call) or not call.args or not isinstance(call.args[0], ast.Constant):
                continue
            blocks = any(isinstance(one, ast.Attribute) and one.attr == "BLOCKER" for one in call.args)
            if blocks or (isinstance(call.func, ast.Name) and call.func.id == "_blocker"):
                found.add(str(call.args[0].value))
    return found


def blocking(plan: VmPlan) -> set[str]:
    """Ids of what was found, what could not be looked at aside."""
    return {one.finding_id for one in plan.findings if one.severity is not Severity.UNKNOWN}


def test_every_blocker_has_its_case() -> None:
    assert blocking_ids() | ERRORS_OF_THE_LOOK == set(BLOCKERS.values())


@pytest.mark.parametrize("happens", BLOCKERS, ids=lambda one: one.__name__)
def test_a_blocked_plan_changes_nothing(place: Place, happens: Callable[[Place], Machine]) -> None:
    machine = happens(place)
    before = place.state()
    ended = machine.up()
    assert (ended.code, ended.error_id) == (3, BLOCKERS[happens])
    assert ended.plan is None or blocking(ended.plan) == {ended.error_id}
    assert place.changes() == []
    assert place.state() == before


def test_a_new_token_is_told_of_every_right(place: Place) -> None:
    """Not of the first one that the node happened to ask for; and nothing passes for absent."""
    machine = token_without_rights(place)
    for ended in (machine.up(), machine.down()):
        missing = [line for line in ended.text.splitlines() if "missing: " in line]
        assert (ended.code, ended.error_id, len(missing)) == (3, "pve-rights-missing", 16)
    assert place.changes() == []


def wrong_secret(machine: Machine) -> None:
    machine.token = ApiToken(machine.token.user, machine.token.name, "wrong")


def wrong_fingerprint(machine: Machine) -> None:
    machine.place.sandbox.certificate = replace(
        machine.place.sandbox.certificate, fingerprint=":".join(["AB"] * 32)
    )


def old_major(machine: Machine) -> None:
    machine.place.site.cluster.release = RELEASES[7]


def node_offline(machine: Machine) -> None:
    machine.place.site.cluster.nodes["pve1"].reachable = "No route to host"


@pytest.mark.parametrize(
    ("happens", "error_id"),
    [
        (wrong_secret, "pve-auth-failed"),
        (wrong_fingerprint, "tls-fingerprint-mismatch"),
        (old_major, "pve-version-unsupported"),
        (node_offline, "pve-node-offline"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_node_that_cannot_be_looked_at_is_not_changed(
    place: Place, happens: Callable[[Machine], Any], error_id: str
) -> None:
    machine = place.machine()
    happens(machine)
    before = place.state()
    for ended in (machine.up(), machine.down()):
        assert (ended.code, ended.error_id) == (3, error_id)
    assert place.changes() == []
    assert place.state() == before


def test_a_warning_blocks_nothing(place: Place) -> None:
    place.site.cluster.nodes["pve1"].kvm = False
    place.site.cluster.storages["spare"] = Storage("spare", content=["images"], disable=True)
    ended = place.machine().up()
    assert ended.plan is not None
    assert [one.finding_id for one in ended.plan.findings] == ["pve-no-kvm"]
    assert (ended.code, ended.text) == (0, "")
    (vm,) = place.state()["vms"].values()
    assert (vm["cpu"], vm["kvm"], vm["power"]) == ("max", 0, "running")
