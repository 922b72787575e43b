"""The target ``ssh_host`` on real systemd hosts: sudo in all its forms, facts, the lock."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.errors import LocalaiError
from localai_deploy.targets import open_target
from localai_deploy.targets.base import Target
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.layout import Lab
from tests.lab.seed import SUDO_PASSWORD

pytestmark = pytest.mark.host

CONTROLLER = """\
import json, sys, time
from localai_deploy.domain.connection import Connection
from localai_deploy.targets import open_target
values = json.loads(sys.argv[1])
target = open_target("box", Connection(**{**values, "ssh_args": tuple(values["ssh_args"])}))
with target.hold():
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture(scope="module")
def asking_host(lab: Lab) -> Iterator[LabHost]:
    with start_host(lab, unique_name(), sudo="password") as host:
        yield host


@pytest.fixture(scope="module")
def powerless_host(lab: Lab) -> Iterator[LabHost]:
    with start_host(lab, unique_name(), sudo="none") as host:
        yield host


def values_of(host: LabHost, user: str = "") -> dict[str, object]:
    return {
        "kind": "ssh",
        "destination": host.address,
        "user": user or host.user,
        "private_key_file": str(host.private_key),
        "ssh_args": ("-F", "none", "-o", "IdentitiesOnly=yes"),
        "host_key": host.fingerprint,
    }


def target_of(host: LabHost, password: str = "", user: str = "") -> Target:
    return open_target("box", Connection(**values_of(host, user)), become_password=password)  # type: ignore[arg-type]


def facts_of(host: LabHost, password: str = "", user: str = "") -> HostFacts:
    target = target_of(host, password, user)
    try:
        return target.observe()
    finally:
        target.close()


def refusal(host: LabHost, password: str = "") -> LocalaiError:
    with pytest.raises(LocalaiError) as caught:
        facts_of(host, password)
    return caught.value


def test_facts_of_a_fresh_debian(host: LabHost) -> None:
    facts = facts_of(host)
    assert (facts.os_id, facts.os_version) == ("debian", "13")
    assert facts.hostname == host.name
    assert facts.is_root
    assert facts.systemd_running
    assert facts.systemd_version == 257
    assert facts.python_version.startswith("3.13.")
    assert facts.virtualization == "systemd-nspawn"
    assert facts.listener(22).unit in {"ssh.service", "ssh.socket"}  # type: ignore[union-attr]
    assert facts.runtimes == ()
    assert (facts.deployment, facts.lock, facts.runtime, facts.files) == (None, None, None, {})
    assert facts.unit.load_state == "not-found"
    assert not facts.apt_locked
    assert facts.free_bytes["/opt/localai-deploy"] > 1 << 30


def test_facts_follow_what_is_there(host: LabHost) -> None:
    host.root("mkdir", "-p", "/etc/localai-deploy", "/var/lib/localai-deploy/models")
    host.root(
        "sh", "-c", "echo '{' >/etc/localai-deploy/deployment.json; echo secret >/etc/localai-deploy/api-key"
    )
    host.root("chmod", "600", "/etc/localai-deploy/api-key")
    host.root("sh", "-c", "printf 12345 >/var/lib/localai-deploy/models/m.gguf.part")
    host.root("systemd-run", "--unit=ollama", "sleep", "infinity")
    facts = facts_of(host)
    host.root("systemctl", "stop", "ollama")
    host.root("rm", "-r", "/etc/localai-deploy", "/var/lib/localai-deploy")
    assert isinstance(facts.deployment, CorruptRecord)
    assert facts.files["/etc/localai-deploy/api-key"].mode == "0600"
    assert facts.files["/etc/localai-deploy/api-key"].sha256 == ""
    assert [(model.file_name, model.partial_bytes) for model in facts.models] == [("m.gguf", 5)]
    assert [(other.kind, other.evidence) for other in facts.runtimes] == [("ollama", "unit ollama.service")]


