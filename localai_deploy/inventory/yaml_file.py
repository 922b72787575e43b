"""One file of an inventory as text with positions; Ansible reads what it means."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VAULTED = "$ANSIBLE_VAULT"

Position = tuple[int, int]
"""Line and column, from 1."""
Keys = Mapping[str, Position]
_COMPOSED = ("compose",)
"""Below this key a plugin that asks for hosts makes variables of what it hears."""


def keys_of(node: yaml.Node | None) -> dict[str, Position]:
    """The keys of a mapping and where each is first."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): _position(key) for key, _ in reversed(node.value)}


def _position(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


@dataclass(frozen=True)
class InventoryFile:
    """YAML, or INI of an inventory; what cannot be read is empty."""

    path: Path

    @cached_property
    def text(self) -> str:
        """The file as it is."""
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    @property
    def is_vaulted(self) -> bool:
        """Encrypted as a whole."""
        return self.text.startswith(_VAULTED)

    @cached_property
    def _document(self) -> yaml.Node | None:
        try:
            return yaml.compose(self.text, Loader=_LOADER)
        except yaml.YAMLError:
            return None

    @cached_property
    def keys(self) -> Keys:
        """The keys at the top."""
        return keys_of(self._document)

    @cached_property
    def mappings(self) -> list[tuple[tuple[str, ...], yaml.MappingNode]]:
        """All mappings with the keys that lead to them."""
        return list(_walk(self._document, ()))

    @cached_property
    def hosts(self) -> Keys:
        """The hosts it lists: below ``hosts`` in YAML, at the beginning of lines in INI."""
        if not self.mappings:
            return {words[0]: (number, 1) for number, words in reversed(self._words())}
        listed = (keys_of(node) for trail, node in self.mappings if trail[-1:] == ("hosts",))
        return {name: position for keys in listed for name, position in keys.items()}

    def variable(self, host: str, groups: Sequence[str], name: str) -> Position | None:
        """A variable beside the hosts: the host's own, else its innermost group's, else a composed one."""
        if not self.mappings:
            return self._word(host, name)
        owners = [("hosts", host), *((group, "vars") for group in groups), _COMPOSED]
        found = (keys.get(name) for owner in owners for keys in self._by_owner.get(owner, ()))
        return next(filter(None, found), None)

    def repeated(self) -> Iterator[tuple[str, Position, int]]:
        """Keys that a mapping has twice, YAML keeps the last: name, position, line of the first."""
        for _, node in self.mappings:
            first: dict[str, int] = {}
            for key, _ in node.value:
                line, column = _position(key)
                if str(key.value) in first:
                    yield str(key.value), (line, column), first[str(key.value)]
                first.setdefault(str(key.value), line)

    def said_of_hosts(self, variables: Collection[str]) -> Iterator[tuple[str, str, str, Position]]:
        """Host, variable, value and position of those ``variables`` that stand beside a host."""
        for trail, node in self.mappings:
            if trail[-2:-1] == ("hosts",):
                for key, value in node.value:
                    if key.value in variables and isinstance(value, yaml.ScalarNode):
                        yield trail[-1], key.value, value.value, _position(key)
        for number, words in [] if self.mappings else self._words():
            for name, is_set, value in (word.partition("=") for word in words[1:]):
                if is_set and name in variables:
                    yield words[0], name, value.strip("'\""), (number, self._column(number, name))

    def set_beside_hosts(self) -> Iterator[tuple[str, Position]]:
        """Names of variables of hosts and groups, also those that a plugin composes."""
        for trail, node in self.mappings:
            if trail[-1:] in {("vars",), _COMPOSED} or trail[-2:-1] == ("hosts",):
                yield from keys_of(node).items()
        if not self.mappings:
            for number, words in self._words():
                names = [word.partition("=")[0] for word in words if "=" in word]
                yield from ((name, (number, self._column(number, name))) for name in names)

    @cached_property
    def _by_owner(self) -> Mapping[tuple[str, ...], list[Keys]]:
        """Keys by the last two above them: ``hosts, nas`` or ``inference, vars``."""
        found: dict[tuple[str, ...], list[Keys]] = {}
        for trail, node in self.mappings:
            found.setdefault(trail[-2:], []).append(keys_of(node))
        return found

    def _words(self) -> list[tuple[int, list[str]]]:
        """The lines of an INI that say something; a section's head is none."""
        lines = enumerate(self.text.splitlines(), start=1)
        told = ((number, line.replace(" =", "=").split()) for number, line in lines)
        return [(number, words) for number, words in told if words and words[0][0] not in "#;["]

    def _word(self, host: str, name: str) -> Position | None:
        """Where INI sets a variable: in the host's own line, else the first that has it."""
        lines = [(number, words) for number, words in self._words() if _sets(words, name)]
        own = [number for number, words in lines if words[0] == host]
        number = next(iter([*own, *(number for number, _ in lines)]), 0)
        return (number, self._column(number, name)) if number else None

    def _column(self, number: int, name: str) -> int:
        return self.text.splitlines()[number - 1].index(name) + 1


def _sets(words: Sequence[str], name: str) -> bool:
    return any(word.partition("=")[0] == name for word in words)


def _walk(
    node: yaml.Node | None, trail: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], yaml.MappingNode]]:
    if isinstance(node, yaml.MappingNode):
        yield trail, node
        for key, value in node.value:
            yield from _walk(value, (*trail, str(key.value)))
