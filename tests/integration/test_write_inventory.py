"""A VM that becomes an entry of an inventory: by our command from then on, and by Ansible alone.

Its node is an embedded one in this process, its guest a lab host that the node tells of. The tests build on
each other, in order.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from localai_deploy.sandbox.body import BareBody, GuestPlan
from tests.integration.controller import API_KEY, processes_with
from tests.integration.product import Ended, User
from tests.integration.vm_place import Place, new_site, serving
from tests.lab.content import Content
from tests.lab.host import LabHost
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_daemon import mirror_urls

pytestmark = pytest.mark.host

MODEL = "hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF/smollm2-135m-instruct-q4_1.gguf"
BIN = Path(sys.executable).parent


@dataclass
class ToldGuest(BareBody):
    """A guest whose agent tells of a host that is somewhere else."""

    address: str = ""
    key: str = ""
    mac: str = ""
    powers_off: bool = True
    answers: dict[str, Any] | None = field(default_factory=dict)

    def start(self, plan: GuestPlan) -> None:
        super().start(plan)
        self.mac = re.sub(r"virtio=([^,]+),.*", r"\1", plan.config["net0"]).lower()
        self.answers = {"file-read": f"{self.key} root@guest\n".encode()}

    def interfaces(self) -> list[dict[str, Any]]:
        addresses = [{"ip-address": self.address, "prefix": 30}]
        return [{"name": "eth0", "hardware-address": self.mac, "ip-addresses": addresses}]


@dataclass
class Story:
    """Somebody with a node, the inventory that they begin with, and the one that is written."""

    place: Place
    host: LabHost
    user: User
    first: Path
    home: Path
    argv_with_secret: list[str] = field(default_factory=list)

    @property
    def secret(self) -> str:
        return self.user.environment["PROXMOX_TOKEN_SECRET"]

    @property
    def guest(self) -> ToldGuest:
        (vm,) = self.place.site.cluster.vms.values()
        assert isinstance(vm.body, ToldGuest)
        return vm.body

    def up(self, *words: str, home: Path | None = None) -> Ended:
        """``up --node pve1 --name llm … --write-inventory HOME``, with the mirrors of the first inventory."""
        return self.user.run(
            *("up", "-i", str(self.first), "--node", "pve1", "--name", "llm", "--yes"),
            *("--model", MODEL, "--context", "1024", "--image", self.place.web.image),
            *("--ssh-key", str(self.host.private_key), "--cores", "2", "--memory", "2048"),
            *("--write-inventory", str(home or self.home), *words),
        )

    def run(self, *words: str) -> Ended:
        """Our command over the inventory that was written."""
        return self.user.run(*words, "-i", str(self.home))

    def asked(self, *words: str) -> Any:
        ended = self.run(*words, "-o", "json")
        validator = Draft202012Validator(load_schema(ended.data["schema"].split("/")[1]))
        assert [error.message for error in validator.iter_errors(ended.data)] == []
        return ended.data

    def ansible(self, program: str, *words: str, cwd: Path = Path("/")) -> str:
        """A program of Ansible as anybody runs it, without our command and its known hosts."""
        done = subprocess.run(
            [BIN / program, *words],
            cwd=cwd,
            env={"HOME": "/nonexistent", "ANSIBLE_LOCAL_TEMP": str(self.user.home / "tmp"),
                 "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.user.home / "cp"),
                 "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    def watch(self, stop: threading.Event) -> None:
        """Look at the command lines of this user's processes."""
        while not stop.wait(0.05):
            for pid in processes_with(f"HOME={self.user.home}"):
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if self.secret in words:
                    self.argv_with_secret.append(words)


