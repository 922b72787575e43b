"""``explain``: an error or pitfall, its cause, how it is detected, what fixes it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from localai_deploy.cli.catalogue import catalogue
from localai_deploy.cli.options import output_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.terminal import hanging, show, width_of
from localai_deploy.domain.settings import suggestion
from localai_deploy.errors import InputError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from localai_deploy.explanations import Explanation


def _complete_id(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    del ctx, param
    entries = sorted(catalogue().items())
    return [CompletionItem(key, help=entry.title) for key, entry in entries if key.startswith(incomplete)]


@click.command(epilog="Example: localai-deploy explain host-key-unknown")
@click.argument("error_id", metavar="[ID]", required=False, shell_complete=_complete_id)
@output_option
def explain(error_id: str | None, output: str) -> None:
    """Explain an error id; without one, list all."""
    entries = catalogue()
    if error_id is not None and error_id not in entries:
        raise InputError(
            "explanation-unknown",
            f"there is no error {error_id!r}",
            why=suggestion(error_id, entries),
            hint="localai-deploy explain lists all",
        )
    chosen = entries if error_id is None else {error_id: entries[error_id]}
    if output == "json":
        print_json("explain", entries=[_data(key, entry) for key, entry in sorted(chosen.items())])
    elif error_id is None:
        _print_list(entries)
    else:
        _print_entry(error_id, entries[error_id])


def _data(error_id: str, entry: Explanation) -> dict[str, str]:
    return {
        "id": error_id,
        "title": entry.title,
        "cause": entry.cause,
        "detection": entry.detection,
        "fix": entry.fix,
    }


def _print_list(entries: dict[str, Explanation]) -> None:
    width = max(map(len, entries))
    for key, entry in sorted(entries.items()):
        show(f"{key:<{width}}  {entry.title}")


def _print_entry(error_id: str, entry: Explanation) -> None:
    show(f"{click.style(error_id, bold=True)}: {entry.title}")
    width = width_of(sys.stdout)
    for label, text in (("cause", entry.cause), ("seen by", entry.detection), ("fix", entry.fix)):
        for line in hanging(text, first=f"  {label:<8} ", rest=" " * 11, width=width):
            show(line)
