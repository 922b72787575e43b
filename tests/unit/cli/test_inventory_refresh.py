"""``inventory refresh`` against an embedded node in this process: by API alone, nobody is logged in to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from tests.unit.cli.conftest import Ended
from tests.unit.cli.node_double import KEY, OTHER_KEY, Node, serving

ENTRY = "host_vars/llm/localai-deploy.yml"


@pytest.fixture
def node(environment: dict[str, str]) -> Iterator[Node]:
    with serving() as node:
        environment |= node.environment
        yield node


@pytest.fixture
def home(node: Node, tmp_path: Path) -> Path:
    """Two VMs that somebody wrote down, and a host that is none."""
    directory = tmp_path / "my inventory"
    directory.mkdir()
    (directory / "hosts.yml").write_text(
        "# mine\n"
        "inference:\n"
        "  hosts:\n"
        "    nas: {ansible_host: 127.0.0.1}\n"
        "  children:\n"
        "    proxmox_vms:\n"
        "      hosts: {llm: , spare: }\n"
        "      vars: {localai_node: pve1}\n"
    )
    node.add_vm("llm", 1001, address="192.0.2.7")
    node.add_vm("spare", 1002, running=False)
    return directory


@pytest.fixture
def refresh(run: Callable[..., Ended], home: Path) -> Callable[..., Ended]:
    return lambda *words: run("inventory", "refresh", "-i", str(home), *words)


def tree(directory: Path) -> dict[str, str]:
    return {str(one.relative_to(directory)): one.read_text() for one in directory.rglob("*") if one.is_file()}


def problems(document: Any) -> list[str]:
    validator = Draft202012Validator(load_schema(document["schema"].split("/")[1]))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def states(document: Any) -> dict[str, str]:
    return {one["host"]: one.get("state") or one["error"]["id"] for one in document["hosts"]}


def test_it_shows_asks_and_writes(refresh: Callable[..., Ended], home: Path, node: Node) -> None:
    before = tree(home)
    asked = refresh()
    assert asked.code == 2
    assert "[confirmation-needed]" in asked.err
    assert "  + ansible_host: 192.0.2.7" in asked.out
    assert f"+ {home}/{ENTRY}" in asked.err
    assert "    + ansible_host: 192.0.2.7" in asked.err
    assert tree(home) == before
    done = refresh("--yes")
    assert done.code == 0
    assert "spare does not tell its address and key now" in done.out
    after = tree(home)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {ENTRY, "known_hosts.txt"}
    assert after["known_hosts.txt"].endswith(f" {KEY}\n")
    assert "ansible_user: tester\n" in after[ENTRY], "as the VM's own block says"
    assert node.changing_calls == []


def test_a_second_run_has_nothing_to_ask(refresh: Callable[..., Ended], home: Path) -> None:
    refresh("--yes")
    before = tree(home)
    again = refresh("--detailed-exitcode")
    assert (again.code, again.err) == (0, "")
    assert again.out.splitlines()[0] == "llm is as its node says"
    assert tree(home) == before


def test_an_address_that_moved(refresh: Callable[..., Ended], home: Path, node: Node) -> None:
    refresh("--yes")
    before = tree(home)
    node.answer(1001, "192.0.2.8")
    looked = refresh("--check", "--detailed-exitcode", "-o", "json")
    assert looked.code == 10
    assert problems(looked.data) == []
    assert looked.data["written"] == []
    assert looked.data["hosts"][0] == {
        "host": "llm",
        "state": "changed",
        "changes": [{"name": "ansible_host", "before": "192.0.2.7", "after": "192.0.2.8"}],
    }
    assert tree(home) == before
    assert refresh("--check").code == 0
    done = refresh("--yes", "--detailed-exitcode", "-o", "json")
    assert (done.code, done.data["written"]) == (10, [ENTRY])
    assert problems(done.data) == []
    assert tree(home) == before | {ENTRY: before[ENTRY].replace("192.0.2.7", "192.0.2.8")}


def test_another_host_key_is_shown(refresh: Callable[..., Ended], home: Path, node: Node) -> None:
    refresh("--yes")
    node.answer(1001, "192.0.2.7", OTHER_KEY)
    asked = refresh()
    assert asked.code == 2
    assert f"  ~ host key: {KEY} -> {OTHER_KEY}" in asked.out
    done = refresh("--yes", "-o", "json")
    assert done.data["written"] == ["known_hosts.txt"]
    assert (home / "known_hosts.txt").read_text().count("\n") == 1


def test_a_vm_that_is_gone_is_named_and_stays(refresh: Callable[..., Ended], home: Path, node: Node) -> None:
    refresh("--yes")
    before = tree(home)
    del node.sandbox.site.cluster.vms[1001]
    node.sandbox.site.cluster.pools["localai"].vms.discard(1001)
    done = refresh("--yes")
    assert done.code == 0
    assert "llm is gone: its node has no VM of ours of that name; its entry stays" in done.out
    assert states(refresh("--check", "-o", "json").data) == {"llm": "gone", "spare": "silent"}
    assert tree(home) == before


def test_a_clone_is_not_taken_for_the_vm(refresh: Callable[..., Ended], home: Path, node: Node) -> None:
    node.sandbox.site.cluster.vms[1001].config["smbios1"] = "uuid=11111111-0000-4000-8000-000000000000"
    assert states(refresh("--check", "-o", "json").data)["llm"] == "gone"


def test_a_guest_whose_agent_is_silent(refresh: Callable[..., Ended], home: Path, node: Node) -> None:
    refresh("--yes")
    before = tree(home)
    node.body(1001).network = None
    assert states(refresh("--yes", "-o", "json").data)["llm"] == "silent"
    node.answer(1001, "192.0.2.7")
    node.body(1001).answers = None
    assert states(refresh("--yes", "-o", "json").data)["llm"] == "silent"
    assert tree(home) == before


def test_a_node_that_does_not_answer(
    refresh: Callable[..., Ended], home: Path, environment: dict[str, str]
) -> None:
    (home / "more.yml").write_text(
        "proxmox_nodes: {hosts: {pve9: {localai_proxmox_host: '127.0.0.1:9'}}}\n"
        "inference: {hosts: {far: {localai_node: pve9}}}\n"
    )
    done = refresh("--yes", "-o", "json")
    assert done.code == 5
    assert problems(done.data) == []
    assert states(done.data) == {"far": "pve-unreachable", "llm": "changed", "spare": "silent"}
    assert (home / ENTRY).exists(), "the others are brought up to date all the same"
    alone = refresh("far", "--check")
    assert (alone.code, "[pve-unreachable]" in alone.out) == (3, True)


def test_one_may_be_named(refresh: Callable[..., Ended], home: Path) -> None:
    assert states(refresh("spare", "--check", "-o", "json").data) == {"spare": "silent"}
    refused = refresh("nas", "--check")
    assert (refused.code, "nas: no VM of a Proxmox node" in refused.err) == (2, True)
    unknown = refresh("lllm", "--check")
    assert (unknown.code, "[host-not-in-inventory]" in unknown.err) == (2, True)


def test_variables_that_the_entry_would_hide(refresh: Callable[..., Ended], home: Path) -> None:
    (home / "host_vars").mkdir()
    (home / "host_vars" / "llm.yml").write_text("localai_cores: 2\n")
    done = refresh("--yes", "-o", "json")
    assert done.code == 5
    assert problems(done.data) == []
    assert states(done.data) == {"llm": "inventory-file-foreign", "spare": "silent"}
    assert sorted(tree(home)) == ["host_vars/llm.yml", "hosts.yml"]


def test_an_inventory_without_vms(refresh: Callable[..., Ended], home: Path) -> None:
    (home / "hosts.yml").write_text("inference: {hosts: {nas: {ansible_host: 127.0.0.1}}}\n")
    done = refresh("--yes")
    assert (done.code, done.out) == (0, "")
    assert "no host of" in done.err
    assert refresh("-o", "json").data["hosts"] == []


@pytest.mark.parametrize("words", [(), ("-i", "hosts.yml")])
def test_the_inventory_is_a_directory(
    words: tuple[str, ...], home: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    refused = run("inventory", "refresh", *words)
    assert (refused.code, "[inventory-not-a-directory]" in refused.err) == (2, True)
