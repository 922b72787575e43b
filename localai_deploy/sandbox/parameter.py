"""The shape of a parameter, and short ways to write tables of them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Param:
    """One parameter or one key of a property string.

    `name` may end in `[n]` for a numbered family; `properties` makes the value a property string;
    `since`/`until` bound the releases that know the parameter.
    """

    name: str
    type: str = "string"
    optional: bool = True
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    format: str | None = None
    max_length: int | None = None
    requires: str | None = None
    properties: tuple[Param, ...] = ()
    default_key: bool = False
    alias: str | None = None
    key_alias: str | None = None
    items: Param | None = None
    since: int = 7
    until: int = 99


Table = tuple[Param, ...]


def text(
    name: str,
    format: str | None = None,  # noqa: A002
    *,
    enum: str = "",
    pattern: str | None = None,
    max_length: int | None = None,
    requires: str | None = None,
    since: int = 7,
    until: int = 99,
) -> Param:
    """A string; `enum` is space-separated."""
    return Param(
        name,
        enum=tuple(enum.split()),
        pattern=pattern,
        format=format,
        max_length=max_length,
        requires=requires,
        since=since,
        until=until,
    )


def flag(name: str, *, requires: str | None = None, since: int = 7, until: int = 99) -> Param:
    """A boolean, 1 or 0 on the wire."""
    return Param(name, "boolean", requires=requires, since=since, until=until)


def integer(
    name: str,
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    format: str | None = None,  # noqa: A002
    since: int = 7,
    until: int = 99,
) -> Param:
    """A whole number within bounds."""
    return Param(name, "integer", minimum=minimum, maximum=maximum, format=format, since=since, until=until)


def number(name: str, minimum: float | None = None, maximum: float | None = None) -> Param:
    """A decimal number within bounds."""
    return Param(name, "number", minimum=minimum, maximum=maximum)


def properties(name: str, *keys: Param, since: int = 7, until: int = 99) -> Param:
    """A property string (`key=value,key=value`) with these keys."""
    return Param(name, properties=keys, since=since, until=until)


def required(param: Param) -> Param:
    """The same parameter, not optional."""
    return replace(param, optional=False)


def main_key(param: Param) -> Param:
    """The key of a property string whose name may be left out."""
    return replace(param, default_key=True)


def of_release(table: Table, major: int) -> Table:
    """The part of a table that a release knows."""
    return tuple(param for param in table if param.since <= major <= param.until)
