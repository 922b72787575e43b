"""The files of an inventory that are ours to write; a person's own are read at most.

``proxmox_vms.yml``, ``host_vars/VM/localai-deploy.yml`` and ``known_hosts.txt``; a new inventory also gets a
``hosts.yml``, once. Nothing is on the disk before :meth:`InventoryFiles.write`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localai_deploy.directory_lock import locked
from localai_deploy.domain.plan import Change
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.guest_access import GuestAccess
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.vm_entry import (
    FILE_NAME,
    KNOWN_HOSTS,
    MARK,
    alias_of,
    connection_of_entry,
    entry_text,
    hosts_text,
    known_hosts_text,
    known_key,
    node_of_entry,
    vms_of,
    vms_text,
    with_access,
)

HOSTS = "hosts.yml"
VMS = "proxmox_vms.yml"
_SUFFIXES = ("", ".yml", ".yaml", ".json")


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before and after; ``before`` is empty for one that is not there."""

    path: str
    before: str
    after: str


@dataclass(slots=True)
class InventoryFiles:
    """An inventory's directory, with what is to be written there."""

    directory: Path
    _wanted: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, str] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Nothing is there yet."""
        return not self.directory.is_dir() or not any(self.directory.iterdir())

    def text(self, path: str) -> str:
        """A file as it is wanted by now, else as it was when first read; empty when it is not there."""
        if path not in self._seen:
            self._seen[path] = self._on_disk(path)
        return self._wanted.get(path, self._seen[path])

    def _on_disk(self, path: str) -> str:
        try:
            return (self.directory / path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    @property
    def own_vms(self) -> list[str]:
        """VMs that were put into the inventory by us.

        :raises LocalaiError: ``inventory-file-foreign``.
        """
        text = self.text(VMS)
        if not text:
            return []
        try:
            self._require_own(VMS)
            return vms_of(text)
        except ValueError as error:
            raise self._foreign(VMS, f"it is not as it was written: {error}") from error

    def require_free(self, name: str, node: str, known: Collection[str]) -> None:
        """Make sure that a VM on ``node`` can be put into the inventory under that name.

        :param known: hosts and groups that the inventory has.
        :raises LocalaiError: ``inventory-host-taken``, ``inventory-file-foreign``.
        """
        is_ours = name in self.own_vms
        if name in known and not is_ours:
            raise self._taken(name, "it was not put there by up --write-inventory: it is not changed")
        before = node_of_entry(self.text(_entry(name))) if is_ours else ""
        if before not in {"", node}:
            raise self._taken(name, f"it is a VM on node {before}")
        self.require_writable(name)

    def _taken(self, name: str, why: str) -> LocalaiError:
        return LocalaiError(
            "inventory-host-taken",
            f"{self.directory} already has an entry {name}",
            why=why,
            hint=f"go by it: localai-deploy up -i {self.directory} {name}\nor choose another --name",
        )

    def require_writable(self, name: str) -> None:
        """Make sure that the generated variables of a host would hide nobody's own.

        :raises LocalaiError: ``inventory-file-foreign``.
        """
        for path in (f"host_vars/{name}{suffix}" for suffix in _SUFFIXES):
            if (self.directory / path).is_file():
                fix = f"in {self.directory}: mv {path} {path}.was && mkdir -p host_vars/{name} && "
                fix += f"mv {path}.was host_vars/{name}/main.yml"
                raise self._foreign(path, f"a directory host_vars/{name} would hide it from Ansible", fix)
        self._require_own(_entry(name))

    def _require_own(self, path: str) -> None:
        text = self.text(path)
        if text and not any(line.startswith(MARK) for line in text.splitlines()[:2]):
            raise self._foreign(path, f"it has no line {MARK!r} at its head")

    def _foreign(self, path: str, why: str, hint: str = "rename it: this name is ours") -> LocalaiError:
        return LocalaiError(
            "inventory-file-foreign", f"{self.directory / path} is not ours to write", why=why, hint=hint
        )

    def put_groups(self, name: str, node: NodeConnection | None) -> None:
        """Begin a new inventory, with its node unless that is ``None``."""
        self._seen[HOSTS] = ""
        self._wanted[HOSTS] = hosts_text(name, node)

    def put_vm(
        self, name: str, settings: Mapping[str, Any], access: GuestAccess, *, in_inference: bool
    ) -> None:
        """Write a VM's whole entry.

        :raises LocalaiError: ``inventory-file-foreign``.
        """
        self.require_writable(name)
        vms = [*self.own_vms, name]
        self._put_access(name, entry_text(name, settings, access), access)
        self._wanted[VMS] = vms_text(sorted(set(vms)), in_inference=in_inference)

    def put_access(self, name: str, access: GuestAccess) -> tuple[Change, ...]:
        """Write how a VM is reached; returns the values that differ.

        :raises LocalaiError: ``inventory-file-foreign``.
        """
        self.require_writable(name)
        before = self._connection(name)
        self._put_access(name, with_access(name, self.text(_entry(name)), access), access)
        after = self._connection(name)
        names = [key for key in {**before, **after} if before.get(key, "") != after.get(key, "")]
        return tuple(Change(key, before.get(key, ""), after.get(key, "")) for key in names)

    def _put_access(self, name: str, text: str, access: GuestAccess) -> None:
        former = alias_of(connection_of_entry(self.text(_entry(name))))
        self._wanted[KNOWN_HOSTS] = known_hosts_text(self.text(KNOWN_HOSTS), access, former)
        self._wanted[_entry(name)] = text

    def _connection(self, name: str) -> dict[str, str]:
        variables = connection_of_entry(self.text(_entry(name)))
        key = known_key(self.text(KNOWN_HOSTS), alias_of(variables))
        return variables | ({"host key": key} if key else {})

    def changes(self) -> list[FileChange]:
        """What :meth:`write` would do, file by file."""
        pairs = [FileChange(path, self._seen[path], text) for path, text in self._wanted.items()]
        return [one for one in pairs if one.before != one.after]

    def write(self) -> None:
        """Each file appears whole or not at all; what is equal is not touched.

        :raises LocalaiError: ``inventory-changed`` when somebody else wrote one since it was read.
        """
        changes = self.changes()
        if not changes:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self.directory):
            for change in changes:
                if self._on_disk(change.path) != change.before:
                    raise LocalaiError(
                        "inventory-changed",
                        f"{self.directory / change.path} was changed by somebody else in the meantime",
                        hint="nothing was written there: run the same command again",
                    )
            for change in changes:
                _replace(self.directory / change.path, change.after)
        self._seen |= {change.path: change.after for change in changes}


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
    descriptor, temporary = tempfile.mkstemp(prefix=".localai-deploy-", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as new:
        os.fchmod(descriptor, mode)
        new.write(text)
    Path(temporary).replace(path)


def _entry(name: str) -> str:
    return f"host_vars/{name}/{FILE_NAME}"


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
