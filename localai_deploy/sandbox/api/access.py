"""Version, tickets, users, roles, access rules and the caller's own permissions."""

from __future__ import annotations

import re
from typing import Any

from localai_deploy.sandbox.answers import ApiError, died
from localai_deploy.sandbox.authorization import Authorization
from localai_deploy.sandbox.permissions import check_acl_path, normal_path
from localai_deploy.sandbox.privileges import ModifyPermissions
from localai_deploy.sandbox.release import builtin_roles
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import AclEntry, User

_FIELDS = ("comment", "email", "expire", "firstname", "keys", "lastname")


def split_list(value: str | None) -> list[str]:
    """Items of a list as the API writes them: commas, semicolons or blanks between."""
    return [item for item in re.split(r"[,;\s\0]+", value or "") if item]


def version(call: Call) -> dict[str, str]:
    """Answer GET /version."""
    release = call.cluster.release
    return {"version": release.version, "release": release.short, "repoid": release.repoid}


def create_ticket(call: Call) -> dict[str, Any]:
    """Answer POST /access/ticket."""
    name = call.values["username"]
    if call.values.get("realm"):
        name = f"{name}@{call.values['realm']}"
    try:
        user = call.site.authentication.log_in(name, call.values["password"])
    except ApiError:
        call.site.pace.sleep(3)
        raise
    return {
        "username": user,
        "ticket": call.site.authentication.ticket(user),
        "CSRFPreventionToken": call.site.authentication.csrf_token(user),
        "cap": call.permissions.capabilities(user),
    }


def permissions(call: Call) -> dict[str, dict[str, int]]:
    """Answer GET /access/permissions."""
    userid = call.values.get("userid", call.who.name)
    if userid != call.who.name:
        call.permissions.need(call.who, "/access", "Sys.Audit")
    if "path" in call.values:
        path = normal_path(call.values["path"]) or ""
        return {path: call.permissions.of(userid, path)}
    return call.permissions.effective(userid)


def list_roles(call: Call) -> list[dict[str, Any]]:
    """Answer GET /access/roles."""
    return [
        {
            "roleid": name,
            "privs": ",".join(sorted(held)),
            "special": int(name not in call.cluster.custom_roles),
        }
        for name, held in sorted(call.cluster.roles.items())
    ]


def get_role(call: Call) -> dict[str, int]:
    """Answer GET /access/roles/{roleid}."""
    held = call.cluster.roles.get(call.values["roleid"])
    if held is None:
        raise died(f"role '{call.values['roleid']}' does not exist")
    return dict.fromkeys(sorted(held), 1)


def create_role(call: Call) -> None:
    """Answer POST /access/roles."""
    name = call.values["roleid"]
    with call.cluster.lock:
        if name in call.cluster.roles:
            raise died(f"create role failed: role '{name}' already exists")
        call.cluster.roles[name] = frozenset(split_list(call.values.get("privs")))
        call.cluster.custom_roles.add(name)


def update_role(call: Call) -> None:
    """Answer PUT /access/roles/{roleid}."""
    name = call.values["roleid"]
    with call.cluster.lock:
        _own_role(call, name, "update")
        kept = call.cluster.roles[name] if call.values.get("append") else frozenset[str]()
        call.cluster.roles[name] = kept | frozenset(split_list(call.values.get("privs")))


def delete_role(call: Call) -> None:
    """Answer DELETE /access/roles/{roleid}."""
    name = call.values["roleid"]
    with call.cluster.lock:
        _own_role(call, name, "delete")
        del call.cluster.roles[name]
        call.cluster.acl = [entry for entry in call.cluster.acl if entry.role != name]


def _own_role(call: Call, name: str, verb: str) -> None:
    if name not in call.cluster.roles:
        raise died(f"{verb} role failed: role '{name}' does not exist")
    if name in builtin_roles(call.cluster.release):
        raise died(f"{verb} role failed: auto-generated role '{name}' cannot be modified")


def list_acl(call: Call) -> list[dict[str, Any]]:
    """Answer GET /access/acl."""
    sees_all = call.permissions.has_any(call.who, "/access", ("Sys.Audit", "Permissions.Modify"))
    return [
        {"path": e.path, "type": e.kind, "ugid": e.who, "roleid": e.role, "propagate": e.propagate}
        for e in call.cluster.acl
        if sees_all or _may_modify(call, e.path)
    ]


def _may_modify(call: Call, path: str) -> bool:
    try:
        Authorization(call.permissions, call.who, {"path": path}).decide(ModifyPermissions("{path}"))
    except ApiError:
        return False
    return True


