"""Where inventories say a thing, for messages that help: file, line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from localai_deploy.inventory.yaml_file import InventoryFile, Keys

_SUFFIXES = {"", ".yml", ".yaml", ".json"}
_PASSED_OVER = (".bak", ".cfg", ".ini", ".md", ".orig", ".pyc", ".retry", ".rst", ".swp", ".txt", "~")
"""Ends of names that Ansible takes for no inventory in a directory (its INVENTORY_IGNORE_EXTS)."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands; line 0 for a file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of inventories, of which the later ones win; each is read once.

    :param vaulted: of files that are encrypted as a whole, the keys of their plain text.
    """

    inventories: Sequence[Path]
    vaulted: Mapping[str, Keys] = field(default_factory=dict)
    _files: dict[Path, InventoryFile] = field(default_factory=dict)

    def place_of_variable(self, host: str, groups: Sequence[str], name: str) -> Place:
        """The definition that wins for ``host``, else the last inventory's own path.

        :param groups: the host's groups, innermost first.
        """
        newest_first = self.inventories[::-1]
        for folder, owner in [("host_vars", host), *(("group_vars", group) for group in groups)]:
            for inventory in newest_first:
                for path in _variable_files(_root(inventory) / folder, owner):
                    if position := self.keys(path).get(name):
                        return self.place(path, *position)
        for file in self.listing():
            if position := file.variable(host, groups, name):
                return self.place(file.path, *position)
        return Place(str(self.inventories[-1]))

    def place_of_host(self, host: str) -> Place:
        """Where a host is listed, else the last inventory's own path."""
        for file in self.listing():
            if position := file.hosts.get(host):
                return self.place(file.path, *position)
        return Place(str(self.inventories[-1]))

    def place(self, path: Path, line: int = 0, column: int = 0) -> Place:
        """As messages tell it: with several inventories by the whole path."""
        inventory = next(one for one in self.inventories[::-1] if path.is_relative_to(_root(one)))
        shown = path if len(self.inventories) > 1 else path.relative_to(_root(inventory))
        return Place(str(shown), line, column)

    def keys(self, path: Path) -> Keys:
        """The names that a file of variables sets."""
        return self.vaulted.get(str(path)) or self._file(path).keys

    def listing(self) -> Iterator[InventoryFile]:
        """The files that list hosts, the newest inventory's first."""
        for inventory in self.inventories[::-1]:
            paths = [inventory] if inventory.is_file() else _listing(inventory)
            yield from (self._file(path) for path in paths if path.is_file())

    def of_variables(self) -> Iterator[tuple[str, str, InventoryFile]]:
        """``host_vars`` or ``group_vars``, the host or group, and a file of its variables: all there are."""
        for root in dict.fromkeys(map(_root, self.inventories)):
            for kind in ("host_vars", "group_vars"):
                owners = {_owner(path) for path in _entries(root / kind)}
                for owner in sorted(owners):
                    for path in _variable_files(root / kind, owner):
                        yield kind, owner, self._file(path)

    def _file(self, path: Path) -> InventoryFile:
        return self._files.setdefault(path, InventoryFile(path))


def find_broken_file(inventory: Path) -> str:
    """``FILE:LINE`` of the first file below ``inventory`` that is no YAML, or an empty string."""
    root = _root(inventory)
    for path in sorted(root.rglob("*.y*ml")):
        try:
            yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            return f"{path.relative_to(root)}:{line}"
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return str(path.relative_to(root))
    return ""


def _root(inventory: Path) -> Path:
    return inventory if inventory.is_dir() else inventory.parent


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _listing(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if not path.name.endswith(_PASSED_OVER)]


def _owner(path: Path) -> str:
    return path.stem if path.is_file() and path.suffix in _SUFFIXES else path.name


def _variable_files(folder: Path, owner: str) -> Iterator[Path]:
    for suffix in sorted(_SUFFIXES):
        path = folder / f"{owner}{suffix}"
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
        elif path.is_file():
            yield path
