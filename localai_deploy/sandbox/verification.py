"""The parameter check: every bad parameter with the server's text, good ones typed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.sandbox.answers import bad_parameters
from localai_deploy.sandbox.formats import FormatError, check_format
from localai_deploy.sandbox.parameter import Param, Table, of_release
from localai_deploy.sandbox.release import Release

UNKNOWN = "property is not defined in schema and the schema does not allow additional properties"
MISSING = "property is missing and it is not optional"
_TYPES = {
    "integer": re.compile(r"[+-]?\d+"),
    "number": re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"),
    "boolean": re.compile(r"[01]"),
}
Value = Any
Values = dict[str, Value]


def find_param(table: Table, name: str) -> Param | None:
    """The row for a name; `net7` is found as `net[n]`."""
    family = re.sub(r"\d+$", "[n]", name)
    exact = next((param for param in table if param.name == name), None)
    return exact or next((param for param in table if param.name == family), None)


def verify(given: Mapping[str, list[str]], table: Table, release: Release) -> Values:
    """Typed values by name; raises the 400 that names every bad parameter."""
    rows = of_release(table, release.major)
    checker = _Checker(release, {})
    values = checker.table("", {name: _unlist(rows, name, got) for name, got in given.items()}, rows)
    if checker.errors:
        raise bad_parameters(checker.errors)
    return values


def _unlist(rows: Table, name: str, got: list[str]) -> Value:
    row = find_param(rows, name)
    return got if row is not None and row.type == "array" else got[-1]


def parse_properties(value: str, keys: Table, release: Release) -> Values:
    """A property string as typed values; raises FormatError with the server's text."""
    checker = _Checker(release, {})
    parsed = checker.table("", _split(value, of_release(keys, release.major), release), keys)
    if checker.errors:
        raise FormatError(_format_error(checker.errors))
    return parsed


def _format_error(errors: dict[str, str]) -> str:
    return "format error\n" + "".join(f"{name}: {errors[name]}\n" for name in sorted(errors))


@dataclass
class _Checker:
    release: Release
    errors: dict[str, str]

    def table(self, prefix: str, given: Mapping[str, Any], rows: Table) -> Values:
        """Check a set of values against its rows; errors are collected under `prefix` + name."""
        rows = of_release(rows, self.release.major)
        values: Values = {}
        for name, value in given.items():
            row = find_param(rows, name)
            if row is None:
                self.errors[prefix + name] = UNKNOWN
                continue
            if row.requires and row.requires not in given:
                self.errors[prefix + row.requires] = self._requires_text(name)
            values[name] = self.value(prefix + name, value, row)
        for row in rows:
            missing = not row.optional and row.alias is None and row.name not in given
            if missing:
                self.errors.setdefault(prefix + row.name, MISSING)
        return values

    def _requires_text(self, name: str) -> str:
        if self.release.major > 8:
            return f"missing property required by '{name}'"
        return f"missing property - '{name}' requires this property"

    def value(self, path: str, value: Value, row: Param) -> Value:
        """One value, typed; on a bad one the first error is noted and the text returned."""
        if row.type == "array" and row.items is not None:
            return [self.value(f"{path}[{i}]", item, row.items) for i, item in enumerate(value)]
        problem = self._problem(path, value, row)
        if problem is not None:
            self.errors[path] = problem
            return value
        if row.type in {"integer", "boolean"}:
            return int(value)
        return float(value) if row.type == "number" and "." in value else _number(value, row)

    def _problem(self, path: str, value: str, row: Param) -> str | None:
        pattern = _TYPES.get(row.type)
        if pattern is not None and not pattern.fullmatch(value):
            return f"type check ('{row.type}') failed - got '{value}'"
        try:
            self._formatted(path, value, row)
        except FormatError as error:
            return f"invalid format - {error}"
        return _out_of_bounds(value, row)

    def _formatted(self, path: str, value: str, row: Param) -> None:
        if row.properties:
            keys = of_release(row.properties, self.release.major)
            inner = _Checker(self.release, {})
            inner.table(f"{path}.", _split(value, keys, self.release), keys)
            if inner.errors:
                raise FormatError(_format_error(inner.errors))
        elif row.format is not None:
            check_format(row.format, value, self.release.privileges)


def _number(value: str, row: Param) -> Value:
    return int(value) if row.type == "number" and value.lstrip("+-").isdigit() else value


def _out_of_bounds(value: str, row: Param) -> str | None:
    if row.max_length is not None and len(value) > row.max_length:
        return f"value may only be {row.max_length} characters long"
    if row.pattern is not None and not re.fullmatch(row.pattern, value):
        return "value does not match the regex pattern"
    if row.enum and value not in row.enum:
        return f"value '{value}' does not have a value in the enumeration '{', '.join(row.enum)}'"
    if row.type in {"integer", "number"}:
        if row.minimum is not None and float(value) < row.minimum:
            return f"value must have a minimum value of {row.minimum:g}"
        if row.maximum is not None and float(value) > row.maximum:
            return f"value must have a maximum value of {row.maximum:.10g}"
    return None


def _split(value: str, keys: Table, release: Release) -> dict[str, str]:
    found: dict[str, str] = {}
    default = next((key.name for key in keys if key.default_key), None)
    for part in value.split(","):
        if not part.strip():
            continue
        name, equals, rest = part.partition("=")
        if not equals:
            if default is None:
                raise FormatError("value without key, but schema does not define a default key\n")
            name, rest = default, part
        elif not name or not rest:
            raise FormatError("missing key in comma-separated list property\n")
        name = _resolve_alias(name, keys, found)
        if name in found:
            raise FormatError(f"duplicate key in comma-separated list property: {name}\n")
        row = find_param(keys, name)
        found[name] = _boolean(rest, release) if row is not None and row.type == "boolean" else rest
    return found


def _resolve_alias(name: str, keys: Table, found: dict[str, str]) -> str:
    row = find_param(keys, name)
    if row is None or row.alias is None:
        return name
    if row.key_alias is not None:
        if row.key_alias in found:
            raise FormatError(f"key alias '{row.key_alias}' is already defined\n")
        found[row.key_alias] = name
    return row.alias


def _boolean(value: str, release: Release) -> str:
    word = value.lower() if release.major > 8 else value
    if word in {"1", "on", "yes", "true"}:
        return "1"
    return "0" if word in {"0", "off", "no", "false"} else value
