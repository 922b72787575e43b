"""Find the file and line of an inventory that sets a variable, for messages that help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

_SUFFIXES = {"", ".yml", ".yaml", ".json"}


def find_source(inventories: Sequence[Path], host: str, groups: Sequence[str], name: str) -> str:
    """``FILE:LINE`` of the definition that wins for ``host``, else the last inventory's own path.

    :param inventories: the later ones win; with several, FILE begins with the inventory's own path.
    :param groups: the host's groups, innermost first.
    """
    newest_first = inventories[::-1]
    for folder, owner in [("host_vars", host), *(("group_vars", group) for group in groups)]:
        for inventory in newest_first:
            for path in _variable_files(_root(inventory) / folder, owner):
                if line := _line_of_key(path, name):
                    return f"{_named(path, inventory, inventories)}:{line}"
    for inventory in newest_first:
        for path in _inventory_files(inventory):
            if line := _line_in_groups(path, host, groups, name) or _line_of_text(path, name):
                return f"{_named(path, inventory, inventories)}:{line}"
    return str(inventories[-1])


def find_host(inventories: Sequence[Path], host: str) -> str:
    """``FILE:LINE`` at which a host is listed, else the last inventory's own path."""
    for inventory in inventories[::-1]:
        for path in _inventory_files(inventory):
            mappings = _mappings(_composed(path), ())
            listed = (_line_in(node, host) for trail, node in mappings if trail[-1:] == ("hosts",))
            if line := next(filter(None, listed), 0) or _line_of_text(path, host):
                return f"{_named(path, inventory, inventories)}:{line}"
    return str(inventories[-1])


def _root(inventory: Path) -> Path:
    return inventory if inventory.is_dir() else inventory.parent


def _named(path: Path, inventory: Path, inventories: Sequence[Path]) -> Path:
    return path if len(inventories) > 1 else path.relative_to(_root(inventory))


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


def _variable_files(folder: Path, owner: str) -> Iterator[Path]:
    for suffix in sorted(_SUFFIXES):
        path = folder / f"{owner}{suffix}"
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
        elif path.is_file():
            yield path


def _inventory_files(inventory: Path) -> list[Path]:
    if inventory.is_file():
        return [inventory]
    return sorted(path for path in inventory.iterdir() if path.is_file())


def _line_of_key(path: Path, name: str) -> int:
    """1-based line of a top-level key; 0 when the file has none, is vaulted or is no YAML."""
    return _line_in(_composed(path), name)


def _composed(path: Path) -> yaml.Node | None:
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None


def _line_in(node: yaml.Node | None, name: str) -> int:
    if not isinstance(node, yaml.MappingNode):
        return 0
    return next((key.start_mark.line + 1 for key, _ in node.value if key.value == name), 0)


def _line_in_groups(path: Path, host: str, groups: Sequence[str], name: str) -> int:
    """1-based line in an inventory in YAML: of the host's own variable, else of its innermost group's."""
    mappings = list(_mappings(_composed(path), ()))
    owners = [("hosts", host), *((group, "vars") for group in groups)]
    found = (_line_in(node, name) for owner in owners for trail, node in mappings if trail[-2:] == owner)
    return next((line for line in found if line), 0)


def _mappings(node: yaml.Node | None, trail: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], yaml.Node]]:
    """All mappings with the keys that lead to them."""
    if isinstance(node, yaml.MappingNode):
        yield trail, node
        for key, value in node.value:
            yield from _mappings(value, (*trail, str(key.value)))


def _line_of_text(path: Path, name: str) -> int:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    for number, line in enumerate(lines, start=1):
        words = line.replace("=", " ").replace(":", " ").split()
        if name in words and not line.lstrip().startswith("#"):
            return number
    return 0
