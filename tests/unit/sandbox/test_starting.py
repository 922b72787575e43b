"""What a kind of guests asks of the machine, and how a process tells the command that starts it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.sandbox import bodies
from localai_deploy.sandbox.bodies import KINDS, check_prerequisites
from localai_deploy.sandbox.own_node import machine_cluster
from localai_deploy.sandbox.process_group import own_group
from localai_deploy.sandbox.settings import Settings
from localai_deploy.sandbox.state import User
from localai_deploy.sandbox.telling import Telling, hear
from localai_deploy.sandbox.ways_out import hosts_file


def refusal(kind: str) -> LocalaiError:
    with pytest.raises(LocalaiError) as caught:
        check_prerequisites(kind)
    return caught.value


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"bare"}))
def test_guests_need_root(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    error = refusal(kind)
    assert (error.error_id, error.exit_code) == ("sandbox-needs-root", ExitCode.REFUSED)
    assert "--body bare" in error.hint
    check_prerequisites("bare")


@pytest.mark.parametrize(
    ("kind", "packages"),
    [
        ("container", {"mmdebstrap", "systemd-container", "dnsmasq-base", "iproute2", "libarchive-tools"}),
        ("qemu", {"qemu-system-x86", "qemu-utils", "ovmf", "dnsmasq-base", "iproute2"}),
    ],
)
def test_missing_packages_are_named_with_the_command(
    kind: str, packages: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(bodies, "_is_there", lambda command: False)
    error = refusal(kind)
    assert error.error_id == "sandbox-packages-missing"
    assert error.hint.startswith("apt-get install ")
    assert packages <= set(error.hint.split())


def told(*lines: dict[str, object]) -> list[str]:
    return [json.dumps(line) + "\n" for line in lines]


def test_progress_until_it_is_ready() -> None:
    lines = told({"progress": "one"}, {"progress": "two"}, {"ready": True}, {"progress": "never"})
    assert list(hear(lines)) == ["one", "two"]


def test_an_error_arrives_as_it_was() -> None:
    stream = Stream()
    sent = LocalaiError("some-id", "what", why="why", hint="hint", exit_code=ExitCode.HELD)
    Telling(stream).failed(sent)
    with pytest.raises(LocalaiError) as caught:
        list(hear(stream.getvalue().splitlines()))
    got = caught.value
    assert (got.error_id, got.what, got.why, got.hint, got.exit_code) == (
        "some-id", "what", "why", "hint", ExitCode.HELD,
    )  # fmt: skip


class Stream(io.StringIO):
    """A text stream with a descriptor that may be given away."""

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def test_a_process_that_just_ends_is_an_error() -> None:
    with pytest.raises(LocalaiError) as caught:
        list(hear(told({"progress": "one"})))
    assert caught.value.error_id == "sandbox-start-failed"


def test_names_that_guests_know() -> None:
    settings = Settings("container", 9, "/c", forwards=("mirror.lab=198.19.0.1:8443", "198.19.0.1:8400"))
    assert hosts_file(settings, "http://198.19.0.1:8400/debian", "192.0.2.1").splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "198.19.0.1\tmirror.lab",
    ]
    assert hosts_file(Settings("container", 9, "/c"), "https://deb.debian.org/debian", "192.0.2.1").endswith(
        "192.0.2.1\tdeb.debian.org\n"
    )


@pytest.mark.parametrize("major", [8, 9])
def test_the_node_is_this_machine(major: int, tmp_path: Path) -> None:
    cluster = machine_cluster(major, "sandbox", tmp_path, User("root@pam", "secret"))
    node = cluster.nodes["sandbox"]
    assert list(cluster.nodes) == [cluster.local] == ["sandbox"]
    assert (cluster.release.major, node.bridges, node.cpus) == (major, ["vmbr0"], os.cpu_count())
    assert 0 < node.memory_used_bytes < node.memory_bytes
    assert list(cluster.storages) == ["local"]
    assert list(cluster.users) == ["root@pam"]
    assert not cluster.vms


def test_children_are_in_the_group_and_it_goes() -> None:
    if os.geteuid() != 0:
        pytest.skip("cgroups are made by root")
    before, name = Path("/proc/self/cgroup").read_text(), f"localai-test-{os.getpid()}"
    with own_group(name):
        program = "print(open('/proc/self/cgroup').read())"
        child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert f"/{name}\n" in child.stdout
    assert Path("/proc/self/cgroup").read_text() == before
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{name}"))
