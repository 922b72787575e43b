"""Lines for people: colour only where it is wanted, wrapped to the terminal's width."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import IO

import click

WIDEST = 120
NARROWEST = 40
WHOLE = 0
"""Width of what is not wrapped."""


def wants_color(stream: IO[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether escape codes may go to ``stream``: a terminal that is not dumb, and no ``NO_COLOR``."""
    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return stream.isatty() and not plain


def show(line: str = "", *, err: bool = False) -> None:
    """Write a line to stdout, or with ``err`` to stderr; styles are taken off where they are not wanted."""
    click.echo(line, err=err, color=wants_color(sys.stderr if err else sys.stdout))


def note(line: str) -> None:
    """Write a line about the run's progress to stderr."""
    show(line, err=True)


def width_of(stream: IO[str]) -> int:
    """Columns to wrap at; ``WHOLE`` for what is no terminal."""
    if not stream.isatty():
        return WHOLE
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))


def hanging(text: str, *, first: str, rest: str, width: int) -> list[str]:
    """``text`` behind ``first``, further lines behind ``rest``; ``WHOLE`` keeps lines as they are.

    Words are never broken: addresses, paths and commands stay whole.
    """
    paragraphs = text.splitlines() or [""]
    if not width:
        return [f"{rest if number else first}{line}".rstrip() for number, line in enumerate(paragraphs)]
    lines: list[str] = []
    for paragraph in paragraphs:
        wrapped = textwrap.wrap(
            paragraph,
            width - len(rest),
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines += wrapped or [""]
    return [f"{rest if number else first}{line}".rstrip() for number, line in enumerate(lines)]


def advice(text: str, *, first: str, rest: str, width: int) -> list[str]:
    """As :func:`hanging`, but a line with a command, an option or a path stays whole, to be copied."""
    lines: list[str] = []
    for line in text.splitlines():
        kept = WHOLE if re.search(r"[/`]|--", line) else width
        lines += hanging(line, first=rest if lines else first, rest=rest, width=kept)
    return lines


def accept_any_text() -> None:
    """Let a terminal that lacks a character show ``?`` for it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