@pytest.fixture(scope="module")
def story(
    host: LabHost, content: Content, mirror: MirrorClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Story]:
    directory = tmp_path_factory.mktemp("story")
    first = directory / "first"
    (first / "group_vars").mkdir(parents=True)
    (first / "hosts.yml").write_text("inference:\n  hosts:\n    nas: {ansible_host: 127.0.0.1}\n")
    mirrors = yaml.safe_dump({"localai_mirrors": mirror_urls(host.lab)})
    (first / "group_vars" / "inference.yml").write_text(mirrors)
    home = directory / "my home"
    (directory / "user").mkdir()
    site = new_site()
    site.make_body = lambda vmid: ToldGuest(address=host.address, key=host.host_key)
    with serving(site) as place:
        environment = {
            "PROXMOX_HOST": place.host,
            "PROXMOX_USER": "root@pam",
            "PROXMOX_TOKEN_ID": "sandbox",
            "PROXMOX_TOKEN_SECRET": site.cluster.users["root@pam"].tokens["sandbox"].secret,
            "PROXMOX_FINGERPRINT": place.pin,
        }
        yield Story(place, host, User(directory / "user", environment), first, home)


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(directory)): one.read_bytes() for one in directory.rglob("*") if one.is_file()
    }


def test_an_entry_of_somebody_elses_is_refused_before_anything_is_made(story: Story) -> None:
    (story.first / "more.yml").write_text("inference:\n  hosts:\n    llm: {ansible_host: 127.0.0.1}\n")
    before = tree(story.first)
    for words in ((), ("--dry-run",)):
        refused = story.up(*words, home=story.first)
        assert (refused.code, "[inventory-host-taken]" in refused.stderr) == (3, True), refused
    assert story.place.changes() == []
    assert tree(story.first) == before
    (story.first / "more.yml").unlink()


def test_a_host_that_is_no_vm_is_refused(story: Story) -> None:
    words = ("nas", "-i", str(story.first), "--model", MODEL, "--write-inventory", str(story.home))
    refused = story.user.run("up", *words)
    assert (refused.code, "--write-inventory is for VMs: nas is none" in refused.stderr) == (2, True)
    assert not story.home.exists()


def test_a_vm_becomes_an_entry(story: Story) -> None:
    stop = threading.Event()
    watcher = threading.Thread(target=story.watch, args=(stop,))
    watcher.start()
    done = story.up("-o", "json")
    stop.set()
    watcher.join()
    assert done.code == 0, done
    Draft202012Validator(load_schema("up")).validate(done.data)
    assert done.data["hosts"][0]["inventory"] == str(story.home)
    written = {"hosts.yml", "proxmox_vms.yml", "known_hosts.txt", "host_vars/llm/localai-deploy.yml"}
    assert set(tree(story.home)) == written
    assert {name for name in written if f"+ {story.home}/{name}" in done.stderr} == written
    entry = yaml.safe_load((story.home / "host_vars/llm/localai-deploy.yml").read_text())
    assert entry.pop("ansible_ssh_common_args").startswith("-o HostKeyAlias=localai-")
    assert entry == {
        "localai_node": "pve1",
        "localai_models": [MODEL],
        "localai_context_length": 1024,
        "localai_image": story.place.web.image,
        "localai_ssh_key": str(story.host.private_key),
        "localai_cores": 2,
        "localai_memory_mib": 2048,
        "ansible_host": story.host.address,
        "ansible_user": "admin",
        "ansible_ssh_private_key_file": str(story.host.private_key),
        "ansible_host_key_checking": True,
    }
    node = yaml.safe_load((story.home / "hosts.yml").read_text())["proxmox_nodes"]["hosts"]["pve1"]
    assert node["localai_proxmox_host"] == story.place.host
    assert "localai_proxmox_token_secret" not in node


def test_the_tokens_secret_is_nowhere(story: Story) -> None:
    """Neither in a command line of the whole run, nor in what it kept, here or on the guest."""
    assert story.argv_with_secret == []
    assert len(tree(story.user.home)) > 30
    kept = {**tree(story.user.home), **tree(story.home)}
    assert [path for path, content in kept.items() if story.secret.encode() in content] == []
    places = ("/etc", "/home", "/root", "/tmp", "/var/lib/localai-deploy")
    found = story.host.root(
        "grep", "--recursive", "--files-with-matches", "--fixed-strings", "--exclude=*.gguf",
        story.secret, *places, check=False,
    )  # fmt: skip
    assert found == ""
    assert story.host.root("cat", API_KEY).strip()