def test_a_package_run_is_seen(host: LabHost) -> None:
    program = (
        "import fcntl, time; file = open('/var/lib/dpkg/lock-frontend', 'w'); "
        "fcntl.lockf(file, fcntl.LOCK_EX); print(1, flush=True); time.sleep(60)"
    )
    command = [*host.ssh_command(), "sudo", "timeout", "60", "python3", "-c", f'"{program}"']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        busy = facts_of(host).apt_locked
        host.root("pkill", "-f", "lock-frontend")
    assert busy


def test_the_look_changes_nothing(host: LabHost) -> None:
    target = target_of(host)
    target.observe()

    def changed() -> set[str]:
        times = host.root("find", "/", "-xdev", "-newer", "/tmp/before", "-type", "f")
        return {line for line in times.split() if not line.startswith(("/proc", "/sys", "/run", "/var/log"))}

    host.root("touch", "/tmp/before")
    time.sleep(0.1)
    target.observe()
    found = changed()
    target.close()
    assert found == set()


@contextmanager
def our_port(host: LabHost) -> Iterator[None]:
    """Something that listens on port 8080 in a unit of the service's name, beside something that does not."""
    for unit, address in (("localai-llama-cpp", "127.0.0.1"), ("other", host.address)):
        command = ("python3", "-m", "http.server", "8080", "--bind", address)
        host.root("systemd-run", "--quiet", "--collect", f"--unit={unit}", *command)
    deadline = time.monotonic() + 20
    while host.root("ss", "-Hltn").count(":8080 ") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    try:
        yield
    finally:
        host.root("systemctl", "stop", "localai-llama-cpp", "other")


@pytest.mark.parametrize("program", ["ss", "none"])
def test_our_own_port_is_known_with_and_without_ss(host: LabHost, program: str) -> None:
    with our_port(host):
        if program == "none":
            host.root("mv", "/usr/bin/ss", "/usr/bin/ss-away")
        try:
            facts = facts_of(host)
        finally:
            host.root("sh", "-c", "mv /usr/bin/ss-away /usr/bin/ss 2>/dev/null || true")
    found = {one.address: one.unit for one in facts.listening if one.port == 8080}
    assert found["127.0.0.1"] == "localai-llama-cpp.service"
    assert found[host.address] == ("other.service" if program == "ss" else "")


RECORD = "/etc/localai-deploy/deployment.json"


@pytest.mark.parametrize(
    "made_by",
    [
        f"mkfifo {RECORD}",
        f"mkdir {RECORD}",
        f"ln -s nowhere {RECORD}",
        f"ln -s /dev/zero {RECORD}",
        f": >{RECORD}",
        f"head -c 3000000 /dev/zero >{RECORD}",
    ],
)
def test_whatever_lies_in_the_place_of_the_record_is_told(host: LabHost, made_by: str) -> None:
    host.root("sh", "-c", f"mkdir /etc/localai-deploy && {made_by}")
    started = time.monotonic()
    facts = facts_of(host)
    host.root("rm", "-r", "/etc/localai-deploy")
    assert isinstance(facts.deployment, CorruptRecord)
    assert time.monotonic() - started < 20


def test_a_record_that_only_root_may_read(powerless_host: LabHost) -> None:
    powerless_host.root("sh", "-c", f"echo admin:pw | chpasswd; install -D -m 600 /etc/os-release {RECORD}")
    facts = facts_of(powerless_host, "pw")
    powerless_host.root("rm", "-r", "/etc/localai-deploy")
    assert isinstance(facts.deployment, CorruptRecord)
    assert "not to be read by this user" in facts.deployment.reason


def test_the_look_is_quick(host: LabHost) -> None:
    target = target_of(host)
    target.observe()
    times = []
    for _ in range(3):
        started = time.monotonic()
        target.observe()
        times.append(time.monotonic() - started)
    target.close()
    assert min(times) < 1


