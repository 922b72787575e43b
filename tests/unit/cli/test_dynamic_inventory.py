"""The dynamic inventory of Proxmox (community.proxmox) asks the embedded node; we use what it says."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localai_deploy.inventory.specs import Overrides, load_hosts, load_nodes
from tests.unit.cli.conftest import Ended
from tests.unit.cli.node_double import Node, serving

COLLECTION = "community.proxmox"


def has_collection() -> bool:
    given = os.environ.get(
        "ANSIBLE_COLLECTIONS_PATH", "~/.ansible/collections:/usr/share/ansible/collections"
    )
    roots = [*given.split(":"), sysconfig.get_path("purelib")]
    places = (Path(root).expanduser() / "ansible_collections" for root in roots)
    return any((place / COLLECTION.replace(".", "/")).is_dir() for place in places)


pytestmark = pytest.mark.skipif(
    not has_collection(),
    reason=f"{COLLECTION} is not installed: ansible-galaxy collection install {COLLECTION}",
)


@pytest.fixture
def node() -> Iterator[Node]:
    with serving() as node:
        node.add_vm("web", 1001, address="192.0.2.77")
        node.add_vm("off", 1002, running=False)
        yield node


@pytest.fixture
def home(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root, trusted = tmp_path / "home", tmp_path / "node.pem"
    trusted.write_text(node.sandbox.certificate.certificate_pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    (root / "group_vars").mkdir(parents=True)
    (root / "site.proxmox.yml").write_text(
        f"plugin: {COLLECTION}.proxmox\n"
        f"url: https://{node.host}\n"
        f"user: root@pam\ntoken_id: sandbox\ntoken_secret: {node.secret}\n"
        "want_facts: true\n"
        "groups:\n  inference: proxmox_status == 'running'\n"
        "compose:\n"
        "  ansible_host: proxmox_agent_interfaces[0]['ip-addresses'][0].split('/')[0]\n"
        "  localai_port: 8000 + (proxmox_vmid | int) % 1000\n"
    )
    (root / "group_vars" / "inference.yml").write_text("localai_models: [hf:ORG/REPO/FILE.gguf]\n")
    return root


def test_its_hosts_are_ours_to_deploy_to(home: Path) -> None:
    (web,) = load_hosts([], home, Overrides())
    assert (web.name, web.connection.destination, web.vm) == ("web", "192.0.2.77", None)
    assert web.settings["localai_port"].value == 8001
    assert web.settings["localai_port"].source == "site.proxmox.yml:11"
    assert web.spec().models == ("hf:ORG/REPO/FILE.gguf",)


def test_its_nodes_are_no_hosts(home: Path) -> None:
    """The plugin's own group of nodes has the name of ours: they are known, and lack what reaches them."""
    nodes = load_nodes(home, insecure=False)
    assert "pve1" in nodes.variables
    lack = nodes.lack("pve1", {})
    assert lack is not None
    assert lack.error_id == "pve-host-missing"


def test_config_check(home: Path, run: Callable[..., Ended]) -> None:
    ended = run("config", "check", "-i", str(home))
    assert (ended.code, ended.out) == (0, "fine: web (1 host)\n")
    path = home / "site.proxmox.yml"
    path.write_text(path.read_text().replace("localai_port", "localai_prot"))
    ended = run("config", "check", "-i", str(home))
    assert ended.code == 2
    assert ended.out.startswith("site.proxmox.yml:11:3: localai_prot is not a variable")
