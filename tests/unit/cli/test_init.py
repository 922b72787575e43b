"""``init``: what it writes is an inventory, and it writes over nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from localai_deploy.inventory.specs import Overrides, load_hosts
from tests.unit.cli.conftest import BIN, Ended
from tests.unit.cli.terminal_double import Terminal
from tests.unit.cli.test_schemas import problems

MODEL = "hf:ORG/REPO/FILE.gguf"
MACHINES = (
    *("--node", "pve1=192.0.2.5", "--vm", "llm=pve1", "--gpu", "llm=auto"),
    *("--bare-metal", "nas=admin@192.0.2.10", "--bare-metal", "here=localhost"),
    *("--wsl", "desktop=me@192.0.2.20", "--model", MODEL),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "my home"


def test_with_flags(home: Path, run: Callable[..., Ended]) -> None:
    ended = run("init", str(home), *MACHINES, "--yes", "-o", "json")
    assert ended.code == 0, ended.err
    assert problems(ended.data) == []
    assert ended.data["hosts"] == ["llm", "nas", "here", "desktop"]
    files = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert files == set(ended.data["files"])
    checked = run("config", "check", "-i", str(home))
    assert (checked.code, checked.out) == (0, "fine: llm, nas, here, desktop (4 hosts)\n")
    listed = subprocess.run(
        [BIN / "ansible-inventory", "-i", home, "--list"], capture_output=True, text=True, check=True
    )
    assert not listed.stderr
    groups = json.loads(listed.stdout)
    assert groups["proxmox_nodes"]["hosts"] == ["pve1"]
    assert groups["inference"]["children"] == ["proxmox_vms", "bare_metal", "wsl"]
    nas, here = load_hosts(["nas", "here"], home, Overrides())
    assert (nas.connection.display, here.connection.kind) == ("admin@192.0.2.10", "local")
    assert nas.spec().models == (MODEL,)


def test_what_it_writes_is_good_style(home: Path, run: Callable[..., Ended]) -> None:
    assert run("init", str(home), *MACHINES, "--yes").code == 0
    done = subprocess.run(
        [BIN / "yamllint", "--strict", "-c", Path(__file__).parents[3] / ".yamllint", home],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("there", ["file", "directory", "link"])
def test_nothing_is_overwritten(home: Path, there: str, run: Callable[..., Ended]) -> None:
    if there == "file":
        home.write_text("mine")
    elif there == "link":
        home.symlink_to("nowhere")
    else:
        home.mkdir()
        (home / "mine.yml").write_text("---\n")
    ended = run("init", str(home), *MACHINES, "--yes", "-o", "json")
    assert (ended.code, ended.data["error"]["id"]) == (2, "inventory-exists")
    assert there != "directory" or [path.name for path in home.iterdir()] == ["mine.yml"]


def test_an_empty_directory_is_used(home: Path, run: Callable[..., Ended]) -> None:
    home.mkdir()
    assert run("init", str(home), *MACHINES, "--yes").code == 0
    assert [path.name for path in home.parent.iterdir() if path.name.startswith(".my")] == []


@pytest.mark.parametrize(
    ("words", "error_id"),
    [
        ((), "confirmation-needed"),
        (("--model", MODEL), "confirmation-needed"),
        (("--node", "pve1=192.0.2.5", "--model", MODEL), "host-missing"),
        (("--bare-metal", "nas=admin@box", "--model", "nonsense"), "model-reference-invalid"),
        (("--bare-metal", "nas=-oX", "--model", MODEL), "host-name-invalid"),
        (("--bare-metal", "a b=box", "--model", MODEL), "host-name-invalid"),
        (("--bare-metal", "../x=box", "--model", MODEL), "host-name-invalid"),
        (("--bare-metal", "nas=box", "--wsl", "nas=box", "--model", MODEL), "inventory-name-twice"),
        (("--bare-metal", "wsl=box", "--model", MODEL), "inventory-name-twice"),
        (("--bare-metal", "nas=a", "--bare-metal", "nas=b", "--model", MODEL), "usage"),
        (("--bare-metal", "nas", "--model", MODEL), "usage"),
        (("--vm", "llm=pve1", "--model", MODEL), "node-unknown"),
        (("--vm", "llm=sandbox", "--gpu", "lm=auto", "--model", MODEL), "node-unknown"),
        (("--bare-metal", "nas=box", "--model", MODEL), "confirmation-needed"),
    ],
)
def test_refused(words: tuple[str, ...], error_id: str, home: Path, start: Callable[..., Ended]) -> None:
    yes = ("--yes",) if error_id != "confirmation-needed" else ()
    ended = start("init", str(home), *words, *yes, "-o", "json")
    assert (ended.code, ended.data["error"]["id"]) == (2, error_id)
    assert not home.exists()


def test_a_few_questions(home: Path, environment: dict[str, str]) -> None:
    terminal = Terminal([str(BIN / "localai-deploy"), "init", str(home)], environment)
    for question, answer in (
        ("Proxmox node", ""),
        ("Machine that is there", "nas"),
        ("nas: USER@HOST", "admin@192.0.2.10"),
        ("Machine that is there", ""),
        ("WSL distribution", ""),
        ("Model for all hosts", MODEL),
        ("Write these files?", "y"),
    ):
        terminal.wait_for_question(question)
        terminal.seen = ""
        terminal.type(f"{answer}\n")
    assert terminal.end() == 0, terminal.seen
    assert yaml.safe_load((home / "host_vars" / "nas" / "main.yml").read_text())["ansible_user"] == "admin"


def test_without_a_model_each_host_gets_what_it_takes(home: Path, run: Callable[..., Ended]) -> None:
    assert run("init", str(home), "--bare-metal", "nas=admin@192.0.2.10", "--yes").code == 0
    assert not (home / "group_vars").exists()
    assert run("config", "check", "-i", str(home)).code == 0


def test_no_leaves_nothing(home: Path, environment: dict[str, str]) -> None:
    argv = [str(BIN / "localai-deploy"), "init", str(home), *MACHINES]
    terminal = Terminal(argv, environment)
    terminal.wait_for_question("Write these files?")
    terminal.type("n\n")
    assert terminal.end() == 1
    assert not home.exists()
