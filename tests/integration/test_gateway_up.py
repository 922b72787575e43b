"""``up`` with a group ``gateway``: one API for two hosts, proven, left over and taken away."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.controller import MODEL, host_variables
from tests.integration.plain import Recap, known_host_args, play_site
from tests.integration.product import Ended, User, write_inventory
from tests.lab.gateway_wheels import ensure_gateway_wheels
from tests.roles.gateway_client import Answered, ask
from tests.roles.site import TAKERS, Site, open_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.content import Content
    from tests.lab.host import LabHost
    from tests.lab.layout import Lab

pytestmark = [pytest.mark.host, pytest.mark.slow]

NAMES = ("nas", "box")
LAB_NETWORK = "198.18.0.0/15"
SERVED = MODEL.removesuffix(".gguf")
KEY_FILE = "/etc/localai-deploy/gateway-api-key"
SERVER = "localai-llama-cpp"
CHECKS = {"gateway-key", "gateway-models", "gateway-completion"}


@dataclass(frozen=True, slots=True)
class Home:
    """Somebody with two hosts: ``nas`` has the gateway and serves on loopback, ``box`` serves it alone."""

    site: Site
    user: User
    inventory: Path

    @property
    def nas(self) -> LabHost:
        return self.site.hosts[0]

    @property
    def box(self) -> LabHost:
        return self.site.hosts[1]

    def run(self, command: str, *words: str) -> Ended:
        return self.user.run(command, "--inventory", str(self.inventory), *words, "-o", "json")

    def up(self, *words: str) -> Ended:
        return self.run("up", *words, "--yes")

    def ask(self, key: str | None = None) -> Answered:
        given = self.nas.root("cat", KEY_FILE).strip() if key is None else key
        return ask(self.nas.address, given, SERVED)

    def play(self) -> tuple[Recap, str]:
        """``playbooks/site.yml`` by plain Ansible, without our command."""
        trusted = {
            name: {"ansible_ssh_common_args": known_host_args(host)}
            for name, host in zip(NAMES, self.site.hosts, strict=True)
        }
        more = self.inventory.parent / "trusted.yml"
        more.write_text(yaml.safe_dump({"inference": {"hosts": trusted}}))
        return play_site(self.user.home, [self.inventory, more])

    def gateway_checks(self) -> dict[str, str]:
        """Outcomes of the gateway's checks on its host."""
        ended = self.run("verify", "nas")
        (host,) = ended.data["hosts"]
        found = {one["id"]: one["outcome"] for one in host["checks"] if one["id"] in CHECKS}
        assert (ended.code == 0) == (host["passed"]), ended
        return found

    def say_gateway(self, *names: str) -> None:
        """Let the inventory's group ``gateway`` have these hosts; without one there is no such group."""
        path = self.inventory / "gateway.yml"
        path.unlink(missing_ok=True)
        if names:
            path.write_text(yaml.safe_dump({"gateway": {"hosts": {name: {} for name in names}}}))


