"""Everything that is wrong in an inventory at once, each with file, line and column."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localai_deploy.domain.gateway import gateway_host, gateway_of
from localai_deploy.domain.settings import BY_NAME, PREFIX, Sourced, resolve_settings, suggestion
from localai_deploy.domain.vm_settings import NODE_SETTINGS
from localai_deploy.errors import InputError
from localai_deploy.inventory.nodes import Nodes
from localai_deploy.inventory.query import ask, refuse_nodes, refuse_strangers, shown
from localai_deploy.inventory.sources import Place, Sources
from localai_deploy.inventory.specs import (
    KNOWN_VARIABLES,
    Entry,
    Inventories,
    Overrides,
    host_of_entry,
    paths_of,
    require_some,
    unknown_variable,
)
from localai_deploy.inventory.twins import twins

_SETTINGS = {**BY_NAME, **{setting.name: setting for setting in NODE_SETTINGS}}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    place: Place
    error: InputError


@dataclass(frozen=True, slots=True)
class Checked:
    """The hosts that were checked, and what is wrong with the inventory, by place."""

    hosts: Sequence[str]
    problems: Sequence[Problem]


def check_inventory(
    names: Sequence[str],
    inventory: Inventories,
    overrides: Overrides,
    vault_password_file: Path | None = None,
    *,
    limit: str = "",
) -> Checked:
    """Check all files of an inventory, and every value of the hosts that ``names`` stand for.

    :raises InputError: the inventory cannot be read, or has no such hosts.
    """
    sources = paths_of(inventory)
    answer = ask(names, sources, vault_password_file, limit=limit)
    refuse_strangers(answer["strangers"], answer["known"], sources)
    refuse_nodes(names, answer["nodes"])
    if names or limit or not answer["nodes"]:
        require_some([*names, *([limit] if limit else [])], sources, answer["hosts"])
    files = Sources(sources, answer["vaulted"])
    found = [*_in_files(files, answer["known"])]
    for entry in (*answer["hosts"], *answer["nodes"]):
        found += _in_values(entry, files)
    nodes = Nodes({str(one["name"]): _known(one) for one in answer["nodes"]}, only_shown=True)
    broken = {str(one.place) for one in found}
    for entry in answer["hosts"]:
        found += _in_whole(entry, files, overrides, nodes, broken)
    found += _in_gateway(answer, files) if not found else ()
    unique = {(one.place, one.error.error_id, one.error.what): one for one in found}
    return Checked(
        [str(entry["name"]) for entry in answer["hosts"]],
        sorted(unique.values(), key=lambda one: one.place),
    )


def _known(entry: Entry) -> dict[str, Sourced]:
    return {key: Sourced(value, "") for key, value in entry["variables"].items() if key in KNOWN_VARIABLES}


def _in_files(files: Sources, known: Sequence[str]) -> Iterator[Problem]:
    """What is wrong whether a host uses it or not."""
    for file in files.listing():
        if os.access(file.path, os.X_OK):
            continue
        for name, position in file.set_beside_hosts():
            yield from _unknown(name, files.place(file.path, *position))
        yield from _repeated(files, file.path, file.repeated())
    for kind, owner, file in files.of_variables():
        keys = files.keys(file.path)
        for name, position in keys.items():
            yield from _unknown(name, files.place(file.path, *position))
        yield from _repeated(files, file.path, file.repeated())
        if owner not in known and any(name.startswith(PREFIX) for name in keys):
            yield from _nobodys(kind, owner, files.place(file.path), known)
    for _, place, error in twins(files):
        yield Problem(place, error)


def _unknown(name: str, place: Place) -> Iterator[Problem]:
    if name.startswith(PREFIX) and name not in KNOWN_VARIABLES:
        yield Problem(place, unknown_variable(name, str(place)))


def _repeated(
    files: Sources, path: Path, repeated: Iterator[tuple[str, tuple[int, int], int]]
) -> Iterator[Problem]:
    for name, position, first in repeated:
        place = files.place(path, *position)
        yield Problem(
            place,
            InputError(
                "inventory-name-twice",
                f"{place}: {name} is there twice",
                why=f"it stands in line {first} already; of the two only the last would count",
                hint="give one of them another name, or take it out",
            ),
        )


def _nobodys(kind: str, owner: str, place: Place, known: Sequence[str]) -> Iterator[Problem]:
    """A file of variables for a name that is nearly one of the inventory's."""
    near = suggestion(owner, known)
    if near:
        what = "host" if kind == "host_vars" else "group"
        error = InputError(
            "inventory-file-unused",
            f"{place}: the inventory has no {what} {owner}, so that nobody reads this",
            why=near,
            hint=f"rename it after the {what}, or remove it",
        )
        yield Problem(place, error)


def _in_values(entry: Entry, files: Sources) -> Iterator[Problem]:
    """Values of our variables, each by itself."""
    variables: Mapping[str, Any] = entry["variables"]
    for name, value in variables.items():
        setting = _SETTINGS.get(name)
        if setting is None:
            continue
        try:
            setting.check(name, value)
        except InputError as error:
            place = files.place_of_variable(str(entry["name"]), entry["groups"], name)
            yield Problem(place, _at(place, error))


def _at(place: Place, error: InputError) -> InputError:
    return InputError(error.error_id, f"{place}: {error.what}", why=error.why, hint=error.hint)


def _in_whole(
    entry: Entry, files: Sources, overrides: Overrides, nodes: Nodes, broken: set[str]
) -> Iterator[Problem]:
    """What a host's values say together; nothing where one of them is wrong by itself."""
    name = str(entry["name"])
    own = {
        str(files.place_of_variable(name, entry["groups"], key))
        for key in entry["variables"]
        if key.startswith(PREFIX)
    }
    if own & broken:
        return
    try:
        host_of_entry(entry, files, overrides, nodes).spec()
    except InputError as error:
        place = files.place_of_host(name)
        yield Problem(place, _at(place, error))


def _in_gateway(answer: Mapping[str, Any], files: Sources) -> Iterator[Problem]:
    """What the hosts say together of the gateway before them, each being right by itself."""
    if not answer["gateways"]:
        return
    replicas = {str(entry["name"]): resolve_settings([_known(entry)]) for entry in answer["replicas"]}
    try:
        name = gateway_host(answer["gateways"], list(replicas), shown(files.inventories))
        gateway_of(replicas[name], replicas)
    except InputError as error:
        place = files.place_of_host(answer["gateways"][0])
        yield Problem(place, _at(place, error))
