"""The inventories that are shipped: every value in them is right, also those that are commented out."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.inventory.check import check_inventory
from localai_deploy.inventory.specs import InventoryHost, Overrides, load_hosts, load_nodes
from localai_deploy.sandbox_record import (
    DIRECTORY_VARIABLE,
    LOCK_NAME,
    SandboxRecord,
    make_private,
    write_record,
)

SHIPPED = Path(__file__).parents[2] / "inventories"
COMMENTED = re.compile(r"^(\s*)# (localai_\w+: .*)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of somebody with an SSH key and a sandbox that runs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PROXMOX_TOKEN_SECRET", "s")
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "run"))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA me\n")
    directory = make_private(tmp_path / "run")
    node = NodeConnection(
        "sandbox", "127.0.0.1:1", ApiToken("root@pam", "sandbox", "s"), fingerprint="ab" * 32
    )
    write_record(directory, SandboxRecord(node, "bare", os.getpid()))
    with (directory / LOCK_NAME).open("w") as lock:
        lock.write(str(os.getpid()))
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def hosts_of(directory: Path) -> dict[str, InventoryHost]:
    return {host.name: host for host in load_hosts([], directory, Overrides())}


def uncommented(directory: Path) -> Path:
    for path in directory.rglob("*.yml"):
        path.write_text(COMMENTED.sub(r"\1\2", path.read_text()))
        yaml.safe_load(path.read_text())
    return directory


def test_a_home_to_copy() -> None:
    hosts = hosts_of(SHIPPED / "example")
    assert set(hosts) == {"llm", "coder", "nas", "desktop"}
    assert [name for name, host in hosts.items() if host.vm is None] == ["nas", "desktop"]
    assert hosts["coder"].vm is not None
    assert (hosts["coder"].vm.node.host, hosts["coder"].settings["localai_gpu"].value) == (
        "192.0.2.6",
        ("auto",),
    )
    assert hosts["llm"].vm is not None
    assert (hosts["llm"].vm.node.host, hosts["llm"].vm.spec.cores) == ("192.0.2.5", 8)
    assert [host.spec().models[0].startswith("hf:ORG") for host in hosts.values()] == [True] * 4


@pytest.mark.parametrize("name", ["example", "sandbox"])
def test_config_check_is_content(name: str) -> None:
    checked = check_inventory([], SHIPPED / name, Overrides())
    assert checked.problems == []
    assert checked.hosts


def test_its_comments_are_right_values_too(tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(SHIPPED / "example", copy)
    before = set(re.findall(r"localai_\w+", "".join(one.read_text() for one in copy.rglob("*.yml"))))
    hosts = hosts_of(uncommented(copy))
    assert hosts["llm"].vm is not None
    static = hosts["llm"].vm.spec.static
    assert static is not None
    assert static.gateway == "192.0.2.1"
    assert hosts["nas"].connection.host_key.startswith("SHA256:")
    node = load_nodes(copy, insecure=False).connection("pve1")
    assert (node.node, node.fingerprint, node.ca_file) == (
        "proxmox",
        "aa" * 32,
        f"{tmp_path}/pve-root-ca.pem",
    )
    assert node.guest_ssh_args == ("-o", "ProxyJump=admin@192.0.2.5")
    assert len(before) > 25

    (copy / "gateway.yml").write_text("gateway: {hosts: {nas: }}\n")
    gateway = hosts_of(copy)["nas"].gateway
    assert gateway is not None
    assert (gateway.endpoint, gateway.clients) == ("http://192.0.2.10:4000", ("192.0.2.0/24",))
    assert ("llm", "192.0.2.77") in [(one.name, one.address) for one in gateway.replicas]


def test_comments_tell_the_defaults() -> None:
    """``localai_cores: 8  # 4``: what stands behind a value is what it would be without it."""
    from localai_deploy.domain.settings import BY_NAME

    text = (SHIPPED / "example" / "host_vars" / "llm" / "main.yml").read_text()
    told = re.findall(r"^(localai_\w+): \d+  # (\d+)$", text, re.MULTILINE)
    assert {name: int(value) for name, value in told} == {name: BY_NAME[name].default for name, _ in told}
    assert len(told) == 3


def test_a_vm_on_the_embedded_node() -> None:
    (host,) = hosts_of(SHIPPED / "sandbox").values()
    assert host.vm is not None
    assert (host.name, host.vm.node.node, host.vm.node.host) == ("llm", "sandbox", "127.0.0.1:1")
    assert host.spec().models


def test_the_boxes_of_the_vagrantfile() -> None:
    hosts = hosts_of(SHIPPED / "vagrant")
    boxes = re.findall(r'^    "(\w+)" => \[', (SHIPPED.parent / "Vagrantfile").read_text(), re.MULTILINE)
    assert list(hosts) == boxes == ["debian12", "debian13", "ubuntu2204", "ubuntu2404"]
    assert {host.spec().models for host in hosts.values()} == {("smollm2-135m-instruct",)}
