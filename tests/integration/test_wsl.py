"""WSL on an imitation: what is refused, systemd by wsl.conf, the whole job and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.product import Ended, User, write_inventory
from tests.lab.content import Content
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.layout import Lab
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_daemon import mirror_urls
from tests.lab.mirror_files import MODEL_REPOSITORY
from tests.lab.state import difference
from tests.lab.wsl import (
    DISTRIBUTION,
    PROFILE,
    give_card,
    hide_systemd,
    imitate_wsl,
    set_profile,
    show_systemd,
)

pytestmark = pytest.mark.host

WSL_CONF = "# mine\n[user]\ndefault=ann\n"


@dataclass(frozen=True, slots=True)
class Pc:
    """A host that looks like WSL, and who deploys to it."""

    host: LabHost
    user: User
    inventory: Path

    def run(self, *words: str) -> Ended:
        return self.user.run(*words, "-i", str(self.inventory), "box", "-o", "json")

    def told(self, kind: str, *words: str) -> Mapping[str, Any]:
        """Of a plan the blockers or warnings, by id."""
        (host,) = self.run("plan", *words).data["hosts"]
        return {one["id"]: one for one in host[kind] if one["id"] != "mirror-unauthenticated"}


@pytest.fixture(scope="module")
def pc(
    lab: Lab, content: Content, mirror: MirrorClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pc]:
    place = tmp_path_factory.mktemp("pc")
    with start_host(lab, unique_name()) as host:
        imitate_wsl(host)
        variables = {
            "ansible_host": host.address,
            "ansible_user": host.user,
            "ansible_ssh_private_key_file": str(host.private_key),
            "localai_host_key": host.fingerprint,
            "localai_models": [f"hf:{MODEL_REPOSITORY}/smollm2-135m-instruct-q4_1.gguf"],
            "localai_context_length": 1024,
            "localai_mirrors": mirror_urls(lab),
        }
        yield Pc(host, User(place / "home"), write_inventory(place / "inventory", {"box": variables}))


@contextmanager
def without_systemd(pc: Pc) -> Iterator[Path]:
    """The distribution as it comes without a word about systemd, and its wsl.conf."""
    conf = pc.host.rootfs / "etc/wsl.conf"
    conf.write_text(WSL_CONF)
    hide_systemd(pc.host)
    try:
        yield conf
    finally:
        show_systemd(pc.host)
        conf.unlink()


def test_a_distribution_is_recognised_and_nothing_is_against_it(pc: Pc) -> None:
    assert pc.host.root("systemd-detect-virt").strip() == "wsl"
    assert (pc.told("blockers"), pc.told("warnings")) == ({}, {})


def test_settings_of_windows_are_read_on_its_drive(pc: Pc) -> None:
    set_profile(pc.host, "[wsl2]\r\nlocalhostForwarding=false\r\n")
    try:
        warning = pc.told("warnings")["wsl-networking"]
    finally:
        pc.host.root("rm", PROFILE)
    assert warning["why"] == f"{PROFILE} says localhostForwarding=false"


def test_a_store_on_the_windows_drive_is_refused(pc: Pc) -> None:
    pc.host.root("ln", "-s", "/mnt/c", "/var/lib/localai-deploy")
    try:
        blocker = pc.told("blockers")["wsl-windows-drive"]
    finally:
        pc.host.root("rm", "/var/lib/localai-deploy")
    assert blocker["what"] == "/var/lib/localai-deploy/models of box lies on Windows' drive /mnt/c"


def test_a_linux_driver_is_refused_though_it_hides_the_card(pc: Pc) -> None:
    status = pc.host.rootfs / "var/lib/dpkg/status"
    before = status.read_bytes()
    fields = (
        "Status: install ok installed\nArchitecture: amd64\nVersion: 550\nMaintainer: Lab <lab@example.org>"
    )
    pc.host.root("mknod", "/dev/dxg", "c", "10", "125")
    status.write_bytes(before + f"\nPackage: libcuda1\n{fields}\nDescription: lab\n".encode())
    try:
        blocker = pc.told("blockers")["wsl-driver"]
    finally:
        status.write_bytes(before)
        pc.host.root("rm", "/dev/dxg")
    assert blocker["hint"].startswith("sudo apt-get purge libcuda1;")


def test_with_a_card_the_driver_is_windows_and_the_build_is_for_it(pc: Pc) -> None:
    give_card(pc.host)
    try:
        (host,) = pc.run("plan").data["hosts"]
    finally:
        pc.host.root("rm", "-r", "/usr/lib/wsl", "/dev/dxg")
    steps = {step["kind"]: step for step in host["steps"]}
    assert host["blockers"] == []
    assert (steps["driver"]["action"], "560.94" in steps["driver"]["reason"]) == ("keep", True)
    assert "cuda129" in json.dumps(steps["environment"]["changes"])


@pytest.mark.slow
def test_systemd_is_switched_on_the_restart_is_waited_for_and_down_takes_it_back(pc: Pc) -> None:
    with without_systemd(pc) as conf:
        before = pc.host.state()
        assert list(pc.told("warnings")) == ["wsl-systemd-off"]
        ended = pc.run("up", "--yes")
        assert (ended.code, ended.error_ids) == (5, ["wsl-restart-needed"])
        assert conf.read_text() == f"{WSL_CONF}[boot]\nsystemd=true\n"
        blocker = pc.told("blockers")["wsl-restart-needed"]
        assert f"wsl.exe --terminate {DISTRIBUTION} " in blocker["hint"]
        assert pc.run("up", "--yes").code == 3
        down = pc.run("down", "--yes")
        assert down.code == 0, down
        assert conf.read_text() == WSL_CONF
        assert difference(before, pc.host.state()) == []


@pytest.mark.slow
def test_the_whole_job_and_back(pc: Pc) -> None:
    with without_systemd(pc):
        before = pc.host.state()
        assert pc.run("up", "--yes").code == 5
        pc.host.restart()
        first = pc.run("up", "--yes")
        assert first.code == 0, first
        (host,) = first.data["hosts"]
        assert host["verification"]["counts"]["fail"] == 0
        assert host["windows"]["endpoint"] == "http://localhost:8080/v1"
        assert host["windows"]["key_command"].startswith(f"wsl.exe -d {DISTRIBUTION} -u root cat ")
        second = pc.run("up")
        assert (second.code, second.data["hosts"][0]["changed_tasks"]) == (0, 0)
        down = pc.run("down", "--yes", "--purge")
        assert down.code == 0, down
        assert difference(before, pc.host.state()) == []
        hide_systemd(pc.host)
