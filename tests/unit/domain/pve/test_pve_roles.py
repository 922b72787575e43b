"""The roles, literally, and against what real servers said."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.plan import Severity
from localai_deploy.domain.pve.permissions import Need, missing_needs, needs_of, rights_findings
from localai_deploy.domain.pve.roles import Access, Part, run_access, setup_access
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec

SHARED = Path(__file__).parents[5] / "shared" / "data"
RECORDED = pytest.mark.skipif(not SHARED.exists(), reason="the servers' schema and recordings are not here")
SCHEMAS = {8: "pve-api-8.4.21.json", 9: "pve-api-9.2.11.json"}
VERSIONS = {8: PveVersion(8, 4, 21), 9: PveVersion(9, 2, 11)}
PLACE = VmSpec("any", "pve1", vm_storage="disks", image_storage="pictures", seed_storage="seeds")
ALONE = VmSpec("any", "pve1", vm_storage="local", image_storage="local", seed_storage="local")
ON_ALL_VERSIONS = {
    "Pool.Audit",
    "VM.Allocate",
    "VM.Audit",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
}
AGENT = {8: {"VM.Monitor"}, 9: {"VM.GuestAgent.Audit", "VM.GuestAgent.FileRead"}}


def held(access: Access) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for grant in access.grants:
        found.setdefault(grant.path, set()).update(grant.role.privileges)
    return found


@pytest.mark.parametrize("major", [8, 9])
def test_run(major: int) -> None:
    assert held(run_access(PLACE, VERSIONS[major])) == {
        "/pool/localai": ON_ALL_VERSIONS | AGENT[major],
        "/nodes/pve1": {"Sys.AccessNetwork", "Sys.Audit"},
        "/sdn/zones/localnetwork/vmbr0": {"SDN.Use"},
        "/storage/disks": {"Datastore.AllocateSpace"},
        "/storage/pictures": {"Datastore.AllocateTemplate", "Datastore.Audit"},
        "/storage/seeds": {"Datastore.AllocateTemplate", "Datastore.Audit"},
    }


def test_run_with_cards() -> None:
    """The right to list the hardware reaches nothing below; none to map devices day to day."""
    access = run_access(PLACE, VERSIONS[9], mappings=["gpu0", "gpu1"])
    cards = {grant.path: grant for grant in access.grants if grant.path == "/" or "mapping" in grant.path}
    assert {path: set(grant.role.privileges) for path, grant in cards.items()} == {
        "/": {"Sys.Audit"},
        "/mapping/pci/gpu0": {"Mapping.Use"},
        "/mapping/pci/gpu1": {"Mapping.Use"},
    }
    assert [path for path, grant in cards.items() if not grant.propagate] == ["/"]


@pytest.mark.parametrize(
    ("missing", "option"),
    [
        (Need("/mapping/pci/gpu0", "Mapping.Use"), "--role run --mapping gpu0"),
        (Need("/", "Sys.Audit"), "--role run --mapping NAME"),
        (Need("/storage/x", "Datastore.Audit"), "--role run"),
    ],
)
def test_who_lacks_rights_to_cards_is_told_how_to_get_them(missing: Need, option: str) -> None:
    (finding,) = rights_findings([missing], {}, "pve1")
    assert finding.hint == f"localai-deploy node permissions pve1 {option}"


def test_a_storage_that_is_written_to_can_be_seen_anyway() -> None:
    assert held(run_access(ALONE, VERSIONS[9]))["/storage/local"] == {
        "Datastore.AllocateSpace",
        "Datastore.AllocateTemplate",
    }


def test_setup() -> None:
    access = setup_access()
    assert held(access) == {
        "/": {"Sys.Audit"},
        "/mapping/pci": {"Mapping.Modify"},
        "/pool/localai": {"Pool.Allocate"},
    }
    assert [grant.path for grant in access.grants if not grant.propagate] == ["/"]


def test_the_two_parts_have_users_of_their_own() -> None:
    setup, run = setup_access("ai@pve"), run_access(PLACE, VERSIONS[9], "ai@pve")
    assert (setup.part, run.part) == (Part.SETUP, Part.RUN)
    assert (setup.token_id, run.token_id) == ("ai-setup@pve!localai", "ai@pve!localai")
    assert {one.name for one in setup.roles}.isdisjoint({one.name for one in run.roles})


@pytest.mark.parametrize(
    ("template", "vm", "image", "seed"),
    [
        (template, vm, image, seed)
        for template in (0, 900)
        for vm in ("a", "b")
        for image in ("a", "b", "")
        for seed in ("a", "b", "c")
        if image or template
    ],
)
def test_a_name_always_stands_for_the_same_privileges(template: int, vm: str, image: str, seed: str) -> None:
    place = VmSpec("any", "pve1", vm_storage=vm, image_storage=image, seed_storage=seed, template=template)
    known = {
        one.name: one
        for one in (*run_access(PLACE, VERSIONS[9]).roles, *run_access(ALONE, VERSIONS[9]).roles)
    }
    access = run_access(place, VERSIONS[9], deletes_seeds=True)
    for role in access.roles:
        assert known.setdefault(role.name, role) == role
    assert not missing_needs(
        needs_of(place, VERSIONS[9], downloads_image=not template),
        {path: dict.fromkeys(rights, 1) for path, rights in held(access).items()},
    )


def test_only_the_asked_for_vlan_and_template() -> None:
    place = VmSpec("any", "pve1", vm_storage="a", seed_storage="b", vlan=30, template=900)
    found = held(run_access(place, VERSIONS[9]))
    assert found["/sdn/zones/localnetwork/vmbr0/30"] == {"SDN.Use"}
    assert found["/vms/900"] == {"VM.Clone"}
    assert found["/nodes/pve1"] == {"Sys.Audit"}


RUN_9 = needs_of(PLACE, VERSIONS[9], downloads_image=True)


def test_rights_on_all_vms_are_as_good_as_on_the_pool() -> None:
    permissions = {"/vms": dict.fromkeys(ON_ALL_VERSIONS | AGENT[9], 1)}
    on_pool = [need for need in RUN_9 if need.path == "/pool/localai"]
    assert missing_needs(on_pool, permissions) == (Need("/pool/localai", "Pool.Audit"),)
    not_below = {"/vms": dict.fromkeys(permissions["/vms"], 0)}
    assert missing_needs(on_pool, not_below) == tuple(on_pool)


@pytest.mark.parametrize(
    ("need", "instead"),
    [
        (("/pool/localai", "VM.GuestAgent.FileRead"), ("/pool/localai", "VM.GuestAgent.Unrestricted")),
        (("/storage/seeds", "Datastore.Audit"), ("/storage/seeds", "Datastore.AllocateSpace")),
    ],
)
def test_what_does_as_well(need: tuple[str, str], instead: tuple[str, str]) -> None:
    wanted = [one for one in RUN_9 if (one.path, one.privilege) == need]
    assert len(wanted) == 1
    assert not missing_needs(wanted, {instead[0]: {instead[1]: 1}})


def test_a_nearer_entry_hides_what_comes_from_above() -> None:
    need = Need("/storage/seeds", "Datastore.AllocateTemplate")
    above = {"/": {"Datastore.AllocateTemplate": 1}}
    assert missing_needs([need], above) == ()
    assert missing_needs([need], {**above, "/storage": {"Datastore.Audit": 1}}) == (need,)


def test_findings_name_everything() -> None:
    (finding,) = rights_findings(RUN_9, {}, "pve1")
    assert (finding.finding_id, finding.severity) == ("pve-rights-missing", Severity.BLOCKER)
    assert finding.why.splitlines()[1:] == [f"missing: {need}" for need in RUN_9]
    assert finding.hint == "localai-deploy node permissions pve1 --role run"
    enough = {need.path: {one.privilege: 1 for one in RUN_9 if one.path == need.path} for need in RUN_9}
    assert rights_findings(RUN_9, enough, "pve1") == ()


@cache
def recorded(name: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads((SHARED / "pve-transcripts" / f"{name}.json").read_text())[
        "steps"
    ]
    return steps


def permissions_of(major: int, who: str) -> dict[str, dict[str, int]]:
    """What the real server answered to this caller about itself."""
    steps = [s for s in recorded(f"pve{major}-permissions") if s["as"] == who and not s["params"]]
    assert steps[0]["path"] == "/access/permissions"
    found: dict[str, dict[str, int]] = steps[0]["body"]["data"]
    return found


@RECORDED
@pytest.mark.parametrize("major", [8, 9])
def test_real_rights_of_a_real_tool(major: int) -> None:
    """The recorded tool had rights on all VMs, but no pool and (on 9) none to read files."""
    local = needs_of(ALONE, VERSIONS[major], downloads_image=True)
    missing = {str(need) for need in missing_needs(local, permissions_of(major, "tool-token"))}
    file_read = {"VM.GuestAgent.FileRead on /pool/localai"} if major == 9 else set()
    assert missing == {"Pool.Audit on /pool/localai"} | file_read
    assert missing_needs(local, permissions_of(major, "root-token")) == ()
    assert missing_needs(local, permissions_of(major, "root-sep-token")) == local
    assert missing_needs(local, permissions_of(major, "noacl-token")) == local


@RECORDED
@pytest.mark.parametrize("major", [8, 9])
def test_real_servers_know_every_privilege(major: int) -> None:
    known = set(permissions_of(major, "root-token")["/"])
    everything = (run_access(PLACE, VERSIONS[major], deletes_seeds=True), setup_access())
    assert {one.privilege for access in everything for one in access.needs} <= known
    other = {8: 9, 9: 8}[major]
    alien = {need.privilege for need in run_access(PLACE, VERSIONS[other]).needs} - known
    assert alien == AGENT[other]


NAMED_BY_SCHEMA = {
    "Datastore.AllocateTemplate": "POST /nodes/{node}/storage/{storage}/upload",
    "Datastore.Audit": "GET /nodes/{node}/storage/{storage}/content",
    "Mapping.Modify": "POST /cluster/mapping/pci",
    "Pool.Allocate": "POST /pools",
    "Pool.Audit": "GET /pools/{poolid}",
    "Sys.AccessNetwork": "POST /nodes/{node}/storage/{storage}/download-url",
    "Sys.Audit": "GET /nodes/{node}/status",
    "VM.Allocate": "DELETE /nodes/{node}/qemu/{vmid}",
    "VM.Audit": "GET /nodes/{node}/qemu/{vmid}/config",
    "VM.Clone": "POST /nodes/{node}/qemu/{vmid}/clone",
    "VM.Config.Disk": "PUT /nodes/{node}/qemu/{vmid}/resize",
    "VM.GuestAgent.Audit": "GET /nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
    "VM.GuestAgent.FileRead": "GET /nodes/{node}/qemu/{vmid}/agent/file-read",
    "VM.Monitor": "GET /nodes/{node}/qemu/{vmid}/agent/file-read",
    "VM.PowerMgmt": "POST /nodes/{node}/qemu/{vmid}/status/start",
}
REFUSED_WITHOUT = {
    "Datastore.AllocateSpace": "POST /nodes/pve1/qemu",
    "SDN.Use": "POST /nodes/pve1/qemu",
    "VM.Config.CDROM": "PUT /nodes/pve1/qemu/100/config",
    "VM.Config.CPU": "PUT /nodes/pve1/qemu/100/config",
    "VM.Config.HWType": "PUT /nodes/pve1/qemu/100/config",
    "VM.Config.Memory": "PUT /nodes/pve1/qemu/100/config",
    "VM.Config.Network": "PUT /nodes/pve1/qemu/100/config",
    "VM.Config.Options": "PUT /nodes/pve1/qemu/100/config",
}
"""What the server checks in code: recorded calls that it refused with a 403 that names the privilege."""


@pytest.mark.parametrize("major", [8, 9])
def test_each_privilege_has_a_source(major: int) -> None:
    accesses = (run_access(PLACE, VERSIONS[major]), run_access(ALONE, VERSIONS[major]), setup_access())
    cloning = VmSpec("any", "pve1", vm_storage="a", seed_storage="b", template=900)
    asked = {
        one.privilege for access in (*accesses, run_access(cloning, VERSIONS[major])) for one in access.needs
    }
    other = AGENT[{8: 9, 9: 8}[major]]
    assert asked == (NAMED_BY_SCHEMA.keys() | REFUSED_WITHOUT.keys()) - other


@RECORDED
@pytest.mark.parametrize(
    ("major", "privilege", "call"),
    [
        (major, privilege, call)
        for major, other in ((8, 9), (9, 8))
        for privilege, call in NAMED_BY_SCHEMA.items()
        if privilege not in AGENT[other]
    ],
)
def test_the_schema_names_it(major: int, privilege: str, call: str) -> None:
    schema = json.loads((SHARED / SCHEMAS[major]).read_text())
    assert f'"{privilege}"' in json.dumps(schema[call]["permissions"])


@RECORDED
@pytest.mark.parametrize("major", [8, 9])
@pytest.mark.parametrize(("privilege", "call"), REFUSED_WITHOUT.items())
def test_a_real_server_refused_without_it(major: int, privilege: str, call: str) -> None:
    steps = [*recorded(f"pve{major}-takeaway-other"), *recorded(f"pve{major}-takeaway-vm-existing")]
    refused = {
        (f"{one['method']} {one['path']}", match[1])
        for one in steps
        if one.get("status") == 403
        if (match := re.search(r"\(\S+, ([^)]+)\)", one["reason"]))
    }
    assert (call, privilege) in refused
