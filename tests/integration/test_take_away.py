"""The roles are enough, and none of their privileges is too much: each is taken away in turn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from localai_deploy.domain.pve.access import changes_to
from localai_deploy.domain.pve.permissions import needs_of, rights_findings
from localai_deploy.domain.pve.roles import Access, run_access, setup_access
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.access import apply_changes, read_state, require_administrator
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.survey import survey_node
from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.state import Vm, Volume
from tests.integration.pve_flow import TEMPLATE, Flow, connection, grant, serving, take_away

VERSIONS = {8: PveVersion(8, 4), 9: PveVersion(9, 2)}
PLACES = {
    "one storage": {"vm_storage": "local", "image_storage": "local", "seed_storage": "local"},
    "apart": {"vm_storage": "disks", "image_storage": "pictures", "seed_storage": "seeds"},
    "template": {"vm_storage": "disks", "seed_storage": "seeds", "template": TEMPLATE},
}
ON_THE_VM = {
    "VM.Audit": "create",
    "VM.Config.CDROM": "detach",
    "VM.Config.CPU": "create",
    "VM.Config.Disk": "create",
    "VM.Config.HWType": "create",
    "VM.Config.Memory": "create",
    "VM.Config.Network": "create",
    "VM.Config.Options": "create",
    "VM.PowerMgmt": "start",
}
AGENT = {
    8: {"VM.Monitor": "agent"},
    9: {"VM.GuestAgent.Audit": "agent", "VM.GuestAgent.FileRead": "host key"},
}
EVERYWHERE = {
    ("/pool/localai", "Pool.Audit"): "look",
    ("/pool/localai", "VM.Allocate"): "create",
    ("/nodes/pve1", "Sys.Audit"): "look",
    ("/sdn/zones/localnetwork/vmbr0", "SDN.Use"): "create",
}
AT_A_PLACE = {
    "one storage": {
        ("/nodes/pve1", "Sys.AccessNetwork"): "image",
        ("/storage/local", "Datastore.AllocateSpace"): "image",
        ("/storage/local", "Datastore.AllocateTemplate"): "image",
    },
    "apart": {
        ("/nodes/pve1", "Sys.AccessNetwork"): "image",
        ("/storage/disks", "Datastore.AllocateSpace"): "create",
        ("/storage/pictures", "Datastore.Audit"): "image",
        ("/storage/pictures", "Datastore.AllocateTemplate"): "image",
        ("/storage/seeds", "Datastore.Audit"): "seed",
        ("/storage/seeds", "Datastore.AllocateTemplate"): "seed",
    },
    "template": {
        ("/vms/900", "VM.Clone"): "create",
        ("/storage/disks", "Datastore.AllocateSpace"): "create",
        ("/storage/seeds", "Datastore.Audit"): "seed",
        ("/storage/seeds", "Datastore.AllocateTemplate"): "seed",
    },
}
A_CLONE_IS_CHANGED_BY_PUT = {"VM.Config.CDROM": "create"}


def expected(major: int, place: str) -> dict[tuple[str, str], str]:
    """(path, privilege) → the step that fails without it."""
    late = A_CLONE_IS_CHANGED_BY_PUT if place == "template" else {}
    on_pool = {("/pool/localai", right): step for right, step in (ON_THE_VM | AGENT[major] | late).items()}
    return EVERYWHERE | on_pool | AT_A_PLACE[place]


CASES = [
    pytest.param(major, place, *pair, step, id=f"{major}-{place}-{pair[1]} on {pair[0]}".replace(" ", "_"))
    for major, place in ((9, "one storage"), (9, "apart"), (9, "template"), (8, "apart"))
    for pair, step in expected(major, place).items()
]


def spec_at(place: str) -> VmSpec:
    found: dict[str, Any] = PLACES[place]
    return VmSpec("vm-a", "pve1", **found)


def pairs(access: Access) -> set[tuple[str, str]]:
    return {(need.path, need.privilege) for need in access.needs}


def names(error: LocalaiError, privilege: str, path: str) -> bool:
    """The error tells path and privilege; an existing VM of the pool is named itself."""
    named = rf"{re.escape(privilege)}(\|\S+| or \S+)* on ({re.escape(path)}|/vms/\d+)$"
    return bool(re.search(named, error.hint, re.M))


@pytest.mark.parametrize("major", [8, 9])
@pytest.mark.parametrize("place", PLACES)
def test_the_role_is_enough(major: int, place: str) -> None:
    spec = spec_at(place)
    access = run_access(spec, VERSIONS[major], deletes_seeds=True)
    with serving(major) as sandbox:
        flow = Flow(grant(sandbox, access), spec, deletes_seeds=True)
        flow.run()
        assert flow.done == list(flow.steps())
        assert list(sandbox.site.cluster.vms) == [TEMPLATE]
        assert {one.content for one in sandbox.site.cluster.volumes.values()} <= {"images", "import"}


@pytest.mark.parametrize("major", [8, 9])
@pytest.mark.parametrize("place", PLACES)
def test_the_role_holds_what_the_table_says(major: int, place: str) -> None:
    assert pairs(run_access(spec_at(place), VERSIONS[major])) == set(expected(major, place))


@pytest.mark.parametrize(("major", "place", "path", "privilege", "step"), CASES)
def test_without_one_privilege_a_step_fails(
    major: int, place: str, path: str, privilege: str, step: str
) -> None:
    spec = spec_at(place)
    with serving(major) as sandbox:
        client = grant(sandbox, run_access(spec, VERSIONS[major]))
        take_away(sandbox, path, privilege)
        facts = survey_node(client)
        needs = needs_of(spec, facts.version, downloads_image=not spec.template)
        (finding,) = rights_findings(needs, facts.permissions, "pve1")
        assert (finding.finding_id, finding.why) == ("pve-rights-missing", f"missing: {privilege} on {path}")
        flow = Flow(client, spec)
        with pytest.raises(LocalaiError) as caught:
            flow.run()
        assert list(flow.steps())[len(flow.done)] == step
        assert names(caught.value, privilege, path), caught.value.hint


@pytest.mark.parametrize("place", ["one storage", "apart"])
def test_seeds_stay_unless_their_deletion_was_granted(place: str) -> None:
    spec = spec_at(place)
    access = run_access(spec, VERSIONS[9], deletes_seeds=True)
    storage = f"/storage/{spec.seed_storage}"
    assert pairs(access) - set(expected(9, place)) == {(storage, "Datastore.Allocate")}
    with serving(9) as sandbox:
        flow = Flow(grant(sandbox, run_access(spec, VERSIONS[9])), spec)
        flow.run()
        with pytest.raises(LocalaiError) as caught:
            flow.remove_seed()
        assert caught.value.hint == f"the token lacks Datastore.Allocate on {storage}"


@pytest.mark.parametrize("holder", ["localai@pve", "localai@pve!localai"])
def test_user_and_token_need_the_rights_both(holder: str) -> None:
    with serving(9) as sandbox:
        client = grant(sandbox, run_access(spec_at("apart"), VERSIONS[9]))
        cluster = sandbox.site.cluster
        cluster.acl = [entry for entry in cluster.acl if entry.who != holder]
        assert survey_node(client).permissions == {}


@pytest.mark.parametrize("call", ["stop", "delete", "config", "disk", "iso"])
def test_what_is_not_ours_is_out_of_reach(call: str) -> None:
    calls = {
        "stop": lambda client: client.post("nodes/pve1/qemu/100/status/stop"),
        "delete": lambda client: client.delete("nodes/pve1/qemu/100"),
        "config": lambda client: client.get("nodes/pve1/qemu/100/config"),
        "disk": lambda client: client.delete("nodes/pve1/storage/local/content/local:100/vm-100-disk-0.raw"),
        "iso": lambda client: client.delete("nodes/pve1/storage/local/content/local:iso/theirs.iso"),
    }
    with serving(9) as sandbox:
        client = grant(sandbox, run_access(spec_at("one storage"), VERSIONS[9]))
        cluster = sandbox.site.cluster
        cluster.vms[100] = Vm(100, "pve1", {"name": "theirs"}, BareBody())
        for volid, content, vmid in (
            ("local:100/vm-100-disk-0.raw", "images", 100),
            ("local:iso/theirs.iso", "iso", None),
        ):
            cluster.volumes[volid] = Volume(volid, content, "raw", 1, 0, vmid=vmid)
        with pytest.raises(LocalaiError) as caught:
            calls[call](client)
        assert caught.value.error_id == "pve-forbidden"
        assert [vm["vmid"] for vm in client.get("cluster/resources", type="vm")] == []


@pytest.mark.parametrize(("major", "other", "alien"), [(9, 8, "VM.Monitor"), (8, 9, "VM.GuestAgent.Audit")])
def test_a_role_for_another_version_is_refused(major: int, other: int, alien: str) -> None:
    with serving(major) as sandbox, pytest.raises(LocalaiError) as caught:
        grant(sandbox, run_access(spec_at("apart"), VERSIONS[other]))
    assert caught.value.error_id == "pve-bad-parameter"
    assert f"invalid privilege '{alien}'" in caught.value.why


@dataclass
class SetupFlow:
    """What is done once: the pool, a look at the hardware, a mapping of a card made, changed and removed."""

    client: PveClient

    def run(self) -> None:
        entry = "node=pve1,path=0000:01:00.0,id=10de:2684,iommugroup=14,subsystem-id=1043:889c"
        self.client.post("pools", poolid="localai")
        assert self.client.get("nodes/pve1/hardware/pci")
        self.client.post("cluster/mapping/pci", id="card", map=[entry])
        (found,) = self.client.get("cluster/mapping/pci", check_node="pve1")
        assert found["id"] == "card"
        self.client.put("cluster/mapping/pci/card", map=[entry], description="a card", digest=found["digest"])
        self.client.delete("cluster/mapping/pci/card")


@pytest.mark.parametrize("major", [8, 9])
def test_setup_is_enough_for_its_work_and_for_nothing_else(major: int) -> None:
    with serving(major) as sandbox:
        client = grant(sandbox, setup_access())
        SetupFlow(client).run()
        spec = spec_at("apart")
        found = rights_findings(
            needs_of(spec, VERSIONS[major], downloads_image=True), survey_node(client).permissions, "pve1"
        )
        assert found[0].why.count("missing: ") == len(expected(major, "apart"))


@pytest.mark.parametrize("major", [8, 9])
@pytest.mark.parametrize(
    ("path", "privilege"),
    [("/", "Sys.Audit"), ("/mapping/pci", "Mapping.Modify"), ("/pool/localai", "Pool.Allocate")],
)
def test_setup_without_one_privilege(major: int, path: str, privilege: str) -> None:
    access = setup_access()
    assert (path, privilege) in pairs(access)
    assert len(pairs(access)) == 3
    with serving(major) as sandbox:
        client = grant(sandbox, access)
        take_away(sandbox, path, privilege)
        with pytest.raises(LocalaiError) as caught:
            SetupFlow(client).run()
        assert re.search(rf"lacks {re.escape(privilege)}(\|\S+)? on {re.escape(path)}$", caught.value.hint)


def test_both_parts_side_by_side() -> None:
    """Entries of one part must not cut down the other's, on whatever paths they meet."""
    spec = spec_at("apart")
    run = run_access(spec, VERSIONS[9], deletes_seeds=True)
    with serving(9) as sandbox:
        setup_client, run_client = grant(sandbox, setup_access()), grant(sandbox, run)
        sandbox.site.cluster.pools.clear()
        SetupFlow(setup_client).run()
        Flow(run_client, spec, deletes_seeds=True).run()


