"""The program, in this process and in one of its own, at home in an empty directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.cli import main as program
from tests.unit.cli.host_double import no_header, opener
from tests.unit.cli.terminal_double import Terminal

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a user with an empty home."""
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def run(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run a command line in this process; ``hosts`` maps host names to golden cases."""

    def run(*words: str, hosts: dict[str, str] | None = None) -> Ended:
        from localai_deploy.workflow import deploy, host_fit

        for name in ("LOCALAI_DEPLOY_INVENTORY", "ANSIBLE_VAULT_PASSWORD_FILE", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        if hosts:
            monkeypatch.setattr(deploy, "open_target", opener(hosts))
            monkeypatch.setattr(host_fit, "read_remote", no_header)
        code = program.run(list(words))
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def start(environment: dict[str, str]) -> Callable[..., Ended]:
    """Run the installed program in a process of its own, without a terminal."""

    def start(*words: str, **more: str) -> Ended:
        done = subprocess.run(
            [str(BIN / "localai-deploy"), *words],
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return start


@pytest.fixture
def sit_before(environment: dict[str, str]) -> Callable[..., Terminal]:
    """Run the program on a terminal, with host doubles as in :mod:`tests.unit.cli.host_double`."""

    def sit_before(hosts: str, *words: str, **more: str) -> Terminal:
        argv = [sys.executable, "-m", "tests.unit.cli.host_double", hosts, *words]
        return Terminal(argv, {**environment, **more})

    return sit_before


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Hosts ``one`` and ``two`` that want the model which the golden case ``second-run`` serves."""
    path = tmp_path / "hosts.yml"
    hosts = "".join(
        f"    {name}: {{ansible_host: 192.0.2.1, localai_models: ['hf:ORG/REPO/small-q4.gguf']}}\n"
        for name in ("one", "two")
    )
    path.write_text(f"inference:\n  hosts:\n{hosts}")
    return path
