"""``playbooks/site.yml`` by plain Ansible, and the smoke suite on what it left: green, and later red."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.controller import host_variables
from tests.integration.product import write_inventory
from tests.lab.content import Content
from tests.lab.host import LabHost
from tests.lab.layout import REPOSITORY
from tests.lab.mirror_client import MirrorClient

pytestmark = pytest.mark.host

BIN = Path(sys.executable).parent
SSH_CONFIG = """\
Host box
  HostName {host.address}
  User {host.user}
  IdentityFile {host.private_key}
  IdentitiesOnly yes
  UserKnownHostsFile {host.known_hosts}
  StrictHostKeyChecking yes
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """With a short name: Ansible's sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="home-") as directory:
        yield Path(directory)


def start(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout as somebody with an empty home."""
    return subprocess.run(
        argv,
        cwd=REPOSITORY,
        env={"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}", "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_stopped_service_turns_the_suite_red(
    host: LabHost, content: Content, mirror: MirrorClient, home: Path
) -> None:
    known = f"-o UserKnownHostsFile={host.known_hosts}"
    variables = host_variables(host) | {"ansible_ssh_common_args": known, "localai_context_length": 1024}
    inventory = write_inventory(home / "inventory", {"box": variables})
    settings = home / "ssh_config"
    settings.write_text(SSH_CONFIG.format(host=host))

    def smoke() -> subprocess.CompletedProcess[str]:
        suite = ("-m", "pytest", "-q", "tests/smoke", "--box", "box", "--ssh-config", str(settings))
        return start(home, sys.executable, *suite)

    played = start(home, str(BIN / "ansible-playbook"), "-i", str(inventory), "playbooks/site.yml")
    assert played.returncode == 0, played.stdout[-4000:] + played.stderr[-2000:]
    assert int(re.findall(r"changed=(\d+)", played.stdout)[-1]) > 10
    green = smoke()
    assert green.returncode == 0, green.stdout
    assert "8 passed" in green.stdout

    host.root("systemctl", "stop", "localai-llama-cpp")
    red = smoke()
    assert red.returncode == 1, red.stdout
    assert set(re.findall(r"FAILED \S+::(\w+)\[box\]", red.stdout)) >= {
        "test_the_product_proves_it",
        "test_the_service_runs_and_will_after_a_restart",
        "test_it_answers",
    }
