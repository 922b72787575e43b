"""Role gateway on three hosts under load: a replica that dies is taken out, and comes back."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.lab.gateway_wheels import ensure_gateway_wheels
from tests.roles.deployment import ORDER, PORT, command, deployment
from tests.roles.driver import ROLES, Run
from tests.roles.gateway_client import Answered, ask
from tests.roles.site import TAKERS, Site, open_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.host import LabHost
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

pytestmark = [pytest.mark.host, pytest.mark.slow]

MODEL = "smollm2"
LAB_NETWORK = "198.18.0.0/15"
CLIENTS = 4
UNIT = "localai-llama-cpp.service"
KEYS = ("/etc/localai-deploy/gateway-api-key", "/etc/localai-deploy/gateway/replica-keys.json")


@dataclass(slots=True)
class Load:
    """Clients that ask without a pause, until told to stop."""

    address: str
    key: str
    answers: list[Answered] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def since(self, moment: float) -> list[Answered]:
        return [one for one in list(self.answers) if one.began >= moment]

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            self.answers.append(ask(self.address, self.key, MODEL))


@dataclass(frozen=True, slots=True)
class Place:
    """The gateway's host and two replicas, and the runs that brought the gateway there."""

    site: Site
    variables: dict[str, dict[str, Any]]
    foreseen: Run
    first: Run
    second: Run

    @property
    def gateway(self) -> LabHost:
        return self.site.hosts[0]

    @property
    def replicas(self) -> list[LabHost]:
        return list(self.site.hosts[1:])

    @property
    def key(self) -> str:
        return self.gateway.root("cat", KEYS[0]).strip()


