"""Apply rights through the API: look first, change only what differs, read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from localai_deploy.domain.pve.access import AccessChange, administrator_needs, changes_to
from localai_deploy.domain.pve.access_state import AccessState, parse_state
from localai_deploy.domain.pve.permissions import Need, Permissions, missing_needs
from localai_deploy.domain.pve.roles import Access
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.client import PveClient

OnChange = Callable[[AccessChange], None]
OnSecret = Callable[[str], None]
"""Takes a new token's secret, which no call answers a second time."""


def may_administer(client: PveClient, access: Access) -> bool:
    """Whether the caller sees the access control as a whole and may change it."""
    return not _missing(client, administrator_needs(access))


def require_administrator(client: PveClient, access: Access) -> None:
    """Refuse before anything is changed.

    :raises LocalaiError: ``pve-not-administrator``, with what is missing.
    """
    missing = _missing(client, administrator_needs(access))
    if missing:
        token = client.connection.token
        raise LocalaiError(
            "pve-not-administrator",
            f"token {token.user}!{token.name} may not hand out rights on {client.connection.host}",
            why="\n".join(f"missing: {need}" for need in missing),
            hint=(
                "use an administrator's token, such as one of root@pam without privilege separation,\n"
                "or let an administrator run the commands that node permissions prints without --apply"
            ),
        )


def _missing(client: PveClient, needs: Iterable[Need], token_id: str = "") -> tuple[Need, ...]:
    listed = tuple(needs)
    return missing_needs(listed, effective_permissions(client, {need.path for need in listed}, token_id))


def effective_permissions(client: PveClient, paths: Iterable[str], token_id: str = "") -> Permissions:
    """What the server itself works out for the paths, group and pool rules included.

    :param token_id: of another's token, which takes ``Sys.Audit`` on ``/access``; empty: the caller's own.
    """
    found: dict[str, dict[str, int]] = {}
    for path in sorted(paths):
        answer = client.get("access/permissions", path=path, userid=token_id or None)
        found[path] = dict((answer or {}).get(path, {}))
    return found


def read_state(client: PveClient, access: Access) -> AccessState:
    """What is there of roles, pools, users, the user's tokens, and the access list."""
    users = client.get("access/users")
    there = any(str(one["userid"]) == access.user for one in users)
    tokens = {access.user: client.get(f"access/users/{access.user}/token")} if there else {}
    return parse_state(
        roles=client.get("access/roles"),
        pools=client.get("pools"),
        users=users,
        tokens=tokens,
        acl=client.get("access/acl"),
    )


def apply_changes(
    client: PveClient,
    access: Access,
    changes: Sequence[AccessChange],
    *,
    on_change: OnChange,
    on_secret: OnSecret,
) -> None:
    """Make the changes one by one, then read everything back.

    :raises LocalaiError: exit 5 from the second change on, for the first ones hold;
        ``pve-readback-failed``.
    """
    for number, change in enumerate(changes):
        on_change(change)
        try:
            answer = getattr(client, change.call.method)(change.call.path, **change.call.parameters)
        except LocalaiError as error:
            if number:
                error.exit_code = ExitCode.PARTIAL
            raise
        if change.makes_token:
            on_secret(str(answer["value"]))
    _read_back(client, access)


def _read_back(client: PveClient, access: Access) -> None:
    left = [change.shown.name for change in changes_to(access, read_state(client, access))]
    lacking = [str(need) for need in lacking_rights(client, access)]
    if left or lacking:
        raise LocalaiError(
            "pve-readback-failed",
            f"token {access.token_id} does not have what was granted to it",
            why="; ".join([*left, *(f"the server does not give it {one}" for one in lacking)]),
            hint="an entry of the access list further down, or one with NoAccess, may take it away again",
            exit_code=ExitCode.PARTIAL,
        )


def lacking_rights(client: PveClient, access: Access) -> tuple[Need, ...]:
    """What the part's token lacks of its rights, in the server's own judgement."""
    own = client.connection.token
    asked = "" if f"{own.user}!{own.name}" == access.token_id else access.token_id
    return _missing(client, access.needs, asked)
