"""``explain``: an error or pitfall, its cause, how it is detected, what fixes it."""

from __future__ import annotations

import json

import click

from localai_deploy.cli.catalogue import catalogue
from localai_deploy.cli.options import output_option
from localai_deploy.domain.settings import suggestion
from localai_deploy.errors import InputError


@click.command(epilog="Example: localai-deploy explain host-key-unknown")
@click.argument("error_id", metavar="[ID]", required=False)
@output_option
def explain(error_id: str | None, output: str) -> None:
    """Explain an error id; without one, list all."""
    entries = catalogue()
    if error_id is None:
        chosen = entries
    elif error_id in entries:
        chosen = {error_id: entries[error_id]}
    else:
        raise InputError(
            "explanation-unknown",
            f"there is no error {error_id!r}",
            why=suggestion(error_id, entries),
            hint="localai-deploy explain lists all",
        )
    if output == "json":
        rows = [
            {"id": key, "title": e.title, "cause": e.cause, "detection": e.detection, "fix": e.fix}
            for key, e in sorted(chosen.items())
        ]
        click.echo(json.dumps({"schema": "localai-deploy/explain/v1", "entries": rows}, indent=2))
    elif error_id is None:
        for key, entry in sorted(entries.items()):
            click.echo(f"{key:<26} {entry.title}")
    else:
        entry = entries[error_id]
        click.echo(f"{error_id}: {entry.title}")
        for label, text in (("cause", entry.cause), ("seen by", entry.detection), ("fix", entry.fix)):
            click.echo(f"  {label:<8} {text}")
