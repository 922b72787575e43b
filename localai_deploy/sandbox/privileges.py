"""How a table states the privileges that a call needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Anyone:
    """No login needed."""


@dataclass(frozen=True)
class LoggedIn:
    """Any login; the handler may check more."""


@dataclass(frozen=True)
class RootOnly:
    """No declaration: root's own login alone."""


@dataclass(frozen=True)
class On:
    """Privileges on a path; all of them, or any one."""

    path: str
    privileges: tuple[str, ...]
    any: bool = False
    if_param: str | None = None


@dataclass(frozen=True)
class Self:
    """The user in the path is the caller."""


@dataclass(frozen=True)
class RealmOfUser:
    """A privilege on the realm of the user named by the call."""

    privilege: str


@dataclass(frozen=True)
class GroupsOfUser:
    """Any of the privileges on the groups of the user; `groups` says whether the call sets groups."""

    privileges: tuple[str, ...]
    groups: str | None = None


@dataclass(frozen=True)
class ModifyPermissions:
    """The right to change the access list of a path."""

    path: str


@dataclass(frozen=True)
class Every:
    """All of the checks."""

    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Either:
    """One of the checks."""

    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Since:
    """One check before a release and another from it on."""

    major: int
    before: Check
    after: Check


Check = (
    Anyone
    | LoggedIn
    | RootOnly
    | On
    | Self
    | RealmOfUser
    | GroupsOfUser
    | ModifyPermissions
    | Every
    | Either
    | Since
)


def on(path: str, *privileges: str) -> On:
    """All of these privileges on the path."""
    return On(path, privileges)


def any_on(path: str, *privileges: str) -> On:
    """Any of these privileges on the path."""
    return On(path, privileges, any=True)


def of_release(check: Check, major: int) -> Check:
    """The check as one release has it."""
    if isinstance(check, Since):
        return of_release(check.after if major >= check.major else check.before, major)
    if isinstance(check, Every):
        return Every(tuple(of_release(part, major) for part in check.checks))
    if isinstance(check, Either):
        return Either(tuple(of_release(part, major) for part in check.checks))
    return check
