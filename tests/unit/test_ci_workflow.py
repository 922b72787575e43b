"""The workflow for forks: it may read only, runs pinned actions, and calls what the project has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$")


def steps() -> Iterator[dict[str, Any]]:
    for job in WORKFLOW["jobs"].values():
        yield from job["steps"]


def commands() -> list[str]:
    return [step["run"] for step in steps() if "run" in step]


def test_it_may_read_the_code_and_nothing_else() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert not [job for job in WORKFLOW["jobs"].values() if "permissions" in job]
    assert "secrets." not in TEXT
    assert "pull_request_target" not in TEXT
    checkouts = [step for step in steps() if "uses" in step]
    assert len(checkouts) == len(WORKFLOW["jobs"])
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


def test_actions_are_pinned_by_commit() -> None:
    used = [line.strip() for line in TEXT.splitlines() if "uses:" in line]
    assert len(used) == len(WORKFLOW["jobs"])
    assert [line for line in used if not PINNED.match(line)] == []


def test_no_expression_is_put_into_a_shell() -> None:
    assert len(commands()) >= len(WORKFLOW["jobs"])
    assert [command for command in commands() if "${{" in command] == []


@pytest.mark.parametrize("program", ["bin/test", "bin/setup"])
def test_options_are_those_that_our_programs_take(program: str) -> None:
    source = (ROOT / program).read_text()
    calls = [command for command in commands() if program in command.split()]
    assert calls
    for command in calls:
        words = command.partition(program)[2].split()
        own = [word for word in words if word.startswith("--")]
        assert [word for word in own if not re.search(rf"^ *{word}\)", source, re.MULTILINE)] == []


def test_what_it_calls_is_there() -> None:
    words = {word for command in commands() for word in command.split()}
    paths = {word for word in words if word.startswith(("bin/", "tests/", ".github/"))}
    assert paths == {"bin/test", "bin/setup", "tests/roles", ".github/install-vagrant"}
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert (ROOT / ".github" / "install-vagrant").stat().st_mode & 0o111


def test_every_box_is_brought_up() -> None:
    boxes = re.findall(r'^    "(\w+)" => \[', (ROOT / "Vagrantfile").read_text(), re.MULTILINE)
    assert WORKFLOW["jobs"]["vagrant"]["strategy"]["matrix"]["box"] == boxes
    assert len(boxes) == 4
