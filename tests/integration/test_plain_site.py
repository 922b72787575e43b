"""``playbooks/site.yml`` by plain Ansible with a copied example; then our command over several hosts.

One host stands for all: by its right password, by a wrong one, and beside one that is down.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.controller import host_variables
from tests.integration.plain import Recap, known_host_args, play_site
from tests.integration.product import User
from tests.lab.content import Content
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.layout import Lab
from tests.lab.mirror_client import MirrorClient

pytestmark = pytest.mark.host

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "inventories" / "example"
WRONG = "wrong-7c1"
DOWN = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "nobody"}


@dataclass(frozen=True)
class Home:
    """Somebody with a copy of the example, and a second inventory in which its names are lab hosts."""

    host: LabHost
    user: User
    inventories: tuple[Path, Path]

    @property
    def words(self) -> list[str]:
        return [word for path in self.inventories for word in ("-i", str(path))]

    def say(self, name: str, **more: Any) -> None:
        """Variables of a host, beside those of the example."""
        trusted = {"ansible_ssh_common_args": known_host_args(self.host)}
        variables = host_variables(self.host) | trusted | more
        path = self.inventories[1] / "host_vars" / f"{name}.yml"
        path.write_text(yaml.safe_dump(variables))

    def play(self, *words: str) -> tuple[Recap, str]:
        return play_site(self.user.home, self.inventories, *words)


@pytest.fixture(scope="module")
def home(
    lab: Lab, content: Content, mirror: MirrorClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    del content, mirror
    directory = tmp_path_factory.mktemp("plain")
    shutil.copytree(EXAMPLE, directory / "home")
    (directory / "lab" / "host_vars").mkdir(parents=True)
    (directory / "lab" / "hosts.yml").write_text("inference: {children: {bare_metal: {hosts: {nas: }}}}\n")
    with start_host(lab, unique_name(), sudo="password") as host:
        user = User(directory / "h")
        user.home.mkdir()
        home = Home(host, user, (directory / "home", directory / "lab"))
        home.say("nas", ansible_become_password=host.sudo_password)
        home.say("desktop", **DOWN)
        yield home


@pytest.fixture(scope="module")
def first(home: Home) -> tuple[Recap, str]:
    """The first run, beside a host that is down."""
    return home.play("--limit", "nas,desktop")


def test_plain_ansible_runs_it(home: Home, first: tuple[Recap, str]) -> None:
    """The first time it installs, the second time nothing is left to do; who is down stops nobody."""
    recap, printed = first
    assert (recap["nas"]["failed"], recap["desktop"]["unreachable"]) == (0, 1), printed
    assert recap["nas"]["changed"] > 10
    assert home.host.ssh("systemctl is-active localai-llama-cpp").strip() == "active"
    assert home.host.sudo_password not in printed

    recap, printed = home.play("--limit", "nas")
    assert (recap["nas"]["failed"], recap["nas"]["changed"]) == (0, 0), printed


@pytest.mark.slow
@pytest.mark.usefixtures("first")
def test_our_command_goes_on_past_those_that_fail(home: Home) -> None:
    """What plain Ansible installed is in order for us; one host is down, then one has a wrong password."""
    words = ("--limit", "nas,desktop", "--tags", "models", "--yes", "-o", "json")
    ended = home.user.run("up", *home.words, *words)
    assert ended.code == 5, ended.stderr
    nas, desktop = ended.data["hosts"]
    assert (nas["host"], nas["changed_tasks"]) == ("nas", 0)
    assert "verification" not in nas
    assert desktop["error"]["id"] == "host-unreachable"
    place = f"{home.inventories[0]}/hosts.yml:"
    assert f"desktop: the inventory has it in {place}" in desktop["error"]["why"]
    rows = [tuple(line.split()[:3]) for line in ended.stderr.splitlines()[-2:]]
    assert rows == [("✓", "nas", "done"), ("✗", "desktop", "not")]

    home.say("coder", ansible_become_password=WRONG, localai_node="", localai_gpu="none")
    ended = home.user.run("status", *home.words, "--limit", "nas,coder", "-o", "json")
    found = {host["host"]: host for host in ended.data["hosts"]}
    assert (ended.code, found["nas"]["state"]) == (5, "running"), ended
    assert found["coder"]["error"]["id"] == "sudo-password-wrong"
    place = f"{home.inventories[1]}/host_vars/coder.yml:"
    assert f"coder: the inventory has the password in {place}" in found["coder"]["error"]["why"]
    assert WRONG not in ended.stderr + ended.stdout
