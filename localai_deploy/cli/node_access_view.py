"""Rights on a node for people, and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from localai_deploy.cli.output import print_json
from localai_deploy.cli.plan_text import change_text
from localai_deploy.cli.terminal import note, show
from localai_deploy.domain.pve.access import AccessChange
from localai_deploy.domain.pve.access_state import AclEntry
from localai_deploy.domain.pve.permissions import Need
from localai_deploy.domain.pve.roles import TOKEN_NAME, Access


@dataclass
class PartView:
    """One part's rights, what of them is missing, and what became of it.

    :param changes: what differs; when it was not ``seen``, everything.
    :param lacking: what the token lacks in the server's judgement; ``None``: it was not asked.
    :param further: what user and token hold beside it.
    :param secret: of a token that was made just now.
    """

    access: Access
    changes: tuple[AccessChange, ...]
    seen: bool = False
    token_is_there: bool = False
    lacking: tuple[Need, ...] | None = None
    further: tuple[AclEntry, ...] = ()
    applied: bool = False
    secret: str = ""

    def keep_secret(self, secret: str) -> None:
        """No call answers it a second time."""
        self.secret = secret


def change_lines(view: PartView) -> Iterator[str]:
    """What will differ."""
    head = f"{view.access.part}: {view.access.token_id}"
    yield head if view.changes else f"{head}: nothing to change"
    for change in view.changes:
        yield f"  {change_text(change.shown)}"


def print_text(node: str, version: str, views: Sequence[PartView], *, applied: bool) -> None:
    """Lines for a shell: commands to run on the node, or what brings a new token into the environment."""
    for view in views:
        show(f"# {view.access.part}: {view.access.token_id} on node {node}, Proxmox VE {version}")
        for line in _token_lines(view) if applied else _command_lines(view):
            show(line)
        _tell(view)


def _command_lines(view: PartView) -> Iterator[str]:
    if not view.changes:
        yield "# nothing to change"
    for change in view.changes:
        yield change.command


def _token_lines(view: PartView) -> Iterator[str]:
    if view.secret:
        yield "# this secret is shown once"
        yield from export_lines(view)
    elif view.token_is_there:
        yield "# the token is there already; its secret cannot be read again: --new-token makes another"


def export_lines(view: PartView) -> Iterator[str]:
    """What a shell takes to use the new token."""
    values = {
        "PROXMOX_USER": view.access.user,
        "PROXMOX_TOKEN_ID": TOKEN_NAME,
        "PROXMOX_TOKEN_SECRET": view.secret,
    }
    for name, value in values.items():
        yield f"export {name}={shlex.quote(value)}"


def _tell(view: PartView) -> None:
    if view.lacking:
        note(f"{view.access.token_id} lacks: {', '.join(map(str, view.lacking))}")
    elif view.lacking is not None:
        note(f"{view.access.token_id} has what {view.access.part} needs")
    for entry in view.further:
        note(f"warning: {entry.holder} also has {entry.role} on {entry.path}; that is left alone")


def print_document(node: str, version: str, views: Sequence[PartView]) -> None:
    """The same as JSON."""
    print_json("node-permissions", node=node, pve=version, roles=[_data(view) for view in views])


def _data(view: PartView) -> dict[str, Any]:
    access = view.access
    return {
        "role": access.part.value,
        "user": access.user,
        "token": access.token_id,
        "pve_roles": [{"name": one.name, "privileges": list(one.privileges)} for one in access.roles],
        "grants": [
            {"path": one.path, "pve_role": one.role.name, "propagate": one.propagate} for one in access.grants
        ],
        "seen": view.seen,
        "changes": [
            {
                "name": one.shown.name,
                "before": one.shown.before,
                "after": one.shown.after,
                "command": one.command,
            }
            for one in view.changes
        ],
        "applied": view.applied,
        "lacking": None if view.lacking is None else [_need(one) for one in view.lacking],
        "further": [{"path": one.path, "holder": one.holder, "pve_role": one.role} for one in view.further],
        "secret": view.secret or None,
    }


def _need(need: Need) -> dict[str, str]:
    return {"path": need.path, "privilege": need.privilege}
