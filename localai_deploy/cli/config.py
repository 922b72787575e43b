"""``config``: where values come from, and whether an inventory can be read."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

import click

from localai_deploy.cli.config_check import check
from localai_deploy.cli.node_trust import Trust, warn_of_insecure
from localai_deploy.cli.options import (
    deployment_options,
    host_options,
    hosts_from,
)
from localai_deploy.cli.output import HOST_VARIABLES, error_data, load_schema, print_json, schema_names
from localai_deploy.cli.terminal import hanging, show, width_of
from localai_deploy.domain.settings import SETTINGS, Sourced, suggestion
from localai_deploy.domain.vm_settings import NODE_SETTINGS, VM_SETTINGS
from localai_deploy.errors import InputError, LocalaiError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from localai_deploy.inventory.nodes import Nodes
    from localai_deploy.inventory.specs import InventoryHost

_INDENT = " " * 32
_MEANING = {setting.name: setting.meaning for setting in (*SETTINGS, *NODE_SETTINGS)}
_OF_VMS = frozenset(setting.name for setting in VM_SETTINGS)


@click.group(epilog="Example: localai-deploy config show -i inventories/home nas")
def config() -> None:
    """Show and check settings."""


@config.command(
    "show",
    short_help="Show every value and where it came from.",
    epilog="Example: localai-deploy config show -i inventories/home nas -o json",
)
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@deployment_options
@host_options
def show_values(hosts: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
    """Show every value of HOST, or of a node of the inventory, and where it came from.

    Secrets are redacted. What is missing to reach a node is named.
    """
    known = _nodes(options)
    shown = _hosts(hosts, known.variables, options)
    places = [str(host.settings["localai_node"].value) for host in shown if host.vm]
    named = [name for name in known.variables if name in hosts or not hosts]
    settings = {name: known.settings(name) for name in dict.fromkeys([*named, *places])}
    warn_of_insecure(_trust(one) for name, one in settings.items() if name not in places)
    found = [_host_data(host) for host in shown]
    nodes = [_node_data(name, one, known.lack(name)) for name, one in settings.items()]
    if options["output"] == "json":
        print_json("config", hosts=found, nodes=nodes)
        return
    for one in (*found, *nodes):
        for line in _lines(one, width_of(sys.stdout)):
            show(line)


def _nodes(options: Mapping[str, Any]) -> Nodes:
    from localai_deploy.inventory.specs import load_nodes

    insecure = bool(options["insecure"])
    place = options["inventory"], options["vault_password_file"]
    return load_nodes(*place, insecure=insecure, only_shown=True)


def _hosts(names: tuple[str, ...], nodes: Collection[str], options: Mapping[str, Any]) -> list[InventoryHost]:
    """The hosts among what is named; an inventory may hold nodes alone."""
    others = tuple(name for name in names if name not in nodes)
    if names and not others:
        return []
    try:
        return hosts_from(others, options, only_shown=True)
    except InputError as error:
        if nodes and not names and error.error_id == "host-missing":
            return []
        raise


def _node_data(name: str, settings: Mapping[str, Sourced], lack: LocalaiError | None) -> dict[str, Any]:
    secrets = {one.name for one in NODE_SETTINGS if one.secret}
    return {
        "node": name,
        "secrets": {
            key.removeprefix("localai_proxmox_"): _redacted(settings[key].value) for key in sorted(secrets)
        },
        "settings": _settings_data(settings, set(settings) - secrets),
        **({"lack": error_data(lack)} if lack else {}),
    }


def _trust(settings: Mapping[str, Sourced]) -> Trust:
    host, fingerprint, insecure = (
        settings[f"localai_proxmox_{name}"].value for name in ("host", "fingerprint", "insecure")
    )
    return Trust(host, fingerprint, insecure)


def _settings_data(settings: Mapping[str, Sourced], names: Collection[str]) -> dict[str, Any]:
    return {
        name: {"value": _plain(sourced.value), "source": sourced.source}
        for name, sourced in settings.items()
        if name in names
    }


def _host_data(host: InventoryHost) -> dict[str, Any]:
    return {
        "host": host.name,
        "connection": host.connection.display,
        "secrets": {
            "become_password": _redacted(host.secrets.become_password),
            "hub_token": _redacted(host.secrets.hub_token),
        },
        "settings": _settings_data(
            host.settings, host.settings if host.vm is not None else set(host.settings) - _OF_VMS
        ),
    }


def _lines(one: Mapping[str, Any], width: int) -> Iterator[str]:
    if "host" in one:
        yield f"{click.style(one['host'], bold=True)} ({one['connection']})"
    else:
        yield f"{click.style(one['node'], bold=True)} (a Proxmox node)"
    for name, entry in one["settings"].items():
        first, *more = _value_lines(entry["value"])
        yield f"  {name:<29} {first}"
        yield from (f"{_INDENT}{line}" for line in more)
        meaning = f"{entry['source']}: {_MEANING[name]}"
        for line in hanging(meaning, first=_INDENT, rest=_INDENT, width=width):
            yield click.style(line, dim=True)
    for name, state in one["secrets"].items():
        yield f"  {name:<29} {state}"
    if lack := one.get("lack"):
        text = ": ".join(filter(None, (lack["what"], lack["why"])))
        for line in hanging(f"{text} [{lack['id']}]", first="  ! ", rest="    ", width=width):
            yield click.style(line, fg="yellow")


def _value_lines(value: object) -> list[str]:
    match value:
        case dict():
            return [f"{key}: {one}" for key, one in value.items()] or ["none"]
        case list():
            return [str(one) for one in value] or ["none"]
        case bool():
            return [json.dumps(value)]
        case "":
            return ["none"]
    return [str(value)]


config.add_command(check)


def _complete_schema(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    del ctx, param
    return [CompletionItem(name) for name in schema_names() if name.startswith(incomplete)]


@config.command(
    short_help="Print a JSON schema.",
    epilog="Example: localai-deploy config schema > localai.schema.json",
)
@click.argument("name", default=HOST_VARIABLES, metavar="[NAME]", shell_complete=_complete_schema)
def schema(name: str) -> None:
    """Print a JSON schema: of the host variables, for editors, or of what `-o json` prints.

    NAME is what stands in a document's `schema` between the slashes: plan, up, status, error, …
    """
    try:
        found = load_schema(name)
    except KeyError as error:
        raise InputError(
            "schema-unknown",
            f"there is no schema {name!r}",
            why=suggestion(name, schema_names()),
            hint=f"one of: {', '.join(schema_names())}",
        ) from error
    show(json.dumps(found, indent=2))


def _redacted(secret: str) -> str:
    return "set (not shown)" if secret else "not set"


def _plain(value: Any) -> Any:  # noqa: ANN401
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value
