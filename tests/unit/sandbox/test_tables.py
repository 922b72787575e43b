"""The node's tables held against the servers' own schema, path by path and parameter by parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.sandbox.calls import ENDPOINTS
from localai_deploy.sandbox.endpoint import Endpoint
from localai_deploy.sandbox.parameter import Param, Table, of_release
from localai_deploy.sandbox.privileges import (
    Anyone,
    Check,
    Either,
    Every,
    GroupsOfUser,
    LoggedIn,
    ModifyPermissions,
    On,
    RealmOfUser,
    RootOnly,
    Self,
)
from localai_deploy.sandbox.privileges import of_release as check_of

SHARED = Path(__file__).parents[4] / "shared" / "data"
SCHEMAS = {8: SHARED / "pve-api-8.4.21.json", 9: SHARED / "pve-api-9.2.11.json"}
pytestmark = pytest.mark.skipif(not SCHEMAS[9].exists(), reason="the servers' schema files are not here")

# The schema files were trimmed of every key called "description", parameters of that name included.
TRIMMED = {"description"}
# Property strings that the schema names only by their format.
NAMED_ONLY = {
    "pve-qm-boot",
    "pve-qm-cicustom",
    "pve-vm-cpu-conf",
    "pve-qm-hostpci",
    "pve-qm-ipconfig",
    "pve-qm-smbios1",
}
# Subsets: types of storage other than a directory need options that the node does not have.
PARTIAL = {"POST /storage", "PUT /storage/{storage}"}

# Not in the schema files, which were cut to the calls about VMs: inventories of others ask for containers.
UNSEEN = {"GET /nodes/{node}/lxc"}


def schema(major: int) -> dict[str, Any]:
    return json.loads(SCHEMAS[major].read_text())


CASES = [
    pytest.param(major, endpoint, id=f"{major}-{endpoint.key}")
    for major in (8, 9)
    for endpoint in ENDPOINTS
    if endpoint.since <= major and endpoint.key not in UNSEEN
]


@pytest.fixture(scope="module")
def schemas() -> dict[int, dict[str, Any]]:
    return {major: schema(major) for major in SCHEMAS}


@pytest.mark.parametrize(("major", "endpoint"), CASES)
def test_parameters_agree(major: int, endpoint: Endpoint, schemas: dict[int, dict[str, Any]]) -> None:
    entry = schemas[major][endpoint.key]
    theirs = entry["parameters"].get("properties", {})
    mine = of_release(endpoint.params, major)
    names = {row.name for row in mine}
    assert len(names) == len(mine)
    assert names - set(theirs) <= TRIMMED
    if endpoint.key not in PARTIAL:
        assert set(theirs) - names == set()
    for row in mine:
        if row.name in theirs:
            assert differences(row, theirs[row.name], major) == []


@pytest.mark.parametrize(("major", "endpoint"), CASES)
def test_privileges_agree(major: int, endpoint: Endpoint, schemas: dict[int, dict[str, Any]]) -> None:
    stated = schemas[major][endpoint.key].get("permissions")
    assert as_stated(check_of(endpoint.check, major)) == simplified(stated)


def test_proxied_calls_agree(schemas: dict[int, dict[str, Any]]) -> None:
    for endpoint in (one for one in ENDPOINTS if one.key not in UNSEEN):
        entry = schemas[9].get(endpoint.key)
        assert entry is not None
        assert endpoint.proxied == (entry.get("proxyto") == "node" or "{storage}/status" in endpoint.path), (
            endpoint.key
        )


def differences(row: Param, theirs: dict[str, Any], major: int) -> list[str]:
    found = []
    if "alias" in theirs or row.alias:
        return (
            [] if theirs.get("alias") == row.alias and theirs.get("keyAlias") == row.key_alias else ["alias"]
        )
    checks = {
        "type": (row.type, theirs.get("type", "string")),
        "optional": (row.optional, bool(theirs.get("optional"))),
        "enum": (list(row.enum), list(theirs.get("enum") or [])),
        "minimum": (row.minimum, bound(theirs.get("minimum"))),
        "maximum": (row.maximum, bound(theirs.get("maximum"))),
        "requires": (row.requires, theirs.get("requires")),
    }
    found += [
        f"{row.name} {name}: {mine} != {other}" for name, (mine, other) in checks.items() if mine != other
    ]
    found += string_differences(row, theirs)
    inner = theirs.get("format")
    if isinstance(inner, dict):
        found += key_differences(row.name, row.properties, inner, major)
    if row.items is not None and isinstance(theirs["items"].get("format"), dict):
        found += key_differences(row.name, row.items.properties, theirs["items"]["format"], major)
    return found


def string_differences(row: Param, theirs: dict[str, Any]) -> list[str]:
    found = []
    if bool(row.pattern) != bool(theirs.get("pattern")):
        found.append(f"{row.name} pattern")
    if (
        row.name not in {"description"}
        and "maxLength" in theirs
        and not row.properties
        and row.max_length != theirs["maxLength"]
    ):
        found.append(f"{row.name} maxLength")
    stated = theirs.get("format")
    if isinstance(stated, str) and row.format != stated and stated not in NAMED_ONLY:
        found.append(f"{row.name} format: {row.format} != {stated}")
    return found


def key_differences(name: str, rows: Table, theirs: dict[str, Any], major: int) -> list[str]:
    mine = {row.name: row for row in of_release(rows, major)}
    found = [f"{name}: unknown key {key}" for key in set(mine) - set(theirs)]
    found += [f"{name}: key {key} is missing" for key in set(theirs) - set(mine)]
    for key in set(mine) & set(theirs):
        found += [f"{name}.{text}" for text in differences(mine[key], theirs[key], major)]
        if bool(theirs[key].get("default_key")) != mine[key].default_key:
            found.append(f"{name}.{key} default key")
    return found


def bound(value: Any) -> float | None:
    return None if value is None else float(value)


def simplified(stated: Any) -> Any:
    if stated is None:
        return None
    if "user" in stated:
        return ["user", stated["user"]]
    return normal(stated["check"])


def normal(check: list[Any]) -> Any:
    if check[0] in {"and", "or"}:
        return [check[0], *map(normal, check[1:])]
    if check[0] == "perm":
        options = dict(zip(check[3::2], check[4::2], strict=True))
        privileges = list(dict.fromkeys(check[2]))
        return [
            "perm",
            check[1],
            privileges,
            bool(options.get("any")) and len(privileges) > 1,
            options.get("require_param"),
        ]
    return check


def as_stated(check: Check) -> Any:  # noqa: C901
    match check:
        case Anyone():
            return ["user", "world"]
        case LoggedIn():
            return ["user", "all"]
        case RootOnly():
            return None
        case On():
            return [
                "perm",
                check.path,
                list(check.privileges),
                check.any and len(check.privileges) > 1,
                check.if_param,
            ]
        case Self():
            return ["userid-param", "self"]
        case RealmOfUser():
            return ["userid-param", check.privilege]
        case GroupsOfUser():
            return [
                "userid-group",
                list(check.privileges),
                *(["groups_param", check.groups] if check.groups else []),
            ]
        case ModifyPermissions():
            return ["perm-modify", check.path]
        case Every():
            return ["and", *map(as_stated, check.checks)]
        case Either():
            return ["or", *map(as_stated, check.checks)]
    raise AssertionError(check)
