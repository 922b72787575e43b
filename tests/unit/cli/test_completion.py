"""Completion as a shell does it: the script is sourced by a real bash, which asks the installed program."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from localai_deploy.cli.main import COMMANDS
from tests.unit.cli.conftest import Ended

COMPLETE = """
source <(localai-deploy completion bash) || exit 9
complete -p localai-deploy >/dev/null || exit 8
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_localai_deploy_completion localai-deploy
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("",), set(COMMANDS)),
        (("st",), {"status"}),
        (("model", "p"), {"pull"}),
        (
            ("config", "schema", "model-"),
            {"model-catalogue", "model-list", "model-pull", "model-rm", "model-verify"},
        ),
        (("explain", "host-key-u"), {"host-key-unknown"}),
        (("model", "pull", "nas", "qwen3-"), {"qwen3-8b", "qwen3-0.6b"}),
        (("up", "--model", "rwkv7"), {"rwkv7-2.9b"}),
        (("up", "--dry"), {"--dry-run"}),
        (("up", "--write"), {"--write-inventory"}),
        (("inventory", ""), {"refresh"}),
        (("inventory", "refresh", "--ch"), {"--check"}),
        (("node", "permissions", "--inv"), {"--inventory"}),
        (("up", "-o", ""), {"text", "json"}),
        (("zzz",), {""}),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_bash_completes(words: tuple[str, ...], found: set[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, "bash", "localai-deploy", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert set(done.stdout.splitlines()) == found


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_that_they_can_parse(shell: str, run: Callable[..., Ended]) -> None:
    script = run("completion", shell).out
    assert "_LOCALAI_DEPLOY_COMPLETE" in script
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed: its script was made, but not parsed")
    subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_the_names_of_commands_are_completed_without_importing_them(environment: dict[str, str]) -> None:
    program = (
        "import os, sys, atexit\n"
        "atexit.register(lambda: print(any(n.startswith('localai_deploy.workflow') for n in sys.modules)))\n"
        "from localai_deploy.cli.main import main; main()"
    )
    done = subprocess.run(
        ["python", "-c", program],
        env={
            **environment,
            "_LOCALAI_DEPLOY_COMPLETE": "bash_complete",
            "COMP_WORDS": "localai-deploy ",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    *completions, imported = done.stdout.splitlines()
    assert len(completions) == len(COMMANDS)
    assert imported == "False"
