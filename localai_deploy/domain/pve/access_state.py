"""Roles, users, tokens and access list of a cluster, as its API tells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class AclEntry:
    """One role of one holder (a user, or a token by its full id) on one path."""

    path: str
    holder: str
    role: str
    propagate: bool


@dataclass(frozen=True, slots=True)
class AccessState:
    """What a cluster has now.

    :param users: id → whether it is enabled.
    :param tokens: full id → whether it has rights of its own (privilege separation).
    """

    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    pools: frozenset[str] = frozenset()
    users: Mapping[str, bool] = field(default_factory=dict)
    tokens: Mapping[str, bool] = field(default_factory=dict)
    entries: frozenset[AclEntry] = frozenset()

    def without_token(self, token_id: str) -> AccessState:
        """The state after the token was removed: its entries go with it."""
        tokens = {name: separated for name, separated in self.tokens.items() if name != token_id}
        return replace(
            self, tokens=tokens, entries=frozenset(one for one in self.entries if one.holder != token_id)
        )


NOTHING = AccessState()
"""A cluster of which nothing is known: every change is made."""


def parse_state(
    *,
    roles: Iterable[Mapping[str, Any]],
    pools: Iterable[Mapping[str, Any]],
    users: Iterable[Mapping[str, Any]],
    tokens: Mapping[str, Iterable[Mapping[str, Any]]],
    acl: Iterable[Mapping[str, Any]],
) -> AccessState:
    """Read what the API answers.

    :param tokens: user → ``GET /access/users/USER/token``.
    """
    return AccessState(
        roles={str(one["roleid"]): _privileges(one) for one in roles},
        pools=frozenset(str(one["poolid"]) for one in pools),
        users={str(one["userid"]): bool(int(one.get("enable", 1))) for one in users},
        tokens={
            f"{user}!{one['tokenid']}": bool(int(one.get("privsep", 1)))
            for user, listed in tokens.items()
            for one in listed
        },
        entries=frozenset(
            AclEntry(
                str(one["path"]), str(one["ugid"]), str(one["roleid"]), bool(int(one.get("propagate", 1)))
            )
            for one in acl
            if one.get("type") in {"user", "token"}
        ),
    )


def _privileges(role: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(str(role.get("privs") or "").split(",")) - {""}