def test_only_an_administrator_may_apply() -> None:
    access = run_access(spec_at("apart"), VERSIONS[9])
    with serving(9) as sandbox:
        client = grant(sandbox, access)
        sandbox.site.requests.clear()
        with pytest.raises(LocalaiError) as caught:
            require_administrator(client, access)
        assert (caught.value.error_id, caught.value.exit_code) == ("pve-not-administrator", ExitCode.REFUSED)
        for right in ("Sys.Modify on /access", "Permissions.Modify on /nodes/pve1", "Pool.Allocate on /pool"):
            assert f"missing: {right}" in caught.value.why
        assert {method for method, *_ in sandbox.site.requests} == {"GET"}


def apply_again(sandbox: Any, access: Access, **options: bool) -> list[str]:
    """What is changed, by name."""
    administrator = PveClient(connection(sandbox))
    changes = changes_to(access, read_state(administrator, access), **options)
    apply_changes(administrator, access, changes, on_change=lambda _: None, on_secret=lambda _: None)
    return [change.shown.name for change in changes]


def test_only_what_differs_is_changed() -> None:
    access = run_access(spec_at("apart"), VERSIONS[9])
    with serving(9) as sandbox:
        grant(sandbox, access)
        assert apply_again(sandbox, access) == []
        cluster = sandbox.site.cluster
        cluster.roles["LocalaiRunVms"] |= {"VM.Migrate"}
        cluster.users["localai@pve"].enable = 0
        cluster.users["localai@pve"].tokens["localai"].privsep = 0
        cluster.acl = [
            entry
            for entry in cluster.acl
            if (entry.path, entry.who) != ("/nodes/pve1", "localai@pve!localai")
        ]
        assert apply_again(sandbox, access) == [
            "role LocalaiRunVms",
            "user localai@pve",
            "token localai@pve!localai",
            "access to /nodes/pve1",
        ]
        assert apply_again(sandbox, access) == []


def test_a_new_token_ends_the_old_one() -> None:
    access = run_access(spec_at("apart"), VERSIONS[9])
    with serving(9) as sandbox:
        old = grant(sandbox, access)
        changed = apply_again(sandbox, access, new_token=True)
        assert changed[:2] == ["token localai@pve!localai"] * 2
        with pytest.raises(LocalaiError) as caught:
            old.version()
        assert caught.value.error_id == "pve-auth-failed"
        assert PveClient(connection(sandbox, "localai@pve", "localai")).version() == PveVersion(9, 2, 11)


def test_rights_that_do_not_hold_are_noticed() -> None:
    """NoAccess on a path wins over every role there; the access list alone looks right."""
    access = run_access(spec_at("apart"), VERSIONS[9])
    with serving(9) as sandbox:
        administrator = PveClient(connection(sandbox))
        administrator.post("access/users", userid="localai@pve")
        administrator.put("access/acl", path="/storage/seeds", roles="NoAccess", users="localai@pve")
        with pytest.raises(LocalaiError) as caught:
            grant(sandbox, access)
        assert (caught.value.error_id, caught.value.exit_code) == ("pve-readback-failed", ExitCode.PARTIAL)
        assert "Datastore.Audit on /storage/seeds" in caught.value.why