def update_acl(call: Call) -> None:
    """Answer PUT /access/acl."""
    if not any(call.values.get(kind) for kind in ("users", "groups", "tokens")):
        raise ApiError(
            400,
            "Parameter verification failed.",
            errors=dict.fromkeys(("users", "groups", "tokens"), "property is missing and it is not optional"),
        )
    path = check_acl_path(call.values["path"], call.major)
    with call.cluster.lock:
        for role in split_list(call.values["roles"]):
            if role not in call.cluster.roles:
                raise died(f"ACL update failed: role '{role}' does not exist")
            for kind in ("group", "user", "token"):
                for who in split_list(call.values.get(f"{kind}s")):
                    _set_entry(call, AclEntry(path, kind, who, role, call.values.get("propagate", 1)))


def _set_entry(call: Call, entry: AclEntry) -> None:
    user, _, token = entry.who.partition("!")
    known = call.cluster.groups if entry.kind == "group" else call.cluster.users
    if entry.kind == "token" and (user not in known or token not in call.cluster.users[user].tokens):
        raise died(f"ACL update failed: no such token '{token}' for user '{user}'")
    if entry.kind != "token" and entry.who not in known:
        raise died(f"ACL update failed: {entry.kind} '{entry.who}' does not exist")
    same = (entry.path, entry.kind, entry.who, entry.role)
    call.cluster.acl = [e for e in call.cluster.acl if (e.path, e.kind, e.who, e.role) != same]
    if not call.values.get("delete"):
        call.cluster.acl.append(entry)


def list_users(call: Call) -> list[dict[str, Any]]:
    """Answer GET /access/users."""
    sees_all = call.permissions.has_any(call.who, "/access/groups", ("User.Modify", "Sys.Audit"))
    return [
        {"userid": user.userid, **_user_fields(user)}
        for user in call.cluster.users.values()
        if (sees_all or user.userid == call.who.user)
        and call.values.get("enabled", user.enable) == user.enable
    ]


def _user_fields(user: User) -> dict[str, Any]:
    return {"enable": user.enable, "expire": 0, "realm-type": user.userid.rpartition("@")[2], **user.details}


def get_user(call: Call) -> dict[str, Any]:
    """Answer GET /access/users/{userid}."""
    user = call.cluster.users[call.values["userid"]]
    groups = sorted(name for name, members in call.cluster.groups.items() if user.userid in members)
    tokens = {name: {"privsep": token.privsep, "expire": token.expire} for name, token in user.tokens.items()}
    return {"enable": user.enable, "groups": groups, "tokens": tokens, **user.details}


def create_user(call: Call) -> None:
    """Answer POST /access/users."""
    userid = call.values["userid"]
    with call.cluster.lock:
        if userid in call.cluster.users:
            raise died(f"create user failed: user '{userid}' already exists")
        user = User(userid, call.values.get("password"), call.values.get("enable", 1))
        user.details = {key: call.values[key] for key in _FIELDS if key in call.values}
        call.cluster.users[userid] = user
        _join_groups(call, userid)


def update_user(call: Call) -> None:
    """Answer PUT /access/users/{userid}."""
    with call.cluster.lock:
        user = call.cluster.users[call.values["userid"]]
        user.enable = call.values.get("enable", user.enable)
        user.details |= {key: call.values[key] for key in _FIELDS if key in call.values}
        _join_groups(call, user.userid)


def _join_groups(call: Call, userid: str) -> None:
    for group in split_list(call.values.get("groups")):
        call.cluster.groups.setdefault(group, set()).add(userid)


def delete_user(call: Call) -> None:
    """Answer DELETE /access/users/{userid}."""
    userid = call.values["userid"]
    with call.cluster.lock:
        if userid not in call.cluster.users:
            raise died(f"delete user failed: user '{userid}' does not exist")
        del call.cluster.users[userid]
        call.cluster.acl = [e for e in call.cluster.acl if e.who.partition("!")[0] != userid]


HANDLERS: dict[str, Handler] = {
    "GET /version": version,
    "GET /access/ticket": lambda call: None,  # noqa: ARG005
    "POST /access/ticket": create_ticket,
    "GET /access/permissions": permissions,
    "GET /access/roles": list_roles,
    "POST /access/roles": create_role,
    "GET /access/roles/{roleid}": get_role,
    "PUT /access/roles/{roleid}": update_role,
    "DELETE /access/roles/{roleid}": delete_role,
    "GET /access/acl": list_acl,
    "PUT /access/acl": update_acl,
    "GET /access/users": list_users,
    "POST /access/users": create_user,
    "GET /access/users/{userid}": get_user,
    "PUT /access/users/{userid}": update_user,
    "DELETE /access/users/{userid}": delete_user,
}
