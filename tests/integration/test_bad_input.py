"""Input that the world refuses: exit 3, an error with an id, and a host that is as it was before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.product import Ended, User, write_inventory
from tests.integration.ssh_server import ADDRESS, free_port, make_key
from tests.lab.content import Content
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.layout import Lab
from tests.lab.mirror_daemon import https_url, mirror_urls
from tests.lab.mirror_files import GATED_REPOSITORY, MODEL_REPOSITORY

pytestmark = pytest.mark.host

FILE = "smollm2-135m-instruct-q4_1.gguf"
MODEL = f"hf:{MODEL_REPOSITORY}/{FILE}"
NOWHERE = "SHA256:" + "A" * 43
PASSWORD = "Horse Battery 1 Staple"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@dataclass(frozen=True, slots=True)
class Case:
    """A host that must stay as it is, and the one who tries to deploy to it."""

    user: User
    host: LabHost
    lab: Lab

    def variables(self, **others: Any) -> dict[str, Any]:
        """How the host is reached and what it shall become, less and more what ``others`` say."""
        given = {
            "ansible_host": self.host.address,
            "ansible_user": self.host.user,
            "ansible_ssh_private_key_file": str(self.host.private_key),
            "localai_host_key": self.host.fingerprint,
            "localai_models": [MODEL],
            "localai_mirrors": mirror_urls(self.lab),
        }
        return {key: value for key, value in (given | others).items() if value is not None}

    def refused(self, error_id: str, *words: str, code: int = 3, **others: Any) -> Ended:
        """``up`` must be refused for a person and for a program, and must not change the host."""
        folder = write_inventory(self.user.home / "inventory", {"box": self.variables(**others)})
        before = self.host.state()
        seen = self.user.refused(code, error_id, "up", "--inventory", str(folder), "box", *words)
        assert self.host.state() == before
        assert not (self.user.state / "runs").exists(), "nothing was to be run"
        return seen


@pytest.fixture
def user(tmp_path: Path, lab: Lab, content: Content) -> User:
    return User(tmp_path, {"SSL_CERT_FILE": str(lab.tls / "ca.pem")})


@pytest.fixture
def case(user: User, host: LabHost, lab: Lab) -> Case:
    return Case(user, host, lab)


def test_a_host_whose_key_is_not_known(case: Case) -> None:
    seen = case.refused("host-key-unknown", "--yes", localai_host_key=None)
    assert case.host.fingerprint in seen.stderr
    assert not case.user.known_hosts.exists()


def test_a_host_with_another_key_than_the_one_vouched_for(case: Case) -> None:
    seen = case.refused("host-key-mismatch", "--yes", localai_host_key=NOWHERE)
    assert case.host.fingerprint in seen.stderr
    assert not case.user.known_hosts.exists()


def test_a_host_whose_key_has_changed(case: Case) -> None:
    case.user.known_hosts.parent.mkdir(parents=True)
    case.user.known_hosts.write_text(f"{case.host.address} {OTHER_KEY}\n")
    seen = case.refused("host-key-changed", "--yes", localai_host_key=None)
    assert case.host.fingerprint in seen.stderr
    assert case.user.known_hosts.read_text() == f"{case.host.address} {OTHER_KEY}\n"


def test_a_key_that_the_host_does_not_let_in(case: Case, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    arguments = "-F none -o IdentitiesOnly=yes"
    case.refused(
        "ssh-auth-failed",
        "--yes",
        ansible_ssh_private_key_file=str(tmp_path / "stranger"),
        ansible_ssh_common_args=arguments,
    )


def test_a_user_that_the_host_does_not_have(case: Case) -> None:
    case.refused("ssh-auth-failed", "--yes", ansible_user="nobody-of-that-name")


def test_a_host_that_is_off(case: Case) -> None:
    case.refused("host-unreachable", "--yes", ansible_host=ADDRESS, ansible_port=free_port())


@pytest.mark.parametrize(
    "reference",
    [f"hf:{MODEL_REPOSITORY}/smollm2-135m.gguf", "hf:nobody/nothing/model.gguf", f"{MODEL}@no-such-branch"],
    ids=["file", "repository", "revision"],
)
def test_a_model_that_is_not_found(case: Case, reference: str) -> None:
    seen = case.refused("model-not-found", "--yes", "--model", reference)
    assert reference in seen.stderr


def test_a_file_that_is_not_found(case: Case) -> None:
    case.refused(
        "model-not-found", "--yes", "--model", f"{https_url(case.lab)}/files/no.gguf#sha256={'0' * 64}"
    )
    case.refused("model-file-missing", "--yes", "--model", "file:/nowhere/model.gguf")


def test_a_model_that_is_gated(case: Case) -> None:
    case.refused("model-gated", "--yes", "--model", f"hf:{GATED_REPOSITORY}/{FILE}")


def test_an_https_model_without_a_hash(case: Case) -> None:
    reference = f"{https_url(case.lab)}/files/model.gguf"
    seen = case.refused("model-hash-missing", "--yes", "--model", reference, code=2)
    assert "--trust-first-download" in seen.stderr


@pytest.mark.parametrize(
    ("mirror", "error_id"), [("conda", "channel-unreachable"), ("huggingface", "hub-unreachable")]
)
def test_a_mirror_that_is_down(case: Case, mirror: str, error_id: str) -> None:
    mirrors = mirror_urls(case.lab) | {mirror: f"http://{ADDRESS}:{free_port()}"}
    seen = case.refused(error_id, "--yes", localai_mirrors=mirrors)
    assert mirrors[mirror] in seen.stderr


def test_an_address_that_others_reach(case: Case) -> None:
    case.refused("bind-without-tls", "--yes", "--bind", "0.0.0.0")


def test_nobody_to_ask(case: Case) -> None:
    started = time.monotonic()
    seen = case.refused("confirmation-needed", code=2)
    assert "--yes" in seen.stderr
    assert "install 4 locked packages" in seen.stderr, "the plan is shown"
    assert time.monotonic() - started < 60


@contextmanager
def service(host: LabHost, name: str, *command: str) -> Iterator[None]:
    """A service on the host that is none of ours, for a while."""
    host.root("systemd-run", "--quiet", "--collect", f"--unit={name}", *command)
    try:
        yield
    finally:
        host.root("systemctl", "stop", name)


def await_port(host: LabHost, port: int) -> None:
    deadline = time.monotonic() + 20
    while f":{port} " not in host.root("ss", "-Hltn"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("address", ["127.0.0.1", "::"])
def test_a_port_that_is_taken(case: Case, address: str) -> None:
    with service(case.host, "squatter", "python3", "-m", "http.server", "8099", "--bind", address):
        await_port(case.host, 8099)
        seen = case.refused("port-taken", "--yes", "--port", "8099")
    assert "squatter.service" in seen.stderr


def test_another_runtime(case: Case) -> None:
    unit = case.host.rootfs / "etc/systemd/system/ollama.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/sleep infinity\n")
    try:
        seen = case.refused("runtime-present", "--yes")
    finally:
        unit.unlink()
    assert "ollama.service" in seen.stderr


def test_another_runtime_without_a_unit(case: Case) -> None:
    case.host.root("cp", "/usr/bin/sleep", "/run/llama-server")
    with service(case.host, "by-hand", "/run/llama-server", "1000"):
        seen = case.refused("runtime-present", "--yes")
    assert "llama-server" in seen.stderr


@pytest.mark.parametrize("directory", ["/var/lib/localai-deploy", "/opt/localai-deploy"])
def test_a_disk_that_is_too_small(case: Case, directory: str) -> None:
    case.host.root("mkdir", directory)
    case.host.root("mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", directory)
    try:
        seen = case.refused("no-space", "--yes")
    finally:
        case.host.root("umount", directory)
        case.host.root("rmdir", directory)
    assert directory in seen.stderr


def test_a_full_disk_below_the_work_of_ansible(case: Case) -> None:
    case.host.root("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/tmp")
    try:
        seen = case.refused("no-space", "--yes")
    finally:
        case.host.root("umount", "/tmp")
    assert "/tmp on box has" in seen.stderr


def test_a_package_database_that_was_left_in_the_middle(case: Case) -> None:
    case.host.root("touch", "/var/lib/dpkg/updates/0000")
    try:
        seen = case.refused("packages-broken", "--yes")
    finally:
        case.host.root("rm", "/var/lib/dpkg/updates/0000")
    assert "dpkg --configure -a" in seen.stderr


def test_a_host_without_python(case: Case) -> None:
    case.host.root("mv", "/usr/bin/python3", "/usr/bin/python3.away")
    try:
        seen = case.refused("python-missing", "--yes")
    finally:
        case.host.root("mv", "/usr/bin/python3.away", "/usr/bin/python3")
    assert "box has no python3" in seen.stderr


def test_each_host_in_trouble_is_named_with_its_line_and_the_others_are_looked_at(case: Case) -> None:
    asleep = case.variables(ansible_host=ADDRESS, ansible_port=free_port())
    stranger = case.variables(ansible_user="nobody-of-that-name")
    hosts = {"asleep": asleep, "box": case.variables(), "stranger": stranger}
    folder = write_inventory(case.user.home / "inventory", hosts)
    lines = (folder / "hosts.yml").read_text().splitlines()
    ended = case.user.run("plan", "--inventory", str(folder), "-o", "json")
    assert ended.code == 3
    told = {host["host"]: host for host in ended.data["hosts"]}
    assert (told["box"]["blockers"], len(told["box"]["steps"])) == ([], 6)
    for name, error_id in (("asleep", "host-unreachable"), ("stranger", "ssh-auth-failed")):
        error = told[name]["error"]
        assert error["id"] == error_id
        place = f"hosts.yml:{lines.index(f'    {name}:') + 1}"
        assert f"{name}: the inventory has it in {place}" in error["why"]


@contextmanager
def recorded(host: LabHost, text: str) -> Iterator[None]:
    """Something in the place of our own record, for a while."""
    folder = host.rootfs / "etc/localai-deploy"
    folder.mkdir()
    (folder / "deployment.json").write_text(text)
    try:
        yield
    finally:
        (folder / "deployment.json").unlink()
        folder.rmdir()


@pytest.mark.parametrize("text", ["{", '{"schema": "\x1b[2J\\u001b[2J\\ud800"}'])
def test_a_record_that_is_not_ours(case: Case, text: str) -> None:
    with recorded(case.host, text):
        seen = case.refused("record-unreadable", "--yes")
    assert "\x1b" not in seen.stderr


def test_a_host_where_nobody_becomes_root(user: User, lab: Lab) -> None:
    with start_host(lab, unique_name(), "none") as host:
        case = Case(user, host, lab)
        seen = case.refused("sudo-password-needed", "--yes")
        assert "a user without any rights" in seen.stderr, "sudo does not tell the two apart"
        host.root("sh", "-c", f"echo {host.user}:{PASSWORD} | chpasswd")
        seen = case.refused("sudo-missing", "--yes", ansible_become_password=PASSWORD)
    assert f"{host.user}@{host.address} cannot become root" in seen.stderr


def test_commands_that_need_a_deployment(case: Case) -> None:
    folder = str(write_inventory(case.user.home / "inventory", {"box": case.variables(localai_models=None)}))
    before = case.host.state()
    for words in (("verify",), ("model", "list"), ("model", "rm", "--yes")):
        names = ["box", FILE] if "rm" in words else ["box"]
        ended = case.user.run(*words, "--inventory", folder, *names, "-o", "json")
        assert (ended.code, ended.error_ids) == (3, ["not-deployed"]), ended
    down = case.user.run("down", "--inventory", folder, "box", "--yes")
    assert (down.code, down.stdout) == (0, "box: nothing of ours was there\n")
    assert case.host.state() == before
