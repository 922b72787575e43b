"""What differs between rights as they are and as they are wanted; commands and calls that do the same."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from localai_deploy.domain.pve.access import (
    AccessChange,
    administrator_needs,
    changes_to,
    further_entries,
)
from localai_deploy.domain.pve.access_state import NOTHING, AccessState, AclEntry, parse_state
from localai_deploy.domain.pve.roles import run_access, setup_access
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec

PLACE = VmSpec("any", "pve1", vm_storage="local-lvm", image_storage="local", seed_storage="local")
RUN = run_access(PLACE, PveVersion(9, 2))
SETUP = setup_access()
VMS_9 = (
    "Pool.Audit,VM.Allocate,VM.Audit,VM.Config.CDROM,VM.Config.CPU,VM.Config.Disk,VM.Config.HWType,"
    "VM.Config.Memory,VM.Config.Network,VM.Config.Options,VM.GuestAgent.Audit,VM.GuestAgent.FileRead,"
    "VM.PowerMgmt"
)
COMMANDS_9 = f"""\
pveum role add LocalaiRunNode --privs Sys.AccessNetwork,Sys.Audit 2>/dev/null || \
pveum role modify LocalaiRunNode --privs Sys.AccessNetwork,Sys.Audit
pveum role add LocalaiRunVms --privs {VMS_9} 2>/dev/null || pveum role modify LocalaiRunVms --privs {VMS_9}
pveum role add LocalaiRunBridge --privs SDN.Use 2>/dev/null || \
pveum role modify LocalaiRunBridge --privs SDN.Use
pveum role add LocalaiRunImages --privs Datastore.AllocateTemplate,Datastore.Audit 2>/dev/null || \
pveum role modify LocalaiRunImages --privs Datastore.AllocateTemplate,Datastore.Audit
pveum role add LocalaiRunDisks --privs Datastore.AllocateSpace 2>/dev/null || \
pveum role modify LocalaiRunDisks --privs Datastore.AllocateSpace
pveum pool add localai --comment 'VMs of localai-deploy' 2>/dev/null || \
pveum pool modify localai --comment 'VMs of localai-deploy'
pveum user add localai@pve --comment localai-deploy 2>/dev/null || pveum user modify localai@pve --enable 1
pveum user token add localai@pve localai --privsep 1 2>/dev/null || \
pveum user token modify localai@pve localai --privsep 1
pveum acl modify /nodes/pve1 --roles LocalaiRunNode --propagate 1 \
--users localai@pve --tokens 'localai@pve!localai'
pveum acl modify /pool/localai --roles LocalaiRunVms --propagate 1 \
--users localai@pve --tokens 'localai@pve!localai'
pveum acl modify /sdn/zones/localnetwork/vmbr0 --roles LocalaiRunBridge --propagate 1 \
--users localai@pve --tokens 'localai@pve!localai'
pveum acl modify /storage/local --roles LocalaiRunImages --propagate 1 \
--users localai@pve --tokens 'localai@pve!localai'
pveum acl modify /storage/local-lvm --roles LocalaiRunDisks --propagate 1 \
--users localai@pve --tokens 'localai@pve!localai'
"""


def test_commands_on_9() -> None:
    assert [change.command for change in changes_to(RUN, NOTHING)] == COMMANDS_9.splitlines()


def test_commands_on_8_have_its_own_privilege() -> None:
    commands = "\n".join(one.command for one in changes_to(run_access(PLACE, PveVersion(8, 4)), NOTHING))
    assert "VM.Monitor" in commands
    assert "GuestAgent" not in commands


PVEUM = {
    ("role", "add"): ("post", "access/roles", ("roleid",)),
    ("role", "modify"): ("put", "access/roles/{roleid}", ()),
    ("pool", "add"): ("post", "pools", ("poolid",)),
    ("user", "add"): ("post", "access/users", ("userid",)),
    ("user", "modify"): ("put", "access/users/{userid}", ()),
    ("user", "token", "add"): ("post", "access/users/{userid}/token/{tokenid}", ()),
    ("user", "token", "modify"): ("put", "access/users/{userid}/token/{tokenid}", ()),
    ("user", "token", "remove"): ("delete", "access/users/{userid}/token/{tokenid}", ()),
    ("acl", "modify"): ("put", "access/acl", ("path",)),
}
POSITIONS = {"role": ("roleid",), "pool": ("poolid",), "user": ("userid",), "acl": ("path",)}


def call_of(command: str) -> tuple[str, str, dict[str, str]]:
    """The API call that ``pveum`` makes of a command: its options are the call's parameters."""
    words = shlex.split(command)
    assert words.pop(0) == "pveum"
    name = tuple(words[:3]) if tuple(words[:3]) in PVEUM else tuple(words[:2])
    rest = words[len(name) :]
    method, path, sent = PVEUM[name]
    positions = ("userid", "tokenid") if "token" in name else POSITIONS[name[0]]
    given = dict(zip(positions, rest, strict=False))
    options = rest[len(positions) :]
    values = {key.removeprefix("--"): value for key, value in zip(options[::2], options[1::2], strict=True)}
    return method, path.format(**given), values | {key: given[key] for key in sent}


def commands_of(change: AccessChange) -> list[str]:
    return change.command.split(" 2>/dev/null || ")


