"""From an access control as it is to one with the rights that are wanted: what differs, and how to change it.

Each change is one call of the API and one ``pveum`` command, which do the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from localai_deploy.domain.plan import Change
from localai_deploy.domain.pve.access_state import AccessState, AclEntry
from localai_deploy.domain.pve.permissions import Need
from localai_deploy.domain.pve.roles import TOKEN_NAME, Access, Grant, PveRole

POOL_COMMENT = "VMs of localai-deploy"
USER_COMMENT = "localai-deploy"
_SEPARATED = "privilege separation"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A call; ``path`` as the client takes it."""

    method: str
    path: str
    parameters: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccessChange:
    """One change: how it is shown, how the API makes it, how an administrator types it.

    :param makes_token: the answer holds a new token's secret, once.
    """

    shown: Change
    call: ApiCall
    command: str
    makes_token: bool = False


def changes_to(access: Access, state: AccessState, *, new_token: bool = False) -> tuple[AccessChange, ...]:
    """What is to be done, in an order in which each step finds what it builds on.

    :param new_token: take an existing token away and make it anew, with another secret.
    """
    replaced = new_token and access.token_id in state.tokens
    removal = (_token_removal(access),) if replaced else ()
    if replaced:
        state = state.without_token(access.token_id)
    return (
        *(change for role in access.roles for change in _role_changes(role, state)),
        *(_pool_changes(access, state)),
        *(_user_changes(access, state)),
        *removal,
        *(_token_changes(access, state)),
        *(change for grant in access.grants for change in _grant_changes(access, grant, state)),
    )


def _role_changes(role: PveRole, state: AccessState) -> Iterator[AccessChange]:
    held, wanted = state.roles.get(role.name), frozenset(role.privileges)
    if held == wanted:
        return
    listed = ",".join(role.privileges)
    yield AccessChange(
        Change(f"role {role.name}", " ".join(sorted(held or ())), " ".join(role.privileges)),
        ApiCall("post", "access/roles", {"roleid": role.name, "privs": listed})
        if held is None
        else ApiCall("put", f"access/roles/{role.name}", {"privs": listed}),
        _either(f"role add {role.name} --privs {listed}", f"role modify {role.name} --privs {listed}"),
    )


def _pool_changes(access: Access, state: AccessState) -> Iterator[AccessChange]:
    if not access.pool or access.pool in state.pools:
        return
    words = f"{access.pool} --comment {shlex.quote(POOL_COMMENT)}"
    yield AccessChange(
        Change(f"pool {access.pool}", "", "made"),
        ApiCall("post", "pools", {"poolid": access.pool, "comment": POOL_COMMENT}),
        _either(f"pool add {words}", f"pool modify {words}"),
    )


def _user_changes(access: Access, state: AccessState) -> Iterator[AccessChange]:
    user = access.user
    command = _either(f"user add {user} --comment {USER_COMMENT}", f"user modify {user} --enable 1")
    if user not in state.users:
        call = ApiCall("post", "access/users", {"userid": user, "comment": USER_COMMENT})
        yield AccessChange(Change(f"user {user}", "", "made, without a password"), call, command)
    elif not state.users[user]:
        call = ApiCall("put", f"access/users/{user}", {"enable": 1})
        yield AccessChange(Change(f"user {user}", "disabled", "enabled"), call, command)


def _token_removal(access: Access) -> AccessChange:
    return AccessChange(
        Change(f"token {access.token_id}", "its secret holds", "removed: its secret holds no more"),
        ApiCall("delete", _token_path(access)),
        f"pveum user token remove {access.user} {TOKEN_NAME}",
    )


def _token_changes(access: Access, state: AccessState) -> Iterator[AccessChange]:
    words = f"{access.user} {TOKEN_NAME} --privsep 1"
    command = _either(f"user token add {words}", f"user token modify {words}")
    name = f"token {access.token_id}"
    if access.token_id not in state.tokens:
        call = ApiCall("post", _token_path(access), {"privsep": 1, "comment": USER_COMMENT})
        yield AccessChange(Change(name, "", f"made, with {_SEPARATED}"), call, command, makes_token=True)
    elif not state.tokens[access.token_id]:
        call = ApiCall("put", _token_path(access), {"privsep": 1})
        yield AccessChange(Change(name, f"without {_SEPARATED}", f"with {_SEPARATED}"), call, command)


def _token_path(access: Access) -> str:
    return f"access/users/{access.user}/token/{TOKEN_NAME}"


def _grant_changes(access: Access, grant: Grant, state: AccessState) -> Iterator[AccessChange]:
    """Both holders in one call: what a token has and its user has not does not hold."""
    holders = (access.user, access.token_id)
    entries = {AclEntry(grant.path, holder, grant.role.name, grant.propagate) for holder in holders}
    lacking = sorted(one.holder for one in entries - state.entries)
    if not lacking:
        return
    users = [one for one in lacking if one == access.user]
    tokens = [one for one in lacking if one == access.token_id]
    given = {"users": ",".join(users), "tokens": ",".join(tokens)}
    parameters = {name: value for name, value in given.items() if value}
    words = " ".join(f"--{name} {shlex.quote(value)}" for name, value in parameters.items())
    propagate = int(grant.propagate)
    yield AccessChange(
        Change(f"access to {grant.path}", "", f"{grant.role.name} for {' and '.join(lacking)}"),
        ApiCall(
            "put",
            "access/acl",
            {"path": grant.path, "roles": grant.role.name, "propagate": propagate, **parameters},
        ),
        f"pveum acl modify {grant.path} --roles {grant.role.name} --propagate {propagate} {words}",
    )


def _either(add: str, modify: str) -> str:
    """A command that can be given again."""
    return f"pveum {add} 2>/dev/null || pveum {modify}"


def further_entries(access: Access, state: AccessState) -> tuple[AclEntry, ...]:
    """What user and token hold beside it: not ours to take away, but it may reach further than is meant."""
    ours = {(grant.path, grant.role.name) for grant in access.grants}
    return tuple(
        sorted(
            (
                one
                for one in state.entries
                if one.holder in {access.user, access.token_id} and (one.path, one.role) not in ours
            ),
            key=lambda one: (one.path, one.holder, one.role),
        )
    )


def administrator_needs(access: Access) -> tuple[Need, ...]:
    """What it takes to see the state as a whole and to change it."""
    realm = access.user.partition("@")[2]
    return (
        Need("/access", "Sys.Audit"),
        Need("/access", "Sys.Modify"),
        Need("/access/groups", "User.Modify"),
        Need(f"/access/realm/{realm}", "Realm.AllocateUser"),
        *((Need(f"/pool/{access.pool}", "Pool.Allocate"),) if access.pool else ()),
        *(Need(grant.path, "Permissions.Modify") for grant in access.grants),
    )
