"""Malformed input: one message, exit 2, the same as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from localai_deploy.cli.failure import error_lines, wants_json
from localai_deploy.errors import LocalaiError
from tests.unit.cli.conftest import Ended

MODEL = ("--model", "hf:ORG/REPO/small-q4.gguf")
TYPOS = {
    ("upp", "box"): "No such command 'upp'. Did you mean up?",
    ("model", "lst", "box"): "No such command 'lst'. Did you mean 'list'?",
    (
        "up",
        "box",
        "--modle",
        "x",
    ): "No such option '--modle'. (Did you mean one of: '--model', '--name', '--node'?)",
    ("up", "box", "--port", "abc"): "Invalid value for '--port': 'abc' is not a valid integer.",
    ("completion",): "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish",
    ("down",): "Missing argument 'HOST...'.",
}


@pytest.mark.parametrize(("words", "what"), TYPOS.items(), ids=lambda one: " ".join(one) if one else "")
def test_typos(words: tuple[str, ...], what: str, run: Callable[..., Ended]) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    first, hint = done.err.splitlines()
    assert first == f"error: {what} [usage]"
    assert hint.startswith("  fix: localai-deploy ")
    assert hint.endswith("--help shows what it takes")


@pytest.mark.parametrize(("words", "what"), TYPOS.items(), ids=lambda one: " ".join(one) if one else "")
def test_typos_as_json(words: tuple[str, ...], what: str, run: Callable[..., Ended]) -> None:
    done = run(*words, "-o", "json")
    assert (done.code, done.err) == (2, "")
    assert done.data["schema"] == "localai-deploy/error/v1"
    assert done.data["error"]["id"] == "usage"
    assert done.data["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    ("words", "error_id"),
    [
        (("plan",), "host-missing"),
        (("up", "bad name", *MODEL), "host-name-invalid"),
        (("up", "box; reboot", *MODEL), "host-name-invalid"),
        (("up", "box", "--model", "model.gguf"), "model-reference-invalid"),
        (("up", "box", *MODEL, "--port", "0"), "setting-invalid"),
        (("up", "box", *MODEL, "--bind", "everywhere"), "setting-invalid"),
        (("up", "box", *MODEL, "--gpu", "auto"), "gpu-needs-node"),
        (("up", "box", *MODEL, "--gpu", "auto,none"), "setting-invalid"),
        (("up", "box", *MODEL, "--accept-host-key", "abc"), "setting-invalid"),
        (("up", "box", *MODEL, "-K"), "not-a-terminal"),
        (("plan", "-i", "/nowhere"), "inventory-unreadable"),
        (("explain", "host-key-unkown"), "explanation-unknown"),
        (("config", "schema", "plam"), "schema-unknown"),
        (("model", "pull", "box", "model.gguf"), "model-reference-invalid"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else one,
)
def test_input_is_judged_before_anything_is_reached(
    words: tuple[str, ...], error_id: str, run: Callable[..., Ended]
) -> None:
    done = run(*words, hosts={"box": "down"})
    assert (done.code, done.out) == (2, "")
    assert f"[{error_id}]" in done.err
    told = run(*words, "-o", "json", hosts={"box": "down"}) if words[0] != "config" else run(*words)
    assert told.code == 2
    assert words[0] == "config" or told.data["error"]["id"] == error_id


def test_without_a_command_the_help_is_shown(run: Callable[..., Ended]) -> None:
    for words in ((), ("model",), ("config",)):
        done = run(*words)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("Usage: localai-deploy")
        assert "error" not in done.err.partition("Commands:")[0]


def test_a_group_is_refused_where_one_host_is_meant(inventory: Path, run: Callable[..., Ended]) -> None:
    done = run("model", "list", "inference", "-i", str(inventory))
    assert done.code == 2
    assert "[one-host-only]" in done.err
    assert "one, two" in done.err


def test_a_file_of_this_machine_that_cannot_be_written(inventory: Path, run: Callable[..., Ended]) -> None:
    done = run(
        "verify", "-i", str(inventory), "--junit", "/nowhere/report.xml", hosts={"one": "down", "two": "down"}
    )
    assert done.code == 1
    assert done.err.startswith("error: /nowhere/report.xml: No such file or directory [local-file]")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("plan box -o json", True),
        ("plan box -ojson", True),
        ("plan box --output json", True),
        ("plan box --output=json", True),
        ("up box -yo json", True),
        ("up box -vyojson", True),
        ("plan json", False),
        ("plan -o text json", False),
        ("plan --out json", False),
        ("", False),
        ("plan -o", False),
    ],
)
def test_json_is_recognised_before_the_line_is_parsed(line: str, wanted: bool) -> None:
    assert wants_json(line.split()) is wanted


def test_an_error_as_text() -> None:
    error = LocalaiError("some-id", "it failed", why="because\nof this", hint="do that")
    assert [line.replace("\x1b[31m\x1b[1m", "").replace("\x1b[0m", "") for line in error_lines(error)] == [
        "error: it failed [some-id]",
        "  why: because",
        "       of this",
        "  fix: do that",
    ]
