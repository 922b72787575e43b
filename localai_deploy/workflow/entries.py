"""VMs of ours in inventories: written once they are up, brought up to date later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from localai_deploy.domain.plan import Change
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.errors import ExitCode, InputError, LocalaiError
from localai_deploy.inventory import INFERENCE_GROUP, InventoryHost, known_names
from localai_deploy.inventory_entry import kept_settings
from localai_deploy.inventory_files import FileChange, InventoryFiles
from localai_deploy.sandbox_record import NODE as SANDBOX
from localai_deploy.workflow.guests import Guest, ask_guests
from localai_deploy.workflow.together import Answer


@dataclass(frozen=True, slots=True)
class Entries:
    """An inventory that takes VMs in.

    :param in_inference: its VMs stand below group ``inference``.
    :param settings: of each VM, what is kept of them.
    :param node: name and connection of the node that a new inventory gets.
    """

    files: InventoryFiles
    in_inference: bool
    settings: Mapping[str, Mapping[str, Any]]
    node: tuple[str, NodeConnection] | None = None


def prepare_entries(
    directory: Path, hosts: Sequence[InventoryHost], vault_password_file: Path | None
) -> Entries:
    """Look whether VMs can become entries; nothing is written.

    :raises InputError: ``usage`` for a host that is no VM, ``inventory-unreadable``.
    :raises LocalaiError: ``inventory-host-taken``, ``inventory-file-foreign``.
    """
    files = InventoryFiles(directory)
    known = frozenset() if files.is_new else known_names(directory, vault_password_file)
    for host in hosts:
        if host.vm is None:
            raise InputError(
                "usage", f"--write-inventory is for VMs: {host.name} is none", hint="add --node N"
            )
        files.require_free(host.name, _node_name(host), known)
    return Entries(
        files,
        files.is_new or INFERENCE_GROUP in known,
        {host.name: kept_settings(host.name, host.settings) for host in hosts},
        _new_node(hosts) if files.is_new else None,
    )


def _node_name(host: InventoryHost) -> str:
    return str(host.settings["localai_node"].value)


def _new_node(hosts: Sequence[InventoryHost]) -> tuple[str, NodeConnection] | None:
    """The first node, unless it is the sandbox, which says by itself where it is."""
    found = ((_node_name(host), host.vm.node) for host in hosts if host.vm)
    return next((one for one in found if one[0] != SANDBOX), None)


def write_entries(
    entries: Entries, hosts: Sequence[InventoryHost]
) -> tuple[list[FileChange], dict[str, LocalaiError]]:
    """Write VMs that are up into the inventory; returns what changed, and why hosts are no entries."""
    errors: dict[str, LocalaiError] = {}
    for answer in ask_guests(hosts):
        name = answer.host.name
        try:
            _put(entries, name, answer)
        except LocalaiError as error:
            error.exit_code = ExitCode.PARTIAL
            errors[name] = error
    if len(errors) == len(hosts):
        return [], errors
    if entries.files.is_new:
        entries.files.put_groups(*(entries.node or ("", None)))
    changes = entries.files.changes()
    try:
        entries.files.write()
    except OSError as error:
        return [], {host.name: errors.get(host.name) or _unwritable(entries.files, error) for host in hosts}
    return changes, errors


def _unwritable(files: InventoryFiles, error: OSError) -> LocalaiError:
    return LocalaiError(
        "local-file",
        f"the inventory {files.directory} cannot be written",
        why=str(error),
        hint="the VM is up: run again, or leave --write-inventory away",
        exit_code=ExitCode.PARTIAL,
    )


def _put(entries: Entries, name: str, answer: Answer[Guest]) -> None:
    if answer.error:
        raise answer.error
    if answer.value is None or answer.value.access is None:
        raise LocalaiError(
            "guest-agent-missing",
            f"{name} is no entry of {entries.files.directory} yet: its guest agent did not answer",
            hint="run the same command again",
        )
    entries.files.put_vm(name, entries.settings[name], answer.value.access, in_inference=entries.in_inference)


class EntryState(StrEnum):
    """How an entry compares with what its node says."""

    SAME = "same"
    CHANGED = "changed"
    SILENT = "silent"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class EntryLook:
    """One VM of an inventory: its entry against its node."""

    host: str
    state: EntryState | None
    changes: tuple[Change, ...] = ()
    error: LocalaiError | None = None


def look_at_entries(files: InventoryFiles, hosts: Sequence[InventoryHost]) -> list[EntryLook]:
    """Ask the nodes, and put what differs into ``files``; :meth:`~InventoryFiles.write` is the caller's."""
    return [_look(files, answer) for answer in ask_guests(hosts)]


def _look(files: InventoryFiles, answer: Answer[Guest]) -> EntryLook:
    name, guest = answer.host.name, answer.value
    if guest is None:
        return EntryLook(name, None, error=answer.error)
    if guest.access is None:
        return EntryLook(name, EntryState.SILENT if guest.vm else EntryState.GONE)
    try:
        changes = files.put_access(name, guest.access)
    except LocalaiError as error:
        return EntryLook(name, None, error=error)
    return EntryLook(name, EntryState.CHANGED if changes else EntryState.SAME, changes)