@pytest.fixture(scope="module")
def home(lab: Lab, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    del content
    ensure_gateway_wheels(lab)
    directory = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        site = open_site(lab, directory, 2, stack, service_user=False)
        nas, box = site.hosts
        variables: dict[str, dict[str, Any]] = {
            "nas": host_variables(nas)
            | {"localai_api_gateway_bind": nas.address, "localai_api_gateway_clients": [LAB_NETWORK]},
            "box": host_variables(box) | {"localai_bind": f"{TAKERS}1", "localai_clients": [nas.address]},
        }
        inventory = write_inventory(directory / "inventory", variables)
        (directory / "home").mkdir()
        home = Home(site, User(directory / "home", deadline_s=1200), inventory)
        home.say_gateway("nas")
        yield home


@pytest.fixture(scope="module")
def first(home: Home) -> Ended:
    return home.up()


def wait_for_answer(home: Home, timeout_s: float = 120) -> Answered:
    """What the gateway says once it knows that a replica is there again."""
    deadline = time.monotonic() + timeout_s
    while (found := home.ask()).status != 200 and time.monotonic() < deadline:
        time.sleep(1)
    return found


def test_one_command_makes_it(home: Home, first: Ended) -> None:
    assert first.code == 0, first
    nas, box = first.data["hosts"]
    assert nas["gateway"]["endpoint"] == f"http://{home.nas.address}:4000/v1"
    assert nas["gateway"]["replicas"] == list(NAMES)
    assert "gateway" not in box
    passed = {one["id"] for one in nas["verification"]["checks"] if one["outcome"] == "pass"}
    assert passed >= CHECKS
    answered = home.ask()
    assert (answered.status, answered.text.strip() != "") == (200, True), answered
    assert answered.replica in NAMES
    assert home.ask(key="").status == 401


@pytest.mark.usefixtures("first")
def test_a_second_run_changes_nothing(home: Home) -> None:
    second = home.up()
    assert second.code == 0, second
    assert [host["changed_tasks"] for host in second.data["hosts"]] == [0, 0]


@pytest.mark.usefixtures("first")
def test_a_part_of_the_hosts_knows_all_replicas(home: Home) -> None:
    """The gateway's other replica is in no run that is for one host alone, and stays its replica."""
    for name in NAMES:
        ended = home.up("--limit", name, "--tags", "models")
        assert (ended.code, ended.data["hosts"][0]["changed_tasks"]) == (0, 0), ended


@pytest.mark.usefixtures("first")
def test_it_answers_while_a_replica_is_left(home: Home) -> None:
    home.box.root("systemctl", "stop", SERVER)
    assert home.gateway_checks() == dict.fromkeys(CHECKS, "pass")
    home.nas.root("systemctl", "stop", SERVER)
    try:
        assert home.gateway_checks() == dict.fromkeys(CHECKS, "pass") | {"gateway-completion": "fail"}
    finally:
        for host in home.site.hosts:
            host.root("systemctl", "start", SERVER)
    answered = wait_for_answer(home)
    assert answered.status == 200, answered


@pytest.mark.usefixtures("first")
def test_a_stopped_gateway_is_seen_and_started(home: Home) -> None:
    home.nas.root("systemctl", "stop", "localai-gateway")
    assert home.gateway_checks() == dict.fromkeys(CHECKS, "fail")
    seen = home.run("status", "nas")
    assert seen.data["hosts"][0]["gateway"]["active_state"] == "inactive"
    assert seen.code != 0
    ended = home.up("nas")
    assert (ended.code, ended.data["hosts"][0]["changed_tasks"]) == (0, 1), ended
    assert home.ask().status == 200


@pytest.mark.usefixtures("first")
def test_plain_ansible_starts_it_and_changes_nothing_else(home: Home) -> None:
    home.nas.root("systemctl", "stop", "localai-gateway")
    recap, printed = home.play()
    assert {name: (recap[name]["failed"], recap[name]["changed"]) for name in NAMES} == {
        "nas": (0, 1),
        "box": (0, 0),
    }, printed
    answered = home.ask()
    assert answered.status == 200, answered


@pytest.mark.usefixtures("first")
def test_one_that_nobody_wants_any_more_is_told_and_goes(home: Home) -> None:
    home.say_gateway()
    planned = home.run("plan", "nas").data["hosts"][0]
    assert "gateway-left" in {one["id"] for one in planned["warnings"]}
    assert home.run("status", "nas").data["hosts"][0]["gateway"]["active_state"] == "active"

    ended = home.run("down", "nas", "--yes")
    assert ended.code == 0, ended
    paths = "/opt/localai-deploy /etc/localai-deploy /etc/systemd/system/localai-*"
    assert home.nas.root("sh", "-c", f"ls -d {paths} 2>/dev/null || true").split() == []
    assert home.nas.root("systemctl", "is-active", "localai-gateway", check=False).strip() == "inactive"
    assert home.ask(key="-").status == 0
