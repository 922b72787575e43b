"""Render an error: one shape on stderr, or as JSON on stdout."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import click

from localai_deploy.errors import LocalaiError


def wants_json(arguments: list[str]) -> bool:
    """Whether the command line asks for JSON, judged before it is parsed (it may be malformed)."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(
        (word in {"-o", "--output"} and value == "json") or word in {"-ojson", "--output=json"}
        for word, value in pairs
    )


def error_lines(error: LocalaiError) -> list[str]:
    """What failed, why, and what to do, for a person."""
    lines = [f"error: {error.what} [{error.error_id}]"]
    lines += [f"  why: {line}" if first else f"       {line}" for first, line in _numbered(error.why)]
    lines += [f"  fix: {line}" if first else f"       {line}" for first, line in _numbered(error.hint)]
    return lines


def _numbered(text: str) -> list[tuple[bool, str]]:
    return [(index == 0, line) for index, line in enumerate(text.splitlines())]


def error_data(error: LocalaiError) -> dict[str, object]:
    """The ``error`` JSON schema's object."""
    return {
        "id": error.error_id,
        "what": error.what,
        "why": error.why,
        "hint": error.hint,
        "exit_code": int(error.exit_code),
    }


def exit_with_error(error: LocalaiError, *, json_output: bool) -> NoReturn:
    """Print the error and end the process with its exit code."""
    if json_output:
        click.echo(json.dumps({"schema": "localai-deploy/error/v1", "error": error_data(error)}, indent=2))
    else:
        for index, line in enumerate(error_lines(error)):
            click.secho(line, err=True, fg="red" if index == 0 else None, bold=index == 0)
    sys.exit(int(error.exit_code))
