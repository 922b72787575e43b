"""What is imported at the start, and how the program ends when nobody listens any more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.unit.cli.conftest import BIN, Ended

HEAVY = {
    *("ansible", "ansible_runner", "rich", "jinja2", "yaml", "huggingface_hub", "rattler", "pytest"),
    *("proxmoxer", "requests", "urllib3", "pycdlib", "cryptography"),
}
LIST_MODULES = """
import json, sys
from localai_deploy.cli.main import run
try:
    code = run(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(json.dumps({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def modules_after(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *words], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0
    return set(found["modules"])


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("explain",),
        ("explain", "usage", "-o", "json"),
        ("completion", "bash"),
        ("config", "schema", "plan"),
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(words: tuple[str, ...]) -> None:
    found = modules_after(*words)
    assert "click" in found
    assert found & HEAVY == set()


def test_the_commands_alone_need_neither_inventory_nor_node() -> None:
    program = "import localai_deploy.cli.main, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    parts = {name.split(".")[1] for name in done.stdout.split() if name.startswith("localai_deploy.")}
    assert parts == {"cli", "errors"}


def test_the_scan_would_see_a_heavy_import() -> None:
    assert "yaml" in modules_after("up", "--help")


def test_version(start: Callable[..., Ended]) -> None:
    done = start("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("localai-deploy, version 0.")


@pytest.mark.parametrize("words", [("explain",), ("explain", "-o", "json"), ("--help",)], ids=" ".join)
def test_a_reader_that_goes_away_is_no_traceback(words: tuple[str, ...], environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [str(BIN / "localai-deploy"), *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 1


def test_a_terminal_that_lacks_a_character_is_no_traceback(start: Callable[..., Ended]) -> None:
    done = start("up", "--help", PYTHONIOENCODING="latin-1")
    assert done.code == 0
    assert "SHA256:?" in done.out
