"""``node``: what a Proxmox node needs to be given."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from localai_deploy.cli.node_access_view import (
    PartView,
    change_lines,
    export_lines,
    print_document,
    print_text,
)
from localai_deploy.cli.node_check import check
from localai_deploy.cli.node_prepare import prepare
from localai_deploy.cli.options import node_from, node_options, require_consent, yes_option
from localai_deploy.cli.progress import say
from localai_deploy.cli.terminal import note, show
from localai_deploy.domain.pve.access import changes_to, further_entries
from localai_deploy.domain.pve.access_state import NOTHING
from localai_deploy.domain.pve.credentials import NodeConnection, parse_token
from localai_deploy.domain.pve.roles import USER, Access, Part, run_access, setup_access
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.sandbox_record import NODE as SANDBOX

if TYPE_CHECKING:
    from localai_deploy.proxmox.client import PveClient

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_USER = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z][A-Za-z0-9_.-]*")


def _matching(pattern: re.Pattern[str], expected: str) -> Any:  # noqa: ANN401 - click's callback
    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        del context, parameter
        if value and not pattern.fullmatch(value):
            raise click.BadParameter(f"{value!r} is not {expected}.")
        return value

    return check


_name = _matching(_NAME, "a name: letters, digits and . _ -, beginning with a letter")


@click.group(epilog="Example: localai-deploy node permissions pve1 --pve 9")
def node() -> None:
    """Give a Proxmox node what our VMs need."""


node.add_command(check)
node.add_command(prepare)


@node.command(
    short_help="Print or apply the least rights that we need.",
    epilog="Example: localai-deploy node permissions pve1 --apply",
)
@click.argument("node_name", metavar="N", callback=_name)
@click.option(
    "--role",
    type=click.Choice([*(one.value for one in Part), "both"]),
    default=Part.RUN.value,
    show_default=True,
    help="run: day to day; setup: once, to make our pool and resource mappings of hardware.",
)
@click.option("--pve", type=click.Choice(["8", "9"]), help="Print for this version; the node is not asked.")
@click.option("--vm-storage", metavar="NAME", callback=_name, help="Storage of disks; else the best one.")
@click.option("--image-storage", metavar="NAME", callback=_name, help="Storage of disk images; likewise.")
@click.option(
    "--seed-storage", metavar="NAME", callback=_name, help="Storage of first boots' ISOs; likewise."
)
@click.option(
    "--bridge", metavar="NAME", default="vmbr0", show_default=True, callback=_name, help="Bridge of VMs."
)
@click.option(
    "--vlan", metavar="TAG", type=click.IntRange(0, 4094), default=0, help="Only this VLAN of the bridge."
)
@click.option(
    "--template", metavar="VMID", type=click.IntRange(0), default=0, help="Template to clone VMs from."
)
@click.option(
    "--mapping",
    metavar="NAME",
    multiple=True,
    help="Resource mapping of a card that VMs may have; repeatable.",
)
@click.option(
    "--delete-seeds",
    is_flag=True,
    help="Let it delete first boots' ISOs: everything else on their storage, too.",
)
@click.option(
    "--user",
    metavar="NAME@REALM",
    default=USER,
    show_default=True,
    callback=_matching(_USER, "NAME@REALM"),
    help="Owner of the token for run; the one for setup has -setup behind its name.",
)
@click.option("--apply", "apply_them", is_flag=True, help="Make the changes, as an administrator.")
@click.option(
    "--new-token", is_flag=True, help="With --apply: replace an existing token by one with a new secret."
)
@yes_option
@node_options
def permissions(node_name: str, **options: Any) -> None:  # noqa: ANN401
    """Print the commands that give least-privilege roles and a token on node N, or make the changes.

    N is an entry of the inventory, `sandbox`, or the node at PROXMOX_HOST. A token in PROXMOX_TOKEN_ID and
    PROXMOX_TOKEN_SECRET goes before the inventory's. An administrator is told only what differs.
    """
    _check(options)
    if options["pve"]:
        place, version = _installed(_place(node_name, options)), PveVersion(int(options["pve"]), 0)
        views = [_unseen(access) for access in _accesses(place, version, options)]
        _print(node_name, options["pve"], views, options)
        return
    from localai_deploy.proxmox.client import PveClient

    client = PveClient(_connection(node_name, options), on_retry=say)
    version = client.version()
    place = _chosen(client, _place(client.node, options))
    views = [_seen(client, access, options) for access in _accesses(place, version, options)]
    if options["apply_them"]:
        _apply(client, views, options)
    _print(client.node, str(version), views, options)


def _check(options: Mapping[str, Any]) -> None:
    if options["apply_them"] and options["pve"]:
        raise click.UsageError("--apply asks the node for its version: leave --pve away.")
    if options["new_token"] and not options["apply_them"]:
        raise click.UsageError("--new-token needs --apply.")


def _connection(node_name: str, options: Mapping[str, Any]) -> NodeConnection:
    """Rights are given with another token than they are for: the environment's, if it has one."""
    found = node_from(node_name, options)
    token_id, secret = (os.environ.get(f"PROXMOX_TOKEN_{part}", "") for part in ("ID", "SECRET"))
    if node_name == SANDBOX or not (token_id and secret):
        return found
    return replace(found, token=parse_token(os.environ.get("PROXMOX_USER", ""), token_id, secret))


