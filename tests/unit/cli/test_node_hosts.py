"""Which VMs a command line stands for, and commands about them, on an embedded node in this process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.options import existing_hosts_from, hosts_from
from localai_deploy.cli.output import load_schema
from localai_deploy.errors import InputError
from tests.unit.cli.conftest import Ended
from tests.unit.cli.node_double import IMAGE, Node, serving

MODEL = ("--model", "hf:ORG/REPO/small-q4.gguf")


@pytest.fixture
def node(environment: dict[str, str]) -> Iterator[Node]:
    with serving() as node:
        environment |= node.environment
        yield node


@pytest.fixture
def in_environment(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is named in this process's environment."""
    for name, value in node.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def home(node: Node, tmp_path: Path) -> Path:
    """An inventory with the node, two VMs on it and a host."""
    directory = tmp_path / "inventory"
    directory.mkdir()
    (directory / "hosts.yml").write_text(
        "proxmox_nodes:\n"
        "  hosts:\n"
        "    pve1:\n"
        f"      localai_proxmox_host: {node.host}\n"
        f"      localai_proxmox_fingerprint: {node.fingerprint}\n"
        "inference:\n"
        "  hosts:\n"
        "    nas: {ansible_host: 127.0.0.1}\n"
        "  children:\n"
        "    proxmox_vms:\n"
        "      hosts:\n"
        "        llm: {localai_cores: 6}\n"
        "        spare: {}\n"
        "      vars: {localai_node: pve1, localai_models: ['hf:ORG/REPO/small-q4.gguf']}\n"
    )
    return directory