def test_login_scripts_that_print_do_no_harm(host: LabHost) -> None:
    host.root(
        "sh",
        "-c",
        "cp /home/admin/.bashrc /tmp/rc; sed -i '1i echo Welcome; echo uid MTAwMAo=' /home/admin/.bashrc",
    )
    try:
        facts = facts_of(host)
    finally:
        host.root("cp", "/tmp/rc", "/home/admin/.bashrc")
    assert facts.is_root
    assert facts.os_version == "13"


def test_sudo_with_its_password(asking_host: LabHost) -> None:
    target = target_of(asking_host, SUDO_PASSWORD)
    assert target.observe().is_root
    done = target.connect().run(["sh", "-c", "id -u; cat"], stdin=b"\0\xff\n", sudo=True)
    target.close()
    assert done.stdout == b"0\n\0\xff\n"


def test_sudo_asks_and_no_password_is_given(asking_host: LabHost) -> None:
    error = refusal(asking_host)
    assert (error.error_id, error.exit_code) == ("sudo-password-needed", 3)


def test_a_wrong_password_is_offered_once(asking_host: LabHost) -> None:
    asking_host.root("journalctl", "--rotate")
    asking_host.root("journalctl", "--vacuum-time=1s")
    error = refusal(asking_host, "not-the-password")
    assert error.error_id == "sudo-password-wrong"
    log = asking_host.root("journalctl", "--no-pager", "_COMM=sudo")
    assert "not-the-password" not in log
    assert log.count("authentication failure") == 1


def test_a_password_too_much_never_reaches_the_command(host: LabHost) -> None:
    target = target_of(host, "nobody-asked-for-it")
    done = target.connect().run(["cat"], stdin=b"input", sudo=True)
    target.close()
    assert done.stdout == b"input"


def test_without_sudo_rights_facts_are_the_users(powerless_host: LabHost) -> None:
    powerless_host.root("sh", "-c", "echo admin:login-password | chpasswd")
    facts = facts_of(powerless_host, "login-password")
    assert not facts.is_root
    assert facts.os_version == "13"
    assert facts.listener(22) is not None


def test_without_sudo_rights_and_password_sudo_does_not_tell(powerless_host: LabHost) -> None:
    error = refusal(powerless_host)
    assert error.error_id == "sudo-password-needed"
    assert "without any rights" in error.hint


def test_root_needs_no_sudo(powerless_host: LabHost) -> None:
    powerless_host.root(
        "sh", "-c", "mkdir -p -m 700 /root/.ssh; cp /home/admin/.ssh/authorized_keys /root/.ssh/"
    )
    powerless_host.root("mv", "/usr/bin/sudo", "/usr/bin/sudo-away")
    try:
        assert facts_of(powerless_host, user="root").is_root
        assert facts_of(powerless_host, "password", user="root").is_root
        assert not facts_of(powerless_host).is_root
    finally:
        powerless_host.root("mv", "/usr/bin/sudo-away", "/usr/bin/sudo")


def test_the_host_is_held_against_another_controller(host: LabHost, powerless_host: LabHost) -> None:
    del powerless_host
    words = [sys.executable, "-c", CONTROLLER, json.dumps(values_of(host))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as controller:
        assert controller.stdout is not None
        assert controller.stdout.readline() == "held\n"
        target = target_of(host)
        with pytest.raises(LocalaiError) as caught, target.hold():
            pass
        assert (caught.value.error_id, caught.value.exit_code) == ("host-held", 6)
        assert f"process {controller.pid}, since " in caught.value.why
        controller.kill()
    started = time.monotonic()
    held = False
    while not held:
        with suppress(LocalaiError), target.hold():
            held = True
        assert time.monotonic() - started < 10
    target.close()


def test_two_users_of_a_host_exclude_each_other(powerless_host: LabHost) -> None:
    powerless_host.root(
        "sh", "-c", "mkdir -p -m 700 /root/.ssh; cp /home/admin/.ssh/authorized_keys /root/.ssh/"
    )
    first, second = target_of(powerless_host), target_of(powerless_host, user="root")
    for one, other in ((first, second), (second, first)):
        with one.hold(), pytest.raises(LocalaiError, match="another run"), other.hold():
            pass
    first.close()
    second.close()