def test_the_same_again_changes_nothing(story: Story) -> None:
    before = tree(story.home)
    story.place.forget()
    done = story.up()
    assert done.code == 0, done
    assert "changed=0" in done.stdout
    assert f"ansible -i '{story.home}' llm -m ping" in done.stdout
    assert str(story.home) not in done.stderr
    assert tree(story.home) == before
    assert story.place.changes() == []


def test_our_commands_take_the_entry(story: Story) -> None:
    (story.home / "group_vars").mkdir()
    mirrors = (story.first / "group_vars" / "inference.yml").read_text()
    (story.home / "group_vars" / "inference.yml").write_text(mirrors)
    planned = story.run("plan", "--detailed-exitcode")
    assert planned.code == 0, planned
    (seen,) = story.asked("status")["hosts"]
    assert (seen["host"], seen["state"], seen["vm"]["address"]) == ("llm", "running", story.host.address)
    assert story.run("verify", "llm").code == 0
    done = story.run("up", "llm", "--yes")
    assert (done.code, "changed=0" in done.stdout) == (0, True), done


def test_ansible_alone_reaches_it(story: Story) -> None:
    assert '"ping": "pong"' in story.ansible("ansible", "llm", "-i", str(story.home), "-m", "ping")
    told = story.ansible("ansible", "inference", "-i", str(story.home), "-b", "-m", "command", "-a", "id -u")
    assert told.splitlines()[-1] == "0"


@pytest.mark.parametrize("way", ["variables", "inventories"])
def test_ansible_alone_runs_the_rendered_playbooks(story: Story, tmp_path: Path, way: str) -> None:
    """The project's own connection is not used: it goes by the inventory's address and key."""
    assert story.run("render", "-d", str(tmp_path / "project"), "llm").code == 0
    project = tmp_path / "project"
    variables = {
        "variables": ("-i", str(story.home), "-e", f"@{project}/inventory/host_vars/llm.yml"),
        "inventories": ("-i", str(story.home), "-i", str(project / "inventory")),
    }[way]
    hosts = project / "inventory" / "hosts.yml"
    hosts.write_text(hosts.read_text().replace(story.host.address, "192.0.2.1"))
    recap = story.ansible("ansible-playbook", *variables, "site.yml", cwd=project).rpartition("RECAP")[2]
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap)}
    assert counts["ok"] > 10
    assert (counts["changed"], counts["failed"], counts["unreachable"]) == (0, 0, 0)


def test_a_refresh_follows_the_guest(story: Story) -> None:
    assert story.run("inventory", "refresh", "--check", "--detailed-exitcode").code == 0
    story.guest.address = "192.0.2.99"
    assert story.run("inventory", "refresh", "--yes").code == 0
    entry = story.home / "host_vars/llm/localai-deploy.yml"
    assert "ansible_host: 192.0.2.99\n" in entry.read_text()
    story.guest.address = story.host.address
    changed = story.asked("inventory", "refresh", "--yes", "--detailed-exitcode")
    assert changed["written"] == ["host_vars/llm/localai-deploy.yml"]
    assert '"ping": "pong"' in story.ansible("ansible", "llm", "-i", str(story.home), "-m", "ping")


def test_down_takes_the_vm_and_leaves_the_entry(story: Story) -> None:
    before = tree(story.home)
    done = story.run("down", "llm", "--yes")
    assert done.code == 0, done
    assert story.place.site.cluster.vms == {}
    assert tree(story.home) == before
    assert [one["state"] for one in story.asked("inventory", "refresh")["hosts"]] == ["gone"]
    assert [one["state"] for one in story.asked("status")["hosts"]] == ["absent"]
