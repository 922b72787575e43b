"""A host whose sudo asks for a password: the whole ``up`` works with a vaulted one, which is seen nowhere.

The same host first gets models that are not what their hash says, since that is found out only late.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.product import Ended, User, write_inventory
from tests.lab.content import Content
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.layout import Lab
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_daemon import https_url, mirror_urls
from tests.lab.mirror_faults import Fault
from tests.lab.mirror_files import MODEL_REPOSITORY
from tests.lab.seed import SUDO_PASSWORD

pytestmark = pytest.mark.host

FILE = "smollm2-135m-instruct-q4_1.gguf"
VAULT_PASSWORD = "password of the vault"
STORE = "/var/lib/localai-deploy/models"


@dataclass
class Watch:
    """Looks at the arguments and the environment of every process, those in containers included."""

    secret: bytes
    found: set[str] = field(default_factory=set)
    looks: int = 0
    _end: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self._end.wait(0.1):
            self.looks += 1
            for process in Path("/proc").glob("[0-9]*"):
                self.found |= {
                    f"{process / name}" for name in ("cmdline", "environ") if self._in(process / name)
                }

    def _in(self, path: Path) -> bool:
        try:
            return self.secret in path.read_bytes()
        except OSError:
            return False

    def __enter__(self) -> Watch:
        threading.Thread(target=self.look, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()


@dataclass(frozen=True)
class Keeper:
    """Who deploys to the host with sudo's password in a vault."""

    user: User
    host: LabHost
    lab: Lab

    @property
    def vault_password_file(self) -> Path:
        return self.user.home / "vault-password"

    def inventory(self, **others: Any) -> str:
        variables = {
            "ansible_host": self.host.address,
            "ansible_user": self.host.user,
            "ansible_ssh_private_key_file": str(self.host.private_key),
            "ansible_become_password": "{{ vault_become_password }}",
            "localai_host_key": self.host.fingerprint,
            "localai_models": [f"hf:{MODEL_REPOSITORY}/{FILE}"],
            "localai_context_length": 1024,
            "localai_mirrors": mirror_urls(self.lab),
        }
        folder = write_inventory(self.user.home / "inventory", {"box": variables | others})
        (folder / "group_vars" / "inference").mkdir(parents=True, exist_ok=True)
        vault = folder / "group_vars" / "inference" / "vault.yml"
        vault.write_text(f"vault_become_password: {SUDO_PASSWORD}\n")
        self.vault_password_file.write_text(f"{VAULT_PASSWORD}\n")
        command = [str(Path(sys.executable).with_name("ansible-vault")), "encrypt", "--vault-password-file"]
        subprocess.run([*command, self.vault_password_file, vault], check=True, capture_output=True)
        return str(folder)

    def up(self, *words: str, **others: Any) -> Ended:
        vault = ("--vault-password-file", str(self.vault_password_file))
        return self.user.run("up", "--inventory", self.inventory(**others), "box", "--yes", *vault, *words)

    def models(self) -> list[str]:
        return self.host.root("sh", "-c", f"ls {STORE} 2>/dev/null || true").split()

    def is_active(self) -> bool:
        return self.host.root("systemctl", "is-active", "localai-llama-cpp", check=False).strip() == "active"