@pytest.mark.parametrize("access", [RUN, SETUP], ids=lambda one: one.part)
@pytest.mark.parametrize("case", ["nothing", "other", "new token"])
def test_commands_do_what_the_calls_do(access: Any, case: str) -> None:
    state = {"nothing": NOTHING, "other": OTHER, "new token": done(access)}[case]
    changes = changes_to(access, state, new_token=case == "new token")
    assert changes
    for change in changes:
        wanted = {key: str(value) for key, value in change.call.parameters.items()}
        if change.makes_token:
            del wanted["comment"]
        found = [call_of(one) for one in commands_of(change) if "pool modify" not in one]
        assert (change.call.method, change.call.path, wanted) in found


OTHER = AccessState(
    roles={name: frozenset({"VM.Monitor"}) for name in ("LocalaiRunVms", "LocalaiSetupPool")},
    pools=frozenset({"localai"}),
    users={"localai@pve": False, "localai-setup@pve": False},
    tokens={"localai@pve!localai": False, "localai-setup@pve!localai": False},
    entries=frozenset(
        {
            AclEntry("/pool/localai", "localai@pve", "LocalaiRunVms", propagate=True),
            AclEntry("/", "localai@pve", "PVEAdmin", propagate=True),
            AclEntry("/", "somebody@pam", "PVEAdmin", propagate=True),
        }
    ),
)


def done(access: Any) -> AccessState:
    """The state in which all is as it should be."""
    holders = (access.user, access.token_id)
    return AccessState(
        roles={role.name: frozenset(role.privileges) for role in access.roles},
        pools=frozenset({access.pool} - {""}),
        users={access.user: True},
        tokens={access.token_id: True},
        entries=frozenset(
            AclEntry(grant.path, holder, grant.role.name, grant.propagate)
            for grant in access.grants
            for holder in holders
        ),
    )


@pytest.mark.parametrize("access", [RUN, SETUP], ids=lambda one: one.part)
def test_nothing_to_change(access: Any) -> None:
    assert changes_to(access, done(access)) == ()


def test_differences_are_shown() -> None:
    shown = [(one.shown.name, one.shown.before, one.shown.after) for one in changes_to(RUN, OTHER)]
    assert shown[1] == ("role LocalaiRunVms", "VM.Monitor", VMS_9.replace(",", " "))
    assert ("user localai@pve", "disabled", "enabled") in shown
    assert (
        "token localai@pve!localai",
        "without privilege separation",
        "with privilege separation",
    ) in shown
    assert ("access to /pool/localai", "", "LocalaiRunVms for localai@pve!localai") in shown
    assert not [name for name, *_ in shown if name.startswith("pool")]


def test_an_entry_that_does_not_reach_as_far_is_made_anew() -> None:
    state = done(SETUP)
    wider = frozenset(replace(one, propagate=True) for one in state.entries)
    changes = changes_to(SETUP, replace(state, entries=wider))
    assert [change.call.parameters["path"] for change in changes] == ["/"]
    assert changes[0].call.parameters["propagate"] == 0


def test_what_is_held_beside_is_told() -> None:
    assert [(one.path, one.role) for one in further_entries(RUN, OTHER)] == [("/", "PVEAdmin")]
    assert further_entries(RUN, done(RUN)) == ()


def test_a_new_token_loses_the_entries_of_the_old_one() -> None:
    changes = changes_to(RUN, done(RUN), new_token=True)
    assert [one.call.method for one in changes] == ["delete", "post", *["put"] * 5]
    assert [one.makes_token for one in changes] == [False, True, *[False] * 5]
    assert changes_to(RUN, NOTHING, new_token=True) == changes_to(RUN, NOTHING)


def test_state_of_answers() -> None:
    state = parse_state(
        roles=[{"roleid": "A", "privs": "VM.Audit,VM.Clone", "special": 0}, {"roleid": "B", "privs": ""}],
        pools=[{"poolid": "localai"}],
        users=[{"userid": "a@pve", "enable": 1}, {"userid": "b@pve", "enable": "0"}],
        tokens={"a@pve": [{"tokenid": "t", "privsep": 0, "expire": 0}, {"tokenid": "u"}]},
        acl=[
            {"path": "/", "type": "user", "ugid": "a@pve", "roleid": "A", "propagate": 0},
            {"path": "/vms", "type": "token", "ugid": "a@pve!t", "roleid": "A", "propagate": "1"},
            {"path": "/vms", "type": "group", "ugid": "people", "roleid": "A", "propagate": 1},
        ],
    )
    assert state == AccessState(
        roles={"A": frozenset({"VM.Audit", "VM.Clone"}), "B": frozenset()},
        pools=frozenset({"localai"}),
        users={"a@pve": True, "b@pve": False},
        tokens={"a@pve!t": False, "a@pve!u": True},
        entries=frozenset(
            {
                AclEntry("/", "a@pve", "A", propagate=False),
                AclEntry("/vms", "a@pve!t", "A", propagate=True),
            }
        ),
    )


def test_what_an_administrator_needs() -> None:
    assert {str(need) for need in administrator_needs(SETUP)} == {
        "Sys.Audit on /access",
        "Sys.Modify on /access",
        "User.Modify on /access/groups",
        "Realm.AllocateUser on /access/realm/pve",
        "Permissions.Modify on /",
        "Permissions.Modify on /mapping/pci",
        "Permissions.Modify on /pool/localai",
    }
    assert "Pool.Allocate on /pool/localai" in {str(need) for need in administrator_needs(RUN)}
