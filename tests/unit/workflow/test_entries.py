"""VMs become entries of an inventory, as their embedded node tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from localai_deploy.domain.settings import Sourced
from localai_deploy.errors import ExitCode, InputError, LocalaiError
from localai_deploy.inventory.specs import InventoryHost, Overrides, load_hosts
from localai_deploy.workflow.entries import prepare_entries, write_entries
from tests.unit.cli.node_double import Node, serving


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Node]:
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving() as node:
        for name, value in node.environment.items():
            monkeypatch.setenv(name, value)
        node.add_vm("llm", 1001, address="192.0.2.7")
        node.add_vm("other", 1002, address="192.0.2.8")
        yield node


def vms(*names: str, node: str = "pve1", inventory: Path | None = None) -> list[InventoryHost]:
    flags = {"localai_node": Sourced(node, "flag --node"), "localai_cores": Sourced(2, "flag --cores")}
    return load_hosts(names, inventory, Overrides(flags))


def test_a_new_inventory_has_the_node(node: Node, tmp_path: Path) -> None:
    hosts = vms("llm", "other")
    written = write_entries(prepare_entries(tmp_path / "home", hosts, None), hosts)
    assert (dict(written.errors), list(written.missing_nodes)) == ({}, [])
    assert [one.path for one in written.changes] == [
        "known_hosts.txt",
        "host_vars/llm/localai-deploy.yml",
        "proxmox_vms.yml",
        "host_vars/other/localai-deploy.yml",
        "hosts.yml",
    ]
    groups = yaml.safe_load((tmp_path / "home" / "hosts.yml").read_text())
    assert groups["proxmox_nodes"]["hosts"]["pve1"]["localai_proxmox_host"] == node.host
    assert node.secret not in (tmp_path / "home" / "hosts.yml").read_text()


def test_an_inventory_that_is_there_does_not_get_the_node(node: Node, tmp_path: Path) -> None:
    """Nothing but our own files is written, so somebody is told."""
    (tmp_path / "hosts.yml").write_text("inference:\n  hosts:\n    nas:\n")
    hosts = vms("llm")
    written = write_entries(prepare_entries(tmp_path, hosts, None), hosts)
    assert list(written.missing_nodes) == ["pve1"]
    (tmp_path / "more.yml").write_text(
        "proxmox_nodes: {hosts: {pve1: {localai_proxmox_host: '127.0.0.1:1'}}}\n"
    )
    again = write_entries(prepare_entries(tmp_path, hosts, None), hosts)
    assert (list(again.missing_nodes), list(again.changes)) == ([], [])


def test_a_guest_that_is_silent_does_not_keep_the_others_out(node: Node, tmp_path: Path) -> None:
    node.body(1002).network = None
    hosts = vms("llm", "other")
    written = write_entries(prepare_entries(tmp_path / "home", hosts, None), hosts)
    assert {name: error.error_id for name, error in written.errors.items()} == {
        "other": "guest-agent-missing"
    }
    assert written.errors["other"].exit_code is ExitCode.PARTIAL
    assert (tmp_path / "home" / "host_vars" / "llm").is_dir()
    assert not (tmp_path / "home" / "host_vars" / "other").exists()
    node.body(1001).network = None
    none = write_entries(prepare_entries(tmp_path / "none", hosts, None), hosts)
    assert set(none.errors) == {"llm", "other"}
    assert not (tmp_path / "none").exists()


def test_what_came_up_while_the_vm_was_made_is_not_overwritten(node: Node, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first, second = vms("llm"), vms("other")
    late = prepare_entries(home, first, None)
    write_entries(prepare_entries(home, second, None), second)
    written = write_entries(late, first)
    assert dict(written.errors) == {}
    assert {host.name for host in load_hosts([], home, Overrides())} == {"llm", "other"}
    (home / "host_vars" / "llm").rename(home / "host_vars" / "llm.was")
    (home / "host_vars" / "llm").write_text("localai_cores: 1\n")
    refused = write_entries(late, first)
    assert refused.errors["llm"].error_id == "inventory-file-foreign"
    assert refused.errors["llm"].exit_code is ExitCode.PARTIAL


def test_a_place_that_cannot_be_written(node: Node, tmp_path: Path) -> None:
    hosts = vms("llm")
    entries = prepare_entries(tmp_path / "home", hosts, None)
    (tmp_path / "home").symlink_to(tmp_path / "nowhere" / "at all")
    error = write_entries(entries, hosts).errors["llm"]
    assert (error.error_id, error.exit_code) == ("local-file", ExitCode.PARTIAL)
    assert str(tmp_path / "home") in error.what


def test_a_host_that_is_no_vm(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="box is none"):
        prepare_entries(tmp_path / "home", load_hosts(["box"], None, Overrides()), None)


def test_a_vm_that_is_an_entry_elsewhere(node: Node, tmp_path: Path) -> None:
    """What another inventory says of it is that inventory's business; flags go into both."""
    first = tmp_path / "first"
    first.mkdir()
    (first / "hosts.yml").write_text("inference: {hosts: {llm: {localai_disk_gib: 80}}}\n")
    hosts = vms("llm", inventory=first)
    write_entries(prepare_entries(tmp_path / "second", hosts, None), hosts)
    entry = yaml.safe_load((tmp_path / "second/host_vars/llm/localai-deploy.yml").read_text())
    assert {key: value for key, value in entry.items() if key.startswith("localai_")} == {
        "localai_node": "pve1",
        "localai_cores": 2,
    }
    with pytest.raises(LocalaiError) as caught:
        prepare_entries(first, hosts, None)
    assert caught.value.error_id == "inventory-host-taken"


def test_flags_of_a_later_run_change_the_entry(node: Node, tmp_path: Path) -> None:
    """With the inventory itself at hand, what it kept stays; without it, the run's flags are all there is."""
    home = tmp_path / "home"
    hosts = vms("llm")
    write_entries(prepare_entries(home, hosts, None), hosts)
    flags = {"localai_port": Sourced(9000, "flag --port"), "localai_node": Sourced("pve1", "flag --node")}
    (again,) = load_hosts(["llm"], home, Overrides(flags))
    write_entries(prepare_entries(home, [again], None), [again])
    (kept,) = load_hosts([], home, Overrides())
    assert (kept.settings["localai_port"].value, kept.settings["localai_cores"].value) == (9000, 2)
    (bare,) = load_hosts(["llm"], None, Overrides(flags))
    write_entries(prepare_entries(home, [bare], None), [bare])
    (kept,) = load_hosts([], home, Overrides())
    assert kept.settings["localai_cores"].source == "default"
