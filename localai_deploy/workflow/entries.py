"""VMs of ours in inventories: written once they are up, brought up to date later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from localai_deploy.domain.plan import Change
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.errors import ExitCode, InputError, LocalaiError
from localai_deploy.inventory.own_files import FileChange, InventoryFiles
from localai_deploy.inventory.query import INFERENCE_GROUP, known_names
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.inventory.vm_entry import kept_settings
from localai_deploy.sandbox_record import NODE as SANDBOX
from localai_deploy.workflow.guests import Guest, ask_guests
from localai_deploy.workflow.telling import Say
from localai_deploy.workflow.together import Answer


@dataclass(frozen=True, slots=True)
class Entries:
    """An inventory that takes VMs in.

    :param in_inference: its VMs stand below group ``inference``.
    :param settings: of each VM, what is kept of them.
    :param nodes: names and connections of nodes that the inventory does not have, but for the sandbox, which
        says by itself where it is.
    """

    directory: Path
    in_inference: bool
    settings: Mapping[str, Mapping[str, Any]]
    nodes: Mapping[str, NodeConnection]


@dataclass(frozen=True, slots=True)
class Written:
    """What became of entries.

    :param errors: why hosts are no entries.
    :param missing_nodes: nodes that the environment has to tell of, because the inventory does not.
    """

    changes: Sequence[FileChange] = ()
    errors: Mapping[str, LocalaiError] = field(default_factory=dict)
    missing_nodes: Sequence[str] = ()


def prepare_entries(
    directory: Path, hosts: Sequence[InventoryHost], vault_password_file: Path | None
) -> Entries:
    """Look whether VMs can become entries; nothing is written.

    :raises InputError: ``usage`` for a host that is no VM, ``inventory-unreadable``.
    :raises LocalaiError: ``inventory-host-taken``, ``inventory-file-foreign``.
    """
    files = InventoryFiles(directory)
    known = frozenset() if files.is_new else known_names(directory, vault_password_file)
    nodes = {}
    for host in hosts:
        if host.vm is None:
            what = f"--write-inventory is for VMs: {host.name} is none"
            raise InputError("usage", what, hint="name its node with --node, or leave it away")
        node = str(host.settings["localai_node"].value)
        files.require_free(host.name, node, known)
        if node not in {*known, SANDBOX}:
            nodes[node] = host.vm.node
    settings = {host.name: kept_settings(host.name, host.settings) for host in hosts}
    return Entries(directory, files.is_new or INFERENCE_GROUP in known, settings, nodes)


def write_entries(entries: Entries, hosts: Sequence[InventoryHost], say: Say = lambda _: None) -> Written:
    """Write VMs that are up into the inventory.

    :param say: hears which look at a node is repeated.
    """
    errors: dict[str, LocalaiError] = {}
    files = InventoryFiles(entries.directory)
    begins = files.is_new
    for answer in ask_guests(hosts, say):
        try:
            _put(files, entries, answer)
        except LocalaiError as error:
            errors[answer.host.name] = _partial(error)
    if len(errors) == len(hosts):
        return Written(errors=errors)
    if begins:
        files.put_groups(*next(iter(entries.nodes.items()), ("", None)))
    changes = files.changes()
    try:
        files.write()
    except (OSError, LocalaiError) as error:
        unwritten = _unwritten(entries.directory, error)
        return Written(errors={host.name: errors.get(host.name, unwritten) for host in hosts})
    return Written(changes, errors, list(entries.nodes)[1 if begins else 0 :])


def _partial(error: LocalaiError) -> LocalaiError:
    """The VM is up: the same command goes on from there."""
    error.exit_code = ExitCode.PARTIAL
    return error


def _unwritten(directory: Path, error: OSError | LocalaiError) -> LocalaiError:
    if isinstance(error, LocalaiError):
        return _partial(error)
    return LocalaiError(
        "local-file",
        f"the inventory {directory} cannot be written",
        why=str(error),
        hint="the VM is up: run again, or leave --write-inventory away",
        exit_code=ExitCode.PARTIAL,
    )


def _put(files: InventoryFiles, entries: Entries, answer: Answer[Guest]) -> None:
    name = answer.host.name
    if answer.error:
        raise answer.error
    if answer.value is None or answer.value.access is None:
        raise LocalaiError(
            "guest-agent-missing",
            f"{name} is no entry of {entries.directory} yet: its guest agent did not answer",
            hint="run the same command again",
        )
    files.put_vm(name, entries.settings[name], answer.value.access, in_inference=entries.in_inference)


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


def look_at_entries(
    files: InventoryFiles, hosts: Sequence[InventoryHost], say: Say = lambda _: None
) -> list[EntryLook]:
    """Ask the nodes, and put what differs into ``files``; :meth:`~InventoryFiles.write` is the caller's."""
    return [_look(files, answer) for answer in ask_guests(hosts, say)]


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
