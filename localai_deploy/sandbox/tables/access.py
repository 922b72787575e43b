"""Calls below /access, /pools and /version."""

from __future__ import annotations

from localai_deploy.sandbox.endpoint import Endpoint
from localai_deploy.sandbox.parameter import Table, flag, integer, required, text
from localai_deploy.sandbox.privileges import (
    Anyone,
    Either,
    Every,
    GroupsOfUser,
    LoggedIn,
    ModifyPermissions,
    RealmOfUser,
    Self,
    on,
)

USER = required(text("userid", "pve-userid", max_length=64))
ROLE = required(text("roleid", "pve-roleid"))
POOL = required(text("poolid", "pve-poolid"))
OWN_NAME = r"[A-Za-z][A-Za-z0-9.\-_]+"
TOKEN = required(text("tokenid", pattern=OWN_NAME))
_USER_FIELDS: Table = (
    text("comment", max_length=2048),
    text("email", "email-opt", max_length=254),
    flag("enable"),
    integer("expire", 0),
    text("firstname", max_length=1024),
    text("groups", "pve-groupid-list"),
    text("keys", pattern=r"[0-9a-zA-Z!=]{0,4096}"),
    text("lastname", max_length=1024),
)
_TOKEN_FIELDS: Table = (text("comment"), integer("expire", 0), flag("privsep"))
_POOL_FIELDS: Table = (
    flag("allow-move", since=8),
    text("comment"),
    flag("delete"),
    text("storage", "pve-storage-id-list"),
    text("vms", "pve-vmid-list"),
)
_MODIFY = GroupsOfUser(("User.Modify",))
_OWN_TOKENS = Either((Self(), _MODIFY))
_ROLES = on("/access", "Sys.Modify")
_POOLS = on("/pool/{poolid}", "Pool.Allocate")

ENDPOINTS = (
    Endpoint("GET", "/version", LoggedIn()),
    Endpoint("GET", "/access/acl", LoggedIn()),
    Endpoint(
        "PUT",
        "/access/acl",
        ModifyPermissions("{path}"),
        (
            flag("delete"),
            text("groups", "pve-groupid-list"),
            required(text("path")),
            flag("propagate"),
            required(text("roles", "pve-roleid-list")),
            text("tokens", "pve-tokenid-list"),
            text("users", "pve-userid-list"),
        ),
    ),
    Endpoint(
        "GET",
        "/access/permissions",
        LoggedIn(),
        (text("path"), text("userid", pattern=rf"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+(?:!{OWN_NAME})?")),
    ),
    Endpoint("GET", "/access/roles", LoggedIn()),
    Endpoint("POST", "/access/roles", _ROLES, (text("privs", "pve-priv-list"), ROLE)),
    Endpoint("GET", "/access/roles/{roleid}", LoggedIn(), (ROLE,)),
    Endpoint(
        "PUT",
        "/access/roles/{roleid}",
        _ROLES,
        (flag("append", requires="privs"), text("privs", "pve-priv-list"), ROLE),
    ),
    Endpoint("DELETE", "/access/roles/{roleid}", _ROLES, (ROLE,)),
    Endpoint("GET", "/access/ticket", Anyone()),
    Endpoint(
        "POST",
        "/access/ticket",
        Anyone(),
        (
            flag("new-format"),
            text("otp"),
            required(text("password")),
            text("path", max_length=64, requires="privs"),
            text("privs", "pve-priv-list", max_length=64, requires="path"),
            text("realm", "pve-realm", max_length=32),
            text("tfa-challenge"),
            required(text("username", max_length=64)),
        ),
    ),
    Endpoint("GET", "/access/users", LoggedIn(), (flag("enabled"), flag("full"))),
    Endpoint(
        "POST",
        "/access/users",
        Every((RealmOfUser("Realm.AllocateUser"), GroupsOfUser(("User.Modify",), "create"))),
        (*_USER_FIELDS, text("password", max_length=64), USER),
    ),
    Endpoint("GET", "/access/users/{userid}", GroupsOfUser(("User.Modify", "Sys.Audit")), (USER,)),
    Endpoint(
        "PUT",
        "/access/users/{userid}",
        GroupsOfUser(("User.Modify",), "update"),
        (*_USER_FIELDS, flag("append", requires="groups"), USER),
    ),
    Endpoint(
        "DELETE", "/access/users/{userid}", Every((RealmOfUser("Realm.AllocateUser"), _MODIFY)), (USER,)
    ),
    Endpoint("GET", "/access/users/{userid}/token", _OWN_TOKENS, (USER,)),
    Endpoint("GET", "/access/users/{userid}/token/{tokenid}", _OWN_TOKENS, (TOKEN, USER)),
    Endpoint("POST", "/access/users/{userid}/token/{tokenid}", _OWN_TOKENS, (*_TOKEN_FIELDS, TOKEN, USER)),
    Endpoint(
        "PUT",
        "/access/users/{userid}/token/{tokenid}",
        _OWN_TOKENS,
        (
            *_TOKEN_FIELDS,
            text("delete", "pve-configid-list", since=9),
            flag("regenerate", since=9),
            TOKEN,
            USER,
        ),
    ),
    Endpoint("DELETE", "/access/users/{userid}/token/{tokenid}", _OWN_TOKENS, (TOKEN, USER)),
    Endpoint(
        "GET",
        "/pools",
        LoggedIn(),
        (text("poolid", "pve-poolid"), text("type", enum="qemu lxc storage", requires="poolid")),
    ),
    Endpoint("POST", "/pools", _POOLS, (text("comment"), POOL)),
    Endpoint("PUT", "/pools", _POOLS, (*_POOL_FIELDS, POOL), since=8),
    Endpoint("DELETE", "/pools", _POOLS, (POOL,), since=8),
    Endpoint(
        "GET",
        "/pools/{poolid}",
        on("/pool/{poolid}", "Pool.Audit"),
        (POOL, text("type", enum="qemu lxc storage")),
    ),
    Endpoint("PUT", "/pools/{poolid}", _POOLS, (*_POOL_FIELDS, POOL)),
    Endpoint("DELETE", "/pools/{poolid}", _POOLS, (POOL,)),
)
