"""The look at a node: read-only, one round trip, under several shells."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from localai_deploy.domain.node.hardware_parser import parse_hardware
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Completed
from localai_deploy.targets.node import look_at_node
from tests.lab.sections import encode_sections
from tests.unit.targets.recording import Recording

SCRIPT = Path(__file__).parents[3] / "localai_deploy" / "targets" / "node_hardware.sh"
LOOK = Completed(0, encode_sections({"uid": "0\n", "kernel": "6.8\n"}).encode(), b"")
SHELLS = [
    words for words in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(words[0])
]


def test_one_round_trip_as_root() -> None:
    executor = Recording([LOOK])
    assert look_at_node(executor).kernel == "6.8"
    (call,) = executor.calls
    assert (call.argv, call.stdin, call.sudo) == (("sh", "-s"), SCRIPT.read_bytes(), True)


def test_a_user_who_cannot_become_root_sees_less() -> None:
    look = Completed(0, encode_sections({"uid": "1000\n", "iomem": "0-1 : BOOTFB\n"}).encode(), b"")
    executor = Recording([LocalaiError("sudo-missing", "no sudo"), look])
    found = look_at_node(executor)
    assert not found.is_root
    assert found.framebuffers is None


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_script_works_under(shell: list[str]) -> None:
    done = subprocess.run([*shell, "-s"], input=SCRIPT.read_bytes(), capture_output=True, check=True)
    assert done.stderr == b""
    found = parse_hardware(done.stdout.decode())
    assert found.kernel == subprocess.run(["uname", "-r"], capture_output=True, text=True).stdout.strip()
    on_bus = sorted(path.name for path in Path("/sys/bus/pci/devices").glob("*"))
    assert [str(one.address) for one in found.functions] == on_bus
    for one in found.functions:
        device = Path("/sys/bus/pci/devices", str(one.address))
        assert one.driver == ((device / "driver").resolve().name if (device / "driver").exists() else "")
        assert one.class_id == int((device / "class").read_text(), 16)


def test_the_script_changes_nothing() -> None:
    words = set(SCRIPT.read_text().split())
    assert not words & {"rm", "mv", "cp", "tee", "touch", "mkdir", "chmod", "chown", "install", "kill", "dd"}
    redirections = {match.strip() for match in re.findall(r"\d?>+\s*[^\s);\"]+", SCRIPT.read_text())}
    assert redirections == {"2>/dev/null"}
