"""A VM of the sandbox becomes an entry of an inventory; Ansible alone finds the way to it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.product import Ended, User
from tests.integration.sandbox_user import new_user
from tests.integration.ssh_server import make_key
from tests.lab.layout import Lab
from tests.lab.offer import make_offer

pytestmark = [pytest.mark.host, pytest.mark.slow]

MODEL = "hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF/smollm2-135m-instruct-q4_1.gguf"
BIN = Path(sys.executable).parent


@pytest.fixture
def user(lab: Lab, tmp_path: Path) -> Iterator[User]:
    """Somebody whose sandbox runs, with an inventory ``first`` of what its VMs need."""
    offer = make_offer(lab, bootable=False)
    user = new_user(tmp_path)
    cache = ("--cache", str(lab.directory / "sandbox"))
    key = tmp_path / "key"
    make_key(key)
    variables = offer["variables"] | {
        "localai_context_length": 1024,
        "localai_cores": 2,
        "localai_memory_mib": 1024,
        "localai_disk_gib": 8,
        "localai_ssh_key": str(key),
    }
    (tmp_path / "first" / "group_vars").mkdir(parents=True)
    (tmp_path / "first" / "hosts.yml").write_text("proxmox_vms:\n")
    (tmp_path / "first" / "group_vars" / "proxmox_vms.yml").write_text(yaml.safe_dump(variables))
    user.started("--body", "container", *cache, *offer["options"])
    yield user
    assert user.run("sandbox", "stop", *cache).code == 0


def play(home: Path, program: str, *words: str, cwd: Path = Path("/")) -> str:
    """A program of Ansible as anybody runs it."""
    done = subprocess.run(
        [BIN / program, *words],
        cwd=cwd,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def good(ended: Ended) -> Ended:
    assert ended.code == 0, ended
    return ended


def test_a_vm_of_the_sandbox(user: User, tmp_path: Path) -> None:
    first, home, project = tmp_path / "first", tmp_path / "my home", tmp_path / "project"
    words = ("up", "-i", str(first), "--node", "sandbox", "--name", "llm", "--model", MODEL, "--yes")
    good(user.run(*words, "--write-inventory", str(home)))
    entry = yaml.safe_load((home / "host_vars/llm/localai-deploy.yml").read_text())
    assert entry["localai_node"] == "sandbox"
    assert "ProxyCommand=" in entry["ansible_ssh_common_args"]
    assert yaml.safe_load((home / "hosts.yml").read_text())["proxmox_nodes"] is None
    secret = user.connection().token.secret  # type: ignore[attr-defined]
    places = (home, user.home)
    files = [one for place in places for one in place.rglob("*") if one.is_file()]
    assert [one for one in files if secret.encode() in one.read_bytes()] == []

    assert '"ping": "pong"' in play(tmp_path, "ansible", "llm", "-i", str(home), "-m", "ping")

    (home / "group_vars").mkdir()
    variables = (first / "group_vars" / "proxmox_vms.yml").read_text()
    (home / "group_vars" / "proxmox_vms.yml").write_text(variables)
    here = ("-i", str(home))
    good(user.run("verify", *here))
    good(user.run("plan", "--detailed-exitcode", *here))
    good(user.run("inventory", "refresh", "--check", "--detailed-exitcode", *here))
    good(user.run("render", "-d", str(project), *here))
    given = ("-e", f"@{project}/inventory/host_vars/llm.yml", "site.yml")
    recap = play(tmp_path, "ansible-playbook", *here, *given, cwd=project).rpartition("RECAP")[2]
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap)}
    assert counts["ok"] > 10
    assert (counts["changed"], counts["failed"]) == (0, 0)

    good(user.run("down", "llm", "--yes", *here))
    assert "llm is gone" in good(user.run("inventory", "refresh", *here)).stdout
