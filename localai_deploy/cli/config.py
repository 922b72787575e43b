"""``config``: where values come from, and whether an inventory can be read."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from typing import Any

import click

from localai_deploy.cli.options import deployment_options, host_options, hosts_from
from localai_deploy.domain.settings import SETTINGS, json_schema


@click.group(epilog="Example: localai-deploy config show -i inventories/home nas")
def config() -> None:
    """Show and check settings."""


@config.command(epilog="Example: localai-deploy config show -i inventories/home nas -o json")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@deployment_options
@host_options
def show(hosts: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
    """Show every value of HOST and where it came from; secrets are redacted."""
    found: list[dict[str, Any]] = [
        {
            "host": host.name,
            "connection": host.connection.display,
            "secrets": {
                "become_password": _redacted(host.secrets.become_password),
                "hub_token": _redacted(host.secrets.hub_token),
            },
            "settings": {
                name: {"value": _plain(sourced.value), "source": sourced.source}
                for name, sourced in host.settings.items()
            },
        }
        for host in hosts_from(hosts, options)
    ]
    if options["output"] == "json":
        click.echo(json.dumps({"schema": "localai-deploy/config/v1", "hosts": found}, indent=2))
        return
    meanings = {setting.name: setting.meaning for setting in SETTINGS}
    for host in found:
        click.secho(f"{host['host']} ({host['connection']})", bold=True)
        for name, entry in host["settings"].items():
            click.echo(f"  {name:<30} {json.dumps(entry['value'])}")
            click.echo(click.style(f"  {'':<30} {entry['source']}: {meanings[name]}", dim=True))
        for name, state in host["secrets"].items():
            click.echo(f"  {name:<30} {state}")


@config.command(epilog="Example: localai-deploy config check -i inventories/home")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@host_options
def check(hosts: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
    """Read the inventory and check every value; exit 2 names file and line of what is wrong."""
    names = [host.spec().name for host in hosts_from(hosts, options)]
    if options["output"] == "json":
        click.echo(json.dumps({"schema": "localai-deploy/config-check/v1", "hosts": names}, indent=2))
    else:
        click.echo(f"{len(names)} host(s) are well described: {', '.join(names)}")


@config.command(epilog="Example: localai-deploy config schema > localai.schema.json")
def schema() -> None:
    """Print the JSON schema of the host variables, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


def _redacted(secret: str) -> str:
    return "set (not shown)" if secret else "not set"


def _plain(value: Any) -> Any:  # noqa: ANN401
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value