@pytest.fixture(scope="module")
def keeper(lab: Lab, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    user = User(tmp_path_factory.mktemp("keeper"), {"SSL_CERT_FILE": str(lab.tls / "ca.pem")})
    with start_host(lab, unique_name(), "password") as host:
        yield Keeper(user, host, lab)


def failed_attempts(host: LabHost) -> int:
    return host.root("journalctl", "--no-pager", "-t", "sudo").count("authentication failure")


def test_without_a_password(keeper: Keeper) -> None:
    folder = keeper.inventory(ansible_become_password="")
    before = keeper.host.state()
    vault = ("--vault-password-file", str(keeper.vault_password_file))
    seen = keeper.user.refused(3, "sudo-password-needed", "up", "-i", folder, "box", "--yes", *vault)
    assert "--ask-become-pass" in seen.stderr
    assert keeper.host.state() == before


def test_with_a_wrong_password(keeper: Keeper) -> None:
    before, attempts = keeper.host.state(), failed_attempts(keeper.host)
    ended = keeper.up("-o", "json", ansible_become_password="not the right one")
    assert (ended.code, ended.error_ids) == (3, ["sudo-password-wrong"]), ended
    assert "box: the inventory has the password in hosts.yml:" in ended.data["error"]["why"]
    assert "not the right one" not in ended.stdout + ended.stderr
    assert failed_attempts(keeper.host) == attempts + 1, "no lock-out by repeating it"
    assert keeper.host.state() == before


def test_without_the_vaults_password(keeper: Keeper) -> None:
    before = keeper.host.state()
    seen = keeper.user.refused(2, "inventory-unreadable", "up", "-i", keeper.inventory(), "box", "--yes")
    assert "vault" in seen.stderr.lower()
    other = keeper.user.home / "other-password"
    other.write_text("another\n")
    vault = ("--vault-password-file", str(other))
    keeper.user.refused(2, "inventory-unreadable", "up", "-i", keeper.inventory(), "box", "--yes", *vault)
    assert keeper.host.state() == before


@contextmanager
def served_file(lab: Lab, content: bytes) -> Iterator[str]:
    """The https URL of a file on the mirror."""
    folder = lab.files / unique_name()
    folder.mkdir(parents=True)
    path = folder / "other.gguf"
    path.write_bytes(content)
    try:
        yield f"{https_url(lab)}/files/{folder.name}/{path.name}"
    finally:
        path.unlink()
        folder.rmdir()


def test_a_model_with_another_hash_than_asked_for(keeper: Keeper) -> None:
    content = b"GGUF\x03\x00\x00\x00" + bytes(1 << 20)
    with served_file(keeper.lab, content) as url:
        ended = keeper.up(localai_models=[f"{url}#sha256={'0' * 64}"])
    assert ended.code == 5, ended
    assert "[model-hash-mismatch]" in ended.stdout, "the report is the result"
    assert "Traceback" not in ended.stderr
    assert keeper.models() == []
    assert not keeper.is_active()


def test_a_model_that_the_mirror_corrupts(keeper: Keeper, mirror: MirrorClient) -> None:
    fault = Fault("corrupt", f"*/{FILE}", 5_000_000, method="GET", client=keeper.host.address)
    with mirror.fault(fault):
        ended = keeper.up("-o", "json")
    assert (ended.code, ended.error_ids) == (5, ["model-hash-mismatch"]), ended
    assert FILE not in keeper.models()
    assert not keeper.is_active()


def test_the_whole_way_with_the_password_seen_nowhere(keeper: Keeper) -> None:
    with Watch(SUDO_PASSWORD.encode()) as watch:
        ended = keeper.up("-v")
    assert ended.code == 0, ended
    assert "proven" in ended.stdout
    assert keeper.is_active()
    assert (watch.found, watch.looks > 20) == (set(), True)
    assert SUDO_PASSWORD not in ended.stdout + ended.stderr
    assert not places_of(SUDO_PASSWORD, keeper.user.home)
    assert not places_of(SUDO_PASSWORD, keeper.host.upper)
    assert not places_of(SUDO_PASSWORD, Path("/dev/shm"))


def places_of(secret: str, root: Path) -> list[Path]:
    """Files below ``root`` that hold ``secret``, logs and binary ones included."""
    done = subprocess.run(
        ["grep", "-rlaF", "--devices=skip", "-e", secret, str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [Path(line) for line in done.stdout.splitlines()]


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\x00\xff" + SUDO_PASSWORD.encode() + b"\x00")
    assert places_of(SUDO_PASSWORD, tmp_path) == [tmp_path / "log"]
    with Watch(b"a planted argument") as watch:
        subprocess.run(["sleep", "0.5"], check=True, env={"PLANTED": "a planted argument"})
    assert watch.found


def test_a_command_without_ansible(keeper: Keeper) -> None:
    vault = ("--vault-password-file", str(keeper.vault_password_file))
    listed = keeper.user.run("model", "list", "-i", keeper.inventory(), *vault, "box")
    assert (listed.code, FILE in listed.stdout) == (0, True), listed
