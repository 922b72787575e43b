"""Help of every command, its example, and the README's table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from localai_deploy.cli.main import COMMANDS, PROGRAM, cli
from tests.unit.cli.conftest import Ended

README = Path(__file__).parents[3] / "README.md"


def walk(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below ``command`` with its words."""
    if path:
        yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


EVERY = dict(walk(cli))


def test_the_walk_finds_commands_and_their_commands() -> None:
    assert {("up",), ("model", "pull"), ("config", "schema"), ("completion",)} <= set(EVERY)
    assert len(EVERY) >= 16


@pytest.mark.parametrize("path", sorted(EVERY), ids=" ".join)
def test_help_says_what_it_does_and_shows_an_example(
    path: tuple[str, ...], run: Callable[..., Ended]
) -> None:
    done = run(*path, "--help")
    assert (done.code, done.err) == (0, "")
    assert EVERY[path].help
    assert done.out.startswith(f"Usage: {PROGRAM} {' '.join(path)} ")
    assert f"Example: {PROGRAM} {' '.join(path)}" in done.out or path == ("completion",)
    assert run(*path, "-h").out == done.out


@pytest.mark.parametrize("path", sorted(EVERY), ids=" ".join)
def test_the_example_is_a_command_line_that_can_be_parsed(path: tuple[str, ...]) -> None:
    example = EVERY[path].epilog or ""
    match = re.search(rf"{PROGRAM} ([^)>]*)", example)
    assert match, example
    parse(match[1])


def parse(line: str) -> None:
    """Take a command line as the program would, without running it."""
    words = shlex.split(line, comments=True)
    command: click.Command = cli
    context = click.Context(cli, info_name=PROGRAM)
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0)) or pytest.fail(line)
    command.make_context(line, words, parent=context)


README_LINES = re.findall(rf"^\$ {PROGRAM} (.+)$", README.read_text(), re.MULTILINE)


def test_the_readme_has_command_lines() -> None:
    assert len(README_LINES) >= 6


@pytest.mark.parametrize("line", README_LINES)
def test_a_command_line_of_the_readme_can_be_parsed(line: str) -> None:
    parse(line)


@pytest.mark.parametrize("path", sorted(EVERY), ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    options = [one for one in EVERY[path].params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []


@pytest.mark.parametrize(
    "path",
    sorted(path for path, command in EVERY.items() if not isinstance(command, click.Group)),
    ids=" ".join,
)
def test_every_command_has_json(path: tuple[str, ...]) -> None:
    plain = {("completion",), ("config", "schema")}
    assert any(one.name == "output" for one in EVERY[path].params) or path in plain


def test_summaries_of_the_table_are_as_long_as_a_line(run: Callable[..., Ended]) -> None:
    listed = run("--help").out
    for name, (_, summary) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", listed, re.M)
    for group in ("model", "config", "sandbox"):
        assert "..." not in run(group, "--help").out.partition("Commands:")[2]


def test_the_readme_lists_exactly_the_commands() -> None:
    section = README.read_text().partition("## Commands")[2].partition("\n## ")[0]
    rows = [re.match(r"\| `([^`]*)` \|", line) for line in section.splitlines()]
    listed: set[tuple[str, ...]] = set()
    for words in [row[1].replace("\\|", "|").split() for row in rows if row]:
        if isinstance(EVERY.get((words[0],)), click.Group):
            listed |= {(words[0], name) for name in words[1].split("|")}
        else:
            listed.add((words[0],))
    assert listed == {path for path, command in EVERY.items() if not isinstance(command, click.Group)}


def test_the_readme_names_every_exit_code() -> None:
    from localai_deploy.errors import ExitCode

    text = README.read_text().partition("Exit codes:")[2].partition("\n## ")[0]
    assert [code for code in ExitCode if not re.search(rf"\b{int(code)}\b", text)] == []
