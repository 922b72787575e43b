"""Entries of VMs, used by Ansible alone, against a real SSH server."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localai_deploy.domain.pve.guest_access import GuestAccess
from localai_deploy.inventory.own_files import InventoryFiles
from tests.integration.ssh_server import ADDRESS, SshServer

ANSIBLE = str(Path(sys.executable).with_name("ansible"))
ALIAS = "localai-6e3f0b52-0000-4000-8000-000000000001"
COPY = """\
import os, socket, sys, threading
def copy(read, write):
    while data := read(65536):
        write(data)
server = socket.create_connection((sys.argv[1], int(sys.argv[2])))
threading.Thread(target=copy, args=(server.recv, lambda data: os.write(1, data)), daemon=True).start()
copy(lambda size: os.read(0, size), server.sendall)
"""


@pytest.fixture(params=["home", "it's 50% {{ mine }}"])
def inventory(request: pytest.FixtureRequest, tmp_path: Path, server: SshServer) -> InventoryFiles:
    """Of a VM that is reached through a program, as those of a sandbox node are; nobody has its address."""
    program = tmp_path / "my relay.py"
    program.write_text(COPY)
    words = shlex.join([sys.executable, str(program), ADDRESS, str(server.port)])
    key = " ".join((server.directory / "host_ed25519.pub").read_text().split()[:2])
    access = GuestAccess(
        "192.0.2.77",
        getpass.getuser(),
        ALIAS,
        key,
        str(server.client_key),
        ("-F", "none", "-o", f"ProxyCommand={words}", "-o", "IdentitiesOnly=yes"),
    )
    files = InventoryFiles(tmp_path / request.param)
    files.put_groups("", None)
    files.put_vm("llm", {"localai_node": "sandbox"}, access, in_inference=True)
    files.write()
    return files


def ping(files: InventoryFiles, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Plain Ansible of a user with an empty home, from another directory."""
    python = f"ansible_python_interpreter={sys.executable}"
    return subprocess.run(
        [ANSIBLE, "llm", "-i", str(files.directory), "-m", "ansible.builtin.ping", "-e", python],
        cwd="/",
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def home() -> Iterator[Path]:
    """With a short name: Ansible's sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="home-") as directory:
        yield Path(directory)


def test_it_reaches_the_guest(inventory: InventoryFiles, home: Path) -> None:
    done = ping(inventory, home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"ping": "pong"' in done.stdout


@pytest.mark.parametrize(
    "environment", [{}, {"ANSIBLE_HOST_KEY_CHECKING": "False"}], ids=["as it is", "checks switched off"]
)
def test_another_key_is_refused(
    inventory: InventoryFiles, tmp_path: Path, server: SshServer, environment: dict[str, str]
) -> None:
    """Also where somebody's ansible.cfg has switched such checks off for everything."""
    server.change_host_key()
    done = ping(inventory, tmp_path, **environment)
    assert done.returncode != 0
    assert "Host key verification failed" in done.stdout + done.stderr
    assert "pong" not in done.stdout


def test_a_key_that_the_user_knows_does_not_count(
    inventory: InventoryFiles, tmp_path: Path, server: SshServer
) -> None:
    server.change_host_key()
    key = " ".join((server.directory / "host_ed25519.pub").read_text().split()[:2])
    (tmp_path / ".ssh").mkdir(exist_ok=True)
    (tmp_path / ".ssh" / "known_hosts").write_text(f"{ALIAS} {key}\n192.0.2.77 {key}\n")
    assert ping(inventory, tmp_path).returncode != 0
