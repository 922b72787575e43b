"""Options of a run over several hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from localai_deploy.domain.plan import TAGS
from localai_deploy.domain.spec import FORKS

Command = TypeVar("Command", bound=Callable[..., Any])


def forks_option(command: Command) -> Command:
    """``--forks``."""
    return click.option(
        "--forks",
        type=click.IntRange(1, 64),
        default=FORKS,
        show_default=True,
        help="Hosts that are worked on at once.",
    )(command)


def tags_option(command: Command) -> Command:
    """``--tags``."""
    return click.option(
        "-t",
        "--tags",
        metavar="TAG[,TAG]…",
        callback=_tags,
        default="",
        help=f"Only these parts of a deployment: {', '.join(TAGS)}.",
    )(command)


def _tags(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    from localai_deploy.domain.settings import suggestion

    found = tuple(filter(None, (word.strip() for word in text.split(","))))
    for word in found:
        if word not in TAGS:
            near = suggestion(word, TAGS)
            raise click.BadParameter(
                f"{word!r} is none of {', '.join(TAGS)}. {near}".strip(), context, parameter
            )
    return found
