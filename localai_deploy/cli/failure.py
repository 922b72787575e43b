"""Render an error: one shape on stderr, or as JSON on stdout."""

from __future__ import annotations

import re
import sys
from itertools import pairwise

import click

from localai_deploy.cli.output import error_data, print_json
from localai_deploy.cli.terminal import advice, hanging, note, width_of
from localai_deploy.errors import LocalaiError

_OUTPUT_OPTION = re.compile(r"-[A-Za-z]*o|--output")
_JSON_OPTION = re.compile(r"-[A-Za-z]*ojson|--output=json")


def wants_json(arguments: list[str]) -> bool:
    """Whether the command line asks for JSON, judged before it is parsed (it may be malformed)."""
    followed = pairwise(arguments)
    return any(_JSON_OPTION.fullmatch(word) for word in arguments) or any(
        value == "json" and _OUTPUT_OPTION.fullmatch(word) for word, value in followed
    )


def error_lines(error: LocalaiError, width: int = 0) -> list[str]:
    """What failed, why, and what to do, for a person."""
    first, *more = hanging(f"{error.what} [{error.error_id}]", first="error: ", rest="       ", width=width)
    lines = [click.style(first, fg="red", bold=True), *more]
    if error.why:
        lines += hanging(error.why, first="  why: ", rest="       ", width=width)
    if error.hint:
        lines += advice(error.hint, first="  fix: ", rest="       ", width=width)
    return lines


_WANTED = {"declined", "interrupted"}
"""Ids of ends that the user chose: they are told, but not as errors."""


def show_error(error: LocalaiError, *, as_json: bool) -> int:
    """Print the error; returns its exit code."""
    if as_json:
        print_json("error", error=error_data(error))
    elif error.error_id in _WANTED:
        note("; ".join(part for part in (error.what, error.hint) if part))
    else:
        for line in error_lines(error, width_of(sys.stderr)):
            note(line)
    return int(error.exit_code)
