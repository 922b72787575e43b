"""Changes of an inventory's files and entries, as text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from localai_deploy.cli.failure import error_lines
from localai_deploy.cli.plan_text import change_text
from localai_deploy.inventory.own_files import FileChange
from localai_deploy.workflow.entries import EntryLook, EntryState

_COLOR = {"+": "green", "-": "red"}
_SAID = {
    EntryState.SAME: "is as its node says",
    EntryState.CHANGED: "has changed",
    EntryState.SILENT: "does not tell its address and key now (stopped, or booting): its entry stays",
    EntryState.GONE: "is gone: its node has no VM of ours of that name; its entry stays",
}
_MARKED = {EntryState.SILENT: "yellow", EntryState.GONE: "red"}


def file_lines(directory: Path, changes: Sequence[FileChange]) -> Iterator[str]:
    """What is written: each file, and the lines of it that differ."""
    for change in changes:
        mark, color = ("~", "yellow") if change.before else ("+", "green")
        yield click.style(f"{mark} {directory / change.path}", fg=color)
        for line in _differing(change):
            yield click.style(f"    {line[0]} {line[1:]}".rstrip(), fg=_COLOR[line[0]])


def _differing(change: FileChange) -> Iterator[str]:
    diff = difflib.unified_diff(change.before.splitlines(), change.after.splitlines(), lineterm="", n=0)
    for number, line in enumerate(diff):
        if number >= 2 and line[0] in _COLOR:
            yield line


def look_lines(one: EntryLook, width: int) -> Iterator[str]:
    """One VM: how its entry compares, and the values that differ."""
    if one.state is None:
        yield from error_lines(one.error, width) if one.error else ()
        return
    name = click.style(one.host, bold=True)
    yield f"{name} {click.style(_SAID[one.state], fg=_MARKED.get(one.state))}"
    for change in one.changes:
        yield f"  {change_text(change)}"
