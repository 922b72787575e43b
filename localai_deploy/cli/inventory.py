"""``inventory``: keep an inventory true to what the nodes say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from localai_deploy.cli.inventory_view import file_lines, look_lines
from localai_deploy.cli.options import hosts_from, node_options, require_consent, yes_option
from localai_deploy.cli.output import error_data, print_json
from localai_deploy.cli.progress import say
from localai_deploy.cli.terminal import note, show, width_of
from localai_deploy.errors import ExitCode, InputError, LocalaiError
from localai_deploy.inventory.own_files import InventoryFiles
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.workflow.entries import EntryLook, look_at_entries


@click.group(epilog="Example: localai-deploy inventory refresh -i inventories/home")
def inventory() -> None:
    """Keep an inventory true to what its Proxmox nodes say."""


@inventory.command(
    short_help="Bring addresses and host keys of VMs up to date.",
    epilog="Example: localai-deploy inventory refresh -i inventories/home --check",
)
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@node_options
@yes_option
@click.option("--check", is_flag=True, help="Only show what differs.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 0: nothing differs (or differed), 10: it does.")
def refresh(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Ask the nodes for addresses and SSH host keys of HOST, a VM (or of all), and write what has changed.

    Only the API is asked; no guest is logged in to. Written are host_vars/VM/localai-deploy.yml and
    known_hosts.txt. Entries of VMs that are gone are named, and stay.
    """
    files = InventoryFiles(_directory(options))
    wanted = _vms(hosts_from(hosts, options), named=bool(hosts))
    looks = look_at_entries(files, wanted, say)
    _tell(looks, files, as_json=options["output"] == "json")
    changes = files.changes()
    if changes and not options["check"]:
        require_consent("Write this?", yes=options["yes"])
        files.write()
    if options["output"] == "json":
        written = [one.path for one in changes] if not options["check"] else []
        print_json("inventory-refresh", written=written, hosts=[_data(one) for one in looks])
    return _exit_code(looks, changed=bool(changes) and options["detailed_exitcode"])


def _directory(options: dict[str, Any]) -> Path:
    given: tuple[Path, ...] = options["inventory"]
    if len(given) != 1 or given[0].is_file():
        what = {0: "no inventory is named", 1: "the inventory must be a directory"}
        raise InputError(
            "inventory-not-a-directory",
            what.get(len(given), "one inventory at a time is brought up to date"),
            why="what is written goes beside its other files",
            hint="-i DIR",
        )
    return given[0]


def _vms(hosts: Sequence[InventoryHost], *, named: bool) -> list[InventoryHost]:
    """Those that are VMs; one that was named must be."""
    others = [host.name for host in hosts if host.vm is None]
    if named and others:
        raise InputError(
            "usage",
            f"{', '.join(others)}: no VM of a Proxmox node",
            hint="name VMs, or nothing for all of them",
        )
    return [host for host in hosts if host.vm]


def _tell(looks: Sequence[EntryLook], files: InventoryFiles, *, as_json: bool) -> None:
    for one in looks:
        for line in look_lines(one, width_of(sys.stderr if as_json else sys.stdout)):
            show(line, err=as_json)
    for line in file_lines(files.directory, files.changes()):
        note(line)
    if not looks:
        note(f"no host of {files.directory} is a VM of a Proxmox node")


def _data(one: EntryLook) -> dict[str, Any]:
    changes = [{"name": each.name, "before": each.before, "after": each.after} for each in one.changes]
    if one.error:
        return {"host": one.host, "error": error_data(one.error)}
    return {"host": one.host, "state": one.state.value if one.state else None, "changes": changes}


def _exit_code(looks: Sequence[EntryLook], *, changed: bool) -> int:
    errors: list[LocalaiError] = [one.error for one in looks if one.error]
    if errors:
        return int(errors[0].exit_code if len(errors) == len(looks) else ExitCode.PARTIAL)
    return int(ExitCode.CHANGES if changed else ExitCode.DONE)