@pytest.fixture(scope="module")
def place(lab: Lab, mirror: MirrorClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    ensure_gateway_wheels(lab)
    common = deployment(lab, mirror)
    with ExitStack() as stack:
        site = open_site(lab, tmp_path_factory.mktemp("site"), 3, stack)
        gateway, *replicas = site.hosts
        variables = {
            host.name: serving(common, f"{TAKERS}{number}") for number, host in enumerate(replicas, 1)
        }
        site.driver.converge_all(replicas, ORDER, variables)
        variables[gateway.name] = {
            "base_deployment": common["base_deployment"],
            "gateway_bind": gateway.address,
            "gateway_clients": [LAB_NETWORK],
            "gateway_pypi_index": mirror_index(mirror),
            "gateway_replicas": [
                {"name": host.name, "url": f"http://{TAKERS}{number}:{PORT}", "model": MODEL}
                for number, host in enumerate(replicas, 1)
            ],
        }

        def run(**options: bool) -> Run:
            return site.driver.converge_one(gateway, site.hosts, ["base", "gateway"], variables, **options)

        foreseen = run(check=True)
        first = run()
        yield Place(site, variables, foreseen, first, run())


def mirror_index(mirror: MirrorClient) -> str:
    return mirror.url("pypi/simple")


def serving(common: dict[str, Any], address: str) -> dict[str, Any]:
    """A replica's variables: it listens on ``address`` and talks with the lab alone."""
    words = command(common["model_store_models"][0]["file_name"])
    words[words.index("127.0.0.1")] = address
    return common | {"service_command": words, "service_bind": address, "service_peers": [LAB_NETWORK]}


def test_it_is_installed_once(place: Place) -> None:
    assert "gateway: Install the locked packages" in place.first.changed
    assert "gateway: Install the locked packages" in place.foreseen.changed
    assert place.second.changed == []
    site = place.site
    again = site.driver.converge_one(
        place.gateway, site.hosts, ["base", "gateway"], place.variables, check=True
    )
    assert again.changed == []


def test_keys_lie_nowhere_else(place: Place) -> None:
    """Neither what Ansible prints nor what every user of the host sees shows a key."""
    keys = [place.key, *(host.root("cat", "/etc/localai-deploy/api-key").strip() for host in place.replicas)]
    assert len(set(keys)) == 3
    for run in (place.foreseen, place.first, place.second):
        assert not [key for key in keys if key in run.output or key in json.dumps(run.records)]
    host = place.gateway
    for path in KEYS:
        assert host.root("stat", "-c", "%a %U", path).split() == ["600", "root"]
    pid = host.root("systemctl", "show", "-P", "MainPID", "localai-gateway").strip()
    shown = host.root("sh", "-c", f"tr '\\0' '\\n' </proc/{pid}/cmdline; tr '\\0' '\\n' </proc/{pid}/environ")
    logged = host.root("journalctl", "--no-pager", "--output=cat")
    for text in (shown, logged):
        assert not [key for key in keys if key in text]
    words = [word for key in keys for word in ("-e", key)]
    holding = host.root("grep", "-rlF", *words, "/etc", "/opt", "/var", "/tmp", check=False).split()
    assert {path for path in holding if host.root("stat", "-c", "%a", path).strip() != "600"} == set()
    assert {*KEYS} <= {*holding}
    assert "DynamicUser=yes" in host.root("systemctl", "cat", "localai-gateway")


def test_who_is_let_in(place: Place) -> None:
    address = place.gateway.address
    assert ask(address, "", MODEL).status == 401
    assert ask(address, place.key[:-1], MODEL).status == 401
    found = ask(address, place.key, MODEL)
    assert found.status == 200, found
    assert found.replica in {host.name for host in place.replicas}


def measured(place: Place, *, kill: Any, revive: Any) -> dict[str, Any]:
    """Take the first replica away under load and give it back; what became of the requests."""
    dead = place.replicas[0].name
    with Load(place.gateway.address, place.key) as load:
        await_answer(load, dead, 0.0, 180)
        await_answer(load, place.replicas[1].name, 0.0, 180)
        killed = time.monotonic()
        kill()
        await_answers(load, killed, 2 * CLIENTS, 300)
        revived = time.monotonic()
        revive()
        back = await_answer(load, dead, revived, 180)
        time.sleep(5)
    of_dead = [one for one in load.answers if one.replica == dead]
    failed = [one for one in load.answers if one.status != 200]
    return {
        "requests": len(load.answers),
        "failed": len(failed),
        "failed_that_began_after_the_kill": [one for one in failed if one.began > killed],
        "while_dead": len([one for one in load.answers if killed < one.began and one.ended < revived]),
        "slowest_while_dead_s": max(
            one.ended - one.began for one in load.answers if killed - 1 < one.began < revived
        ),
        "by_the_dead_while_dead": len([one for one in of_dead if killed < one.began and one.ended < revived]),
        "back_after_s": back - revived,
    }


def await_answers(load: Load, since: float, count: int, timeout_s: float) -> None:
    """Wait until so many requests that began after ``since`` have ended."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if len(load.since(since)) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"fewer than {count} requests ended within {timeout_s} s: {load.answers[-5:]}")


def await_answer(load: Load, replica: str, since: float, timeout_s: float) -> float:
    """Wait until the replica answered a request that began later than ``since``; when that was."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := [one for one in load.since(since) if one.replica == replica and one.status == 200]:
            return found[0].ended
        time.sleep(0.1)
    raise AssertionError(f"{replica} gave no answer within {timeout_s} s: {load.answers[-5:]}")


def test_a_server_that_dies_is_left_out_and_comes_back(place: Place, record_property: Any) -> None:
    host = place.replicas[0]
    found = measured(
        place,
        kill=lambda: (
            host.root("systemctl", "kill", "--signal=KILL", UNIT) or host.root("systemctl", "stop", UNIT)
        ),
        revive=lambda: host.root("systemctl", "start", UNIT),
    )
    record_property("figures", found)
    print(yaml.safe_dump({key: str(value) for key, value in found.items()}))
    assert found["failed_that_began_after_the_kill"] == []
    assert found["failed"] <= CLIENTS
    assert found["by_the_dead_while_dead"] == 0
    assert found["while_dead"] >= 2 * CLIENTS


def test_a_host_that_goes_silent(place: Place, record_property: Any) -> None:
    """It is as if its power were gone: nobody says that it is."""
    found = measured(place, kill=place.site.silence_second, revive=place.site.hear_second)
    record_property("figures", found)
    print(yaml.safe_dump({key: str(value) for key, value in found.items()}))
    assert found["failed_that_began_after_the_kill"] == []
    assert found["failed"] <= CLIENTS
    assert found["while_dead"] >= 2 * CLIENTS


def test_it_goes_without_a_trace(place: Place) -> None:
    site = place.site
    site.driver.converge_one(place.gateway, site.hosts, ["gateway"], place.variables, uninstall=True)
    paths = "/opt/localai-deploy/gateway /etc/localai-deploy/gateway* /etc/systemd/system/localai-gateway*"
    left = place.gateway.root("sh", "-c", f"ls -d {paths} 2>/dev/null || true")
    assert left.split() == []


def test_the_lock_pins_all_by_hash() -> None:
    lines = (ROLES / "gateway" / "files" / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith(("#", " "))]
    assert len(pins) > 50
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
