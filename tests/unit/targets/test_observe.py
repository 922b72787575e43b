"""The look at a host: how it is asked for, and the script itself under several shells."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from localai_deploy.domain import paths
from localai_deploy.domain.facts_parser import parse_facts
from localai_deploy.domain.observation_sections import decode_sections, encode_sections
from localai_deploy.domain.preflight import SCRATCH_BYTES
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Completed
from localai_deploy.targets.observe import observe
from tests.unit.targets.recording import Recording

SCRIPT = Path(__file__).parents[3] / "localai_deploy" / "targets" / "observe.sh"
LOOK = Completed(0, encode_sections({"uid": "0\n"}).encode(), b"")
SHELLS = [
    words for words in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(words[0])
]


def test_one_round_trip_as_root() -> None:
    executor = Recording([LOOK])
    assert observe(executor).is_root
    (call,) = executor.calls
    assert (call.argv, call.stdin, call.sudo) == (("sh", "-s"), SCRIPT.read_bytes(), True)


def test_without_sudo_rights_it_is_looked_at_as_the_user() -> None:
    look = Completed(0, encode_sections({"uid": "1000\n"}).encode(), b"")
    executor = Recording([LocalaiError("sudo-missing", "no sudo"), look])
    assert not observe(executor).is_root
    assert [call.sudo for call in executor.calls] == [True, False]


@pytest.mark.parametrize("error_id", ["sudo-password-wrong", "sudo-password-needed", "host-unreachable"])
def test_other_failures_are_passed_on(error_id: str) -> None:
    executor = Recording([LocalaiError(error_id, "no")])
    with pytest.raises(LocalaiError) as caught:
        observe(executor)
    assert caught.value.error_id == error_id
    assert len(executor.calls) == 1


def test_a_look_that_printed_nothing() -> None:
    with pytest.raises(LocalaiError) as caught:
        observe(Recording([Completed(1, b"", b"sh: cannot fork\n")]))
    assert caught.value.error_id == "host-unreadable"
    assert "cannot fork" in caught.value.why


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_script_works_under(shell: list[str]) -> None:
    done = subprocess.run([*shell, "-s"], input=SCRIPT.read_bytes(), capture_output=True, check=True)
    assert done.stderr == b""
    facts = parse_facts(done.stdout.decode())
    hostname = subprocess.run(["uname", "-n"], capture_output=True, text=True, check=True).stdout.strip()
    assert facts.hostname == hostname
    assert facts.memory_bytes > 1 << 28
    assert facts.cpu_count >= 1
    assert facts.free_bytes.keys() == {paths.PREFIX_DIR, paths.STATE_DIR, *SCRATCH_BYTES}


def test_the_script_works_without_most_programs(tmp_path: Path) -> None:
    for name in ("sh", "base64", "tr", "uname", "id", "cat", "df", "tail", "grep", "ls", "sed"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    script = SCRIPT.read_bytes().replace(
        b':/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"', b'"'
    )
    done = subprocess.run(
        [str(tmp_path / "sh"), "-s"],
        input=script,
        capture_output=True,
        env={"PATH": str(tmp_path)},
        check=True,
    )
    facts = parse_facts(done.stdout.decode())
    assert facts.python_version == ""
    assert facts.systemd_version == 0
    assert len(facts.free_bytes) == 2 + len(SCRATCH_BYTES)


def test_every_section_appears_once() -> None:
    done = subprocess.run(["sh", "-s"], input=SCRIPT.read_bytes(), capture_output=True, check=True)
    names = [line.partition(" ")[0] for line in done.stdout.decode().split("\n") if line]
    assert len(names) == len(set(names))
    assert decode_sections(done.stdout.decode()).keys() == {*names} - {"begin", "end"}


def test_the_script_changes_nothing() -> None:
    words = set(SCRIPT.read_text().split())
    assert not words & {"rm", "mv", "cp", "tee", "touch", "mkdir", "chmod", "chown", "install", "kill", "dd"}
    redirections = {match.strip() for match in re.findall(r"\d?>+\s*[^\s);\"]+", SCRIPT.read_text())}
    assert redirections == {"2>/dev/null", "2>&1"}