def _place(node_name: str, options: Mapping[str, Any]) -> VmSpec:
    """Where VMs are to live; storages that are not named are to be chosen."""
    return VmSpec(
        "any",
        node_name,
        vm_storage=options["vm_storage"] or "",
        image_storage=options["image_storage"] or "",
        seed_storage=options["seed_storage"] or "",
        bridge=options["bridge"],
        vlan=options["vlan"],
        template=options["template"],
    )


def _installed(place: VmSpec) -> VmSpec:
    """Where a storage is still to be chosen, the one that a fresh installation has."""
    return replace(
        place,
        vm_storage=place.vm_storage or "local-lvm",
        image_storage=place.image_storage or "local",
        seed_storage=place.seed_storage or "local",
    )


def _chosen(client: PveClient, place: VmSpec) -> VmSpec:
    """The storages that ``up`` would take."""
    from localai_deploy.domain.pve.storages import choose_storages
    from localai_deploy.proxmox.survey import survey_node

    found, findings = choose_storages(place, survey_node(client))
    for finding in findings:
        note(f"warning: {finding.what} [{finding.finding_id}]")
    return _installed(found)


def _accesses(place: VmSpec, version: PveVersion, options: Mapping[str, Any]) -> list[Access]:
    setup = setup_access(options["user"])
    run = run_access(
        place,
        version,
        options["user"],
        deletes_seeds=options["delete_seeds"],
        mappings=options["mapping"],
    )
    return [one for one in (setup, run) if options["role"] in {one.part, "both"}]


def _unseen(access: Access) -> PartView:
    return PartView(access, changes_to(access, NOTHING))


def _seen(client: PveClient, access: Access, options: Mapping[str, Any]) -> PartView:
    """What differs; for a caller who may not see it, everything."""
    from localai_deploy.proxmox.access import (
        lacking_rights,
        may_administer,
        read_state,
        require_administrator,
    )

    if options["apply_them"]:
        require_administrator(client, access)
    own = client.connection.token
    if not may_administer(client, access):
        is_its_token = f"{own.user}!{own.name}" == access.token_id
        lacking = lacking_rights(client, access) if is_its_token else None
        note(f"{own.user}!{own.name} may not see who has which rights: everything is printed")
        return PartView(access, changes_to(access, NOTHING), lacking=lacking)
    state = read_state(client, access)
    return PartView(
        access,
        changes_to(access, state, new_token=options["new_token"]),
        seen=True,
        token_is_there=access.token_id in state.tokens,
        lacking=lacking_rights(client, access),
        further=further_entries(access, state),
    )


def _apply(client: PveClient, views: Sequence[PartView], options: Mapping[str, Any]) -> None:
    for view in views:
        for line in change_lines(view):
            note(line)
    changing = [view for view in views if view.changes]
    if changing:
        require_consent(f"Change this on the cluster of {client.node}?", yes=options["yes"])
    try:
        for view in changing:
            _apply_part(client, view)
    except LocalaiError as error:
        if any(view.applied for view in views):
            error.exit_code = ExitCode.PARTIAL
        _save_secrets(views, error, as_text=options["output"] == "text")
        raise


def _apply_part(client: PveClient, view: PartView) -> None:
    from localai_deploy.proxmox.access import apply_changes

    apply_changes(
        client,
        view.access,
        view.changes,
        on_change=lambda change: say(f"{client.node}: {change.shown.name}"),
        on_secret=view.keep_secret,
    )
    view.applied = True
    view.lacking = ()


def _save_secrets(views: Sequence[PartView], error: LocalaiError, *, as_text: bool) -> None:
    """A token that was made before something failed is good: its secret must not be lost with the run."""
    made = [view for view in views if view.secret]
    for view in made if as_text else ():
        for line in export_lines(view):
            show(line)
    if made and not as_text:
        names = ", ".join(view.access.token_id for view in made)
        error.hint = f"{error.hint}\nthe secret of {names} was not shown: --new-token makes another".strip()


def _print(node_name: str, version: str, views: Sequence[PartView], options: Mapping[str, Any]) -> None:
    if options["output"] == "json":
        print_document(node_name, version, views)
    else:
        print_text(node_name, version, views, applied=options["apply_them"])
