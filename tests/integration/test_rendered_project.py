"""The project that ``render`` writes, run by plain ``ansible-playbook`` on a host that was just installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.product import User, write_inventory
from tests.lab.content import Content
from tests.lab.host import LabHost
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_daemon import mirror_urls
from tests.lab.state import difference

pytestmark = pytest.mark.host

MODEL = "hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF/smollm2-135m-instruct-q4_1.gguf"
SENTINEL = "sentinel-9f2c71"
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))


@dataclass(frozen=True)
class Rendered:
    """A rendered project and the user it belongs to."""

    host: LabHost
    user: User
    directory: Path

    def play(self, *words: str) -> dict[str, int]:
        """Run a playbook as a user would; the recap's counts of the only host."""
        done = subprocess.run(
            [PLAYBOOK, "-i", "inventory", *words],
            cwd=self.directory,
            env={"HOME": str(self.user.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        recap = done.stdout.rpartition("PLAY RECAP")[2]
        return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap)}


@pytest.fixture(scope="module")
def inventory(
    host: LabHost, content: Content, mirror: MirrorClient, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    variables = {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.private_key),
        "ansible_become_password": f"{SENTINEL}-sudo",
        "localai_host_key": host.fingerprint,
        "localai_models": [MODEL],
        "localai_context_length": 1024,
        "localai_mirrors": mirror_urls(host.lab),
    }
    return write_inventory(tmp_path_factory.mktemp("inventory"), {"box": variables})


@pytest.fixture(scope="module")
def rendered(host: LabHost, inventory: Path, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    user = User(tmp_path_factory.mktemp("home"), {"HF_TOKEN": f"{SENTINEL}-token"})
    directory = user.home / "my project"
    done = user.run("render", "-d", str(directory), "-i", str(inventory))
    assert done.code == 0, done
    written, run_it = done.stdout.splitlines()
    assert written == f"written: {directory}"
    assert run_it == f"run it:  cd '{directory}' && ansible-playbook -i inventory site.yml"
    return Rendered(host, user, directory)


def test_it_holds_no_secret_and_no_connection_of_the_run(rendered: Rendered) -> None:
    files = [path for path in rendered.directory.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert [path for path in files if SENTINEL.encode() in path.read_bytes()] == []
    hosts = (rendered.directory / "inventory" / "hosts.yml").read_text()
    assert "UserKnownHostsFile" in hosts
    assert "ControlPath" not in hosts


def test_a_second_render_is_equal(rendered: Rendered, inventory: Path, tmp_path: Path) -> None:
    assert rendered.user.run("render", "-d", str(tmp_path / "again"), "-i", str(inventory)).code == 0
    ours = {
        path.relative_to(rendered.directory): path for path in rendered.directory.rglob("*") if path.is_file()
    }
    again = {
        path.relative_to(tmp_path / "again"): path
        for path in (tmp_path / "again").rglob("*")
        if path.is_file()
    }
    assert set(ours) == set(again)
    assert [name for name in ours if ours[name].read_bytes() != again[name].read_bytes()] == []
    shutil.rmtree(tmp_path / "again")


def test_a_directory_of_something_else_is_refused(
    rendered: Rendered, inventory: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    rendered.user.refused(2, "directory-not-ours", "render", "-d", str(tmp_path), "-i", str(inventory))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_ansible_alone_runs_it(rendered: Rendered) -> None:
    """Check mode on the clean host, for real, again, and back: each with what it must leave."""
    before = rendered.host.state()
    rendered.play("site.yml", "--check", "--diff")
    assert difference(before, rendered.host.state()) == []

    first = rendered.play("site.yml")
    assert first["changed"] > 10
    assert rendered.host.ssh("systemctl is-active localai-llama-cpp").strip() == "active"

    assert rendered.play("site.yml")["changed"] == 0

    rendered.play("reset.yml", "-e", '{"model_store_purge": true}')
    assert difference(before, rendered.host.state()) == []