def problems(document: Any) -> list[str]:
    validator = Draft202012Validator(load_schema(document["schema"].split("/")[1]))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize(
    ("words", "options", "names"),
    [
        ((), {"node": "pve1", "name": None}, ["localai"]),
        ((), {"node": "pve1", "name": "llm"}, ["llm"]),
        (("other",), {"node": "pve1", "name": "llm"}, ["other", "llm"]),
        (("llm",), {"node": "pve1", "name": "llm"}, ["llm"]),
        (("admin@box",), {"node": None, "name": None}, ["box"]),
    ],
)
def test_what_a_command_line_stands_for(
    words: tuple[str, ...],
    options: dict[str, Any],
    names: list[str],
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in node.environment.items():
        monkeypatch.setenv(name, value)
    assert [host.name for host in hosts_from(words, options)] == names


def test_without_a_name_and_without_a_node_there_is_no_host() -> None:
    with pytest.raises(InputError) as caught:
        hosts_from((), {"node": None, "name": None})
    assert caught.value.error_id == "host-missing"


def test_commands_without_a_name_option_make_up_no_vm(node: Node, in_environment: None) -> None:
    assert existing_hosts_from((), {"node": "pve1"}) == []
    assert [host.name for host in existing_hosts_from(("gone",), {"node": "pve1"})] == ["gone"]
    node.add_vm("b", 1002)
    node.add_vm("a", 1001)
    assert [host.name for host in existing_hosts_from((), {"node": "pve1"})] == ["a", "b"]


@pytest.mark.parametrize("command", ["up", "plan"])
def test_a_name_needs_a_node(command: str, run: Callable[..., Ended]) -> None:
    done = run(command, "--name", "llm", *MODEL)
    assert done.code == 2
    assert "--name is for VMs: it needs --node" in done.err


def test_a_name_that_no_guest_can_have(node: Node, run: Callable[..., Ended]) -> None:
    done = run("plan", "--node", "pve1", "--name", "My_VM", *MODEL)
    assert (done.code, "[vm-name-invalid]" in done.err) == (2, True)
    assert node.changing_calls == []


def test_names_of_the_inventory_keep_its_values(home: Path, run: Callable[..., Ended]) -> None:
    shown = run("config", "show", "-i", str(home), "--node", "pve1", "llm", "new", "-o", "json").data
    cores = {one["host"]: one["settings"]["localai_cores"] for one in shown["hosts"]}
    assert cores == {
        "llm": {"value": 6, "source": "hosts.yml:12"},
        "new": {"value": 4, "source": "default"},
    }
    assert {one["settings"]["localai_models"]["source"] for one in shown["hosts"]} == {"hosts.yml:14"}
    assert problems(shown) == []


def test_status_of_a_node_without_vms_of_ours(node: Node, run: Callable[..., Ended]) -> None:
    done = run("status", "--node", "pve1")
    assert (done.code, done.out, done.err) == (0, "", "no VM of ours is on node pve1\n")
    told = run("status", "--node", "pve1", "-o", "json").data
    assert told == {"schema": "localai-deploy/status/v1", "hosts": []}
    assert problems(told) == []


def test_status_of_all_that_is_ours_on_a_node(node: Node, run: Callable[..., Ended]) -> None:
    node.add_vm("llm", 1001)
    node.add_vm("off", 1002, running=False)
    node.add_vm("foreign", 1003)
    node.sandbox.site.cluster.vms[1003].config["description"] = "somebody's own"
    done = run("status", "--node", "pve1")
    assert done.code == 1
    assert done.out.splitlines() == [
        "llm: stopped",
        "  vm        1001 on pve1, running, disks of 40.0 GiB",
        "off: stopped",
        "  vm        1002 on pve1, stopped, disks of 40.0 GiB",
    ]
    told = run("status", "--node", "pve1", "-o", "json").data
    assert problems(told) == []
    assert [one["vm"]["vmid"] for one in told["hosts"]] == [1001, 1002]
    assert node.changing_calls == []


def test_status_of_a_node_and_an_inventory_that_knows_some_of_its_vms(
    node: Node, home: Path, run: Callable[..., Ended]
) -> None:
    node.add_vm("llm", 1001)
    node.add_vm("stranger", 1002)
    told = run("status", "-i", str(home), "--node", "pve1", "-o", "json").data
    assert {one["host"]: one["vm"]["vmid"] for one in told["hosts"]} == {"llm": 1001, "stranger": 1002}


def test_status_of_a_vm_that_is_not_there(node: Node, run: Callable[..., Ended]) -> None:
    done = run("status", "--node", "pve1", "gone")
    assert (done.code, done.out) == (0, "gone: absent\n")
    told = run("status", "--node", "pve1", "gone", "-o", "json").data
    assert problems(told) == []
    assert told["hosts"] == [{"host": "gone", "state": "absent", "vm": None}]


def test_verify_of_a_vm_that_is_not_there(node: Node, run: Callable[..., Ended]) -> None:
    """Nothing was verified, so nothing failed either: the world is not as it should be."""
    for words, fix in (("gone",), "status --node pve1"), ((), "up --node pve1 --name NAME"):
        done = run("verify", "--node", "pve1", *words)
        assert (done.code, done.out) == (3, "")
        assert "[vm-missing]" in done.err
        assert fix in done.err
        told = run("verify", "--node", "pve1", *words, "-o", "json")
        assert (told.code, told.data["error"]["id"], problems(told.data)) == (3, "vm-missing", [])


def test_verify_of_a_vm_of_the_inventory_that_is_not_there(
    node: Node, home: Path, run: Callable[..., Ended]
) -> None:
    node.add_vm("spare", 1001, running=False)
    alone = run("verify", "-i", str(home), "llm", "-o", "json")
    assert (alone.code, alone.data["error"]["id"]) == (3, "vm-missing")
    both = run("verify", "-i", str(home), "llm", "spare", "-o", "json")
    assert (both.code, problems(both.data)) == (3, [])
    assert [one["error"]["id"] for one in both.data["hosts"]] == ["vm-missing", "vm-stopped"]


@pytest.mark.parametrize("words", [("status",), ("status", "llm"), ("verify", "llm"), ("down", "llm")])
def test_a_look_that_is_asked_again_is_told(
    node: Node, run: Callable[..., Ended], words: tuple[str, ...]
) -> None:
    node.add_vm("llm", 1001, running=False)
    node.sandbox.site.faults.add("595", "GET /cluster/resources")
    done = run(*words, "--node", "pve1", "-o", "json")
    assert re.search(r"(?m)^· .*: asked again in 0\.5 s$", done.err), done.err


def test_down_takes_a_vm_with_its_disks(node: Node, run: Callable[..., Ended]) -> None:
    node.add_vm("llm", 1001)
    node.add_vm("other", 1002)
    asked = run("down", "--node", "pve1", "llm")
    assert (asked.code, asked.out) == (2, "")
    assert "delete VM 1001 on pve1 with its disks (40.0 GiB)" in asked.err
    assert "local:1001/vm-1001-disk-1.raw: 40.0 GiB" in asked.err
    assert node.changing_calls == []
    done = run("down", "--node", "pve1", "llm", "--yes", "-o", "json")
    assert done.code == 0
    assert problems(done.data) == []
    assert done.data["hosts"][0] == {"host": "llm", "removed": True}
    assert set(node.sandbox.site.cluster.vms) == {1002}
    assert list(node.sandbox.site.cluster.volumes) == ["local:1002/vm-1002-disk-1.raw"]
    again = run("down", "--node", "pve1", "llm", "--yes")
    assert (again.code, again.out) == (0, "llm: nothing of ours was there\n")


def test_down_tells_a_program_what_stays(node: Node, run: Callable[..., Ended]) -> None:
    import time

    from localai_deploy.domain.pve.images import parse_image
    from localai_deploy.sandbox.state import Volume

    image = f"local:import/{parse_image(IMAGE).file_name}"
    node.sandbox.site.cluster.volumes[image] = Volume(image, "import", "qcow2", 1 << 20, int(time.time()))
    node.add_vm("llm", 1001)
    told = run("down", "--node", "pve1", "llm", "--yes", "-o", "json").data
    assert problems(told) == []
    assert told["hosts"] == [
        {"host": "llm", "removed": True, "kept": [f"image {image} stays on node pve1 for other VMs"]}
    ]


def test_a_plan_of_a_new_vm(node: Node, run: Callable[..., Ended]) -> None:
    told = run("plan", "--node", "pve1", "--name", "new", "--image", IMAGE, *MODEL, "-o", "json").data
    assert problems(told) == []
    assert [step["kind"] for step in told["hosts"][0]["steps"]][:3] == ["image", "vm", "start"]
    assert node.changing_calls == []


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
def test_a_node_that_cannot_be_trusted(
    node: Node, run: Callable[..., Ended], environment: dict[str, str]
) -> None:
    environment["PROXMOX_FINGERPRINT"] = ""
    refused = run("status", "--node", "pve1")
    assert refused.code == 3
    assert "[tls-" in refused.err
    for words in (("status",), ("status", "gone"), ("down", "gone"), ("node", "permissions", "pve1")):
        place = () if words[0] == "node" else ("--node", "pve1")
        loud = run(*words, *place, "--insecure", "-o", "json")
        assert loud.code == 0
        assert f"! the TLS certificate of {node.host} is NOT verified" in loud.err
        assert "verified" not in loud.out


def test_a_pinned_certificate_is_verified_all_the_same(
    node: Node, run: Callable[..., Ended], environment: dict[str, str]
) -> None:
    assert "is verified all the same" in run("status", "--node", "pve1", "--insecure").err
    environment["PROXMOX_FINGERPRINT"] = "00" * 32
    refused = run("status", "--node", "pve1", "--insecure")
    assert (refused.code, "[tls-fingerprint-mismatch]" in refused.err) == (3, True)


def test_config_show_tells_of_nodes(
    node: Node, home: Path, run: Callable[..., Ended], environment: dict[str, str]
) -> None:
    told = run("config", "show", "-i", str(home), "pve1", "-o", "json").data
    assert problems(told) == []
    assert told["hosts"] == []
    (shown,) = told["nodes"]
    assert shown["node"] == "pve1"
    assert shown["secrets"] == {"token_secret": "set (not shown)"}
    assert shown["settings"]["localai_proxmox_host"] == {"value": node.host, "source": "hosts.yml:4"}
    assert shown["settings"]["localai_proxmox_token_id"]["source"] == "environment PROXMOX_TOKEN_ID"
    text = run("config", "show", "-i", str(home), "pve1")
    assert text.out.startswith("pve1 (a Proxmox node)\n")
    assert "token_secret                  set (not shown)" in text.out
    assert node.secret not in text.out + text.err
    everything = run("config", "show", "-i", str(home), "-o", "json").data
    assert [one["host"] for one in everything["hosts"]] == ["nas", "llm", "spare"]
    assert [one["node"] for one in everything["nodes"]] == ["pve1"]
    of_vm = run("config", "show", "-i", str(home), "llm", "-o", "json").data
    assert ([one["host"] for one in of_vm["hosts"]], [one["node"] for one in of_vm["nodes"]]) == (
        ["llm"],
        ["pve1"],
    )


def test_several_inventories_on_the_command_line(
    home: Path, tmp_path: Path, run: Callable[..., Ended], environment: dict[str, str]
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (more / "hosts.yml").write_text("inference: {hosts: {nas: {localai_port: 9000}}}\n")

    def port(*words: str) -> dict[str, Any]:
        (shown,) = run("config", "show", *words, "nas", "-o", "json").data["hosts"]
        return dict(shown["settings"]["localai_port"])

    later = {"value": 9000, "source": f"{more}/hosts.yml:1"}
    assert port("-i", str(home), "-i", str(more)) == later
    environment["LOCALAI_DEPLOY_INVENTORY"] = f"{home}:{more}"
    assert port() == later
    refused = run("inventory", "refresh", "-i", str(home), "-i", str(more))
    assert (refused.code, "one inventory at a time" in refused.err) == (2, True)


def test_config_show_tells_what_is_missing_of_a_token(
    node: Node, home: Path, run: Callable[..., Ended], environment: dict[str, str]
) -> None:
    environment["PROXMOX_TOKEN_SECRET"] = ""
    for words in ((), ("llm",), ("pve1",)):
        done = run("config", "show", "-i", str(home), *words, "-o", "json")
        assert (done.code, problems(done.data)) == (0, [])
        (shown,) = done.data["nodes"]
        assert (shown["lack"]["id"], shown["secrets"]) == ("pve-token-invalid", {"token_secret": "not set"})
        assert shown["lack"]["why"] == "missing or malformed: its secret (PROXMOX_TOKEN_SECRET)"
        assert shown["settings"]["localai_proxmox_host"]["value"] == node.host
    text = run("config", "show", "-i", str(home))
    assert "  ! the Proxmox API token is incomplete: missing or malformed: its secret" in text.out
    assert run("config", "check", "-i", str(home)).code == 0, "no file of the inventory is to have the secret"


def test_config_show_without_a_node_at_all(
    node: Node, run: Callable[..., Ended], environment: dict[str, str]
) -> None:
    environment["PROXMOX_HOST"] = ""
    for name, lack in (("pve1", "pve-host-missing"), ("sandbox", "sandbox-not-running")):
        done = run("config", "show", "--node", name, "llm", "-o", "json")
        assert (done.code, problems(done.data)) == (0, [])
        assert [one["host"] for one in done.data["hosts"]] == ["llm"]
        assert [(one["node"], one["lack"]["id"]) for one in done.data["nodes"]] == [(name, lack)]


def test_config_show_of_a_node_of_the_environment(node: Node, run: Callable[..., Ended]) -> None:
    told = run("config", "show", "--node", "pve1", "llm", "-o", "json").data
    assert problems(told) == []
    assert told["nodes"][0]["settings"]["localai_proxmox_host"]["source"] == "environment PROXMOX_HOST"


def test_insecure_is_loud_in_config_show(node: Node, home: Path, run: Callable[..., Ended]) -> None:
    hosts = home / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("localai_proxmox_fingerprint", "# "))
    for names in (("pve1",), (), ("llm",)):
        done = run("config", "show", "-i", str(home), "--insecure", *names)
        assert done.err.count("is NOT verified") == 1
        assert "flag --insecure" in done.out
    (home / "host_vars").mkdir()
    (home / "host_vars" / "pve1.yml").write_text("localai_proxmox_insecure: true\n")
    entry = run("config", "show", "-i", str(home), "pve1")
    assert entry.err.count("is NOT verified") == 1
    assert "host_vars/pve1.yml:1" in entry.out


def test_an_inventory_of_nodes_alone(node: Node, home: Path, run: Callable[..., Ended]) -> None:
    text = (home / "hosts.yml").read_text().partition("inference:")[0]
    (home / "hosts.yml").write_text(text)
    told = run("config", "show", "-i", str(home), "-o", "json").data
    assert (told["hosts"], len(told["nodes"])) == ([], 1)


def test_a_node_is_no_host(home: Path, run: Callable[..., Ended]) -> None:
    done = run("up", "-i", str(home), "pve1", *MODEL, "--yes")
    assert (done.code, "[host-is-node]" in done.err) == (2, True)


def test_node_permissions_of_a_node_of_the_inventory(
    node: Node, home: Path, run: Callable[..., Ended], environment: dict[str, str]
) -> None:
    """Its host and pin are the inventory's; the administrator's token is the environment's."""
    (home / "host_vars" / "pve1").mkdir(parents=True)
    (home / "host_vars" / "pve1" / "main.yml").write_text(
        "localai_proxmox_user: tool@pve\nlocalai_proxmox_token_id: run\nlocalai_proxmox_token_secret: wrong\n"
    )
    environment.pop("PROXMOX_HOST")
    environment.pop("PROXMOX_FINGERPRINT")
    done = run("node", "permissions", "pve1", "-i", str(home), "-o", "json")
    assert done.code == 0, done.err
    for name in ("PROXMOX_TOKEN_ID", "PROXMOX_TOKEN_SECRET", "PROXMOX_USER"):
        environment[name] = ""
    refused = run("node", "permissions", "pve1", "-i", str(home))
    assert (refused.code, "[pve-auth-failed]" in refused.err) == (3, True)
