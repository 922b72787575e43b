"""Where a node's connection comes from: an entry of the inventory, the sandbox's record, the environment."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.domain.settings import Sourced
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.inventory.nodes import Nodes
from localai_deploy.inventory.specs import Overrides, load_hosts, load_nodes
from localai_deploy.sandbox_record import LOCK_NAME, SandboxRecord, make_private, write_record

SECRET = "5b9cf2a1-planted-secret"
PIN = "ab" * 32
COLONS = ":".join(["AB"] * 32)
ENVIRONMENT = {
    "PROXMOX_HOST": "env.example.org",
    "PROXMOX_USER": "env@pve",
    "PROXMOX_TOKEN_ID": "of-env",
    "PROXMOX_TOKEN_SECRET": "env-secret",
    "PROXMOX_FINGERPRINT": COLONS,
}
ENTRY = {
    "localai_proxmox_host": "entry.example.org:8443",
    "localai_proxmox_user": "entry@pve",
    "localai_proxmox_token_id": "of-entry",
    "localai_proxmox_token_secret": SECRET,
    "localai_proxmox_fingerprint": PIN,
}


def nodes_of(name: str = "pve1", **values: object) -> Nodes:
    entry = {**ENTRY, **{f"localai_proxmox_{key}": value for key, value in values.items()}}
    variables = {key: Sourced(value, f"hosts.yml:{line}") for line, (key, value) in enumerate(entry.items())}
    return Nodes({name: variables})


def test_an_entry_goes_before_the_environment() -> None:
    assert nodes_of().connection("pve1", ENVIRONMENT) == NodeConnection(
        "pve1", "entry.example.org:8443", ApiToken("entry@pve", "of-entry", SECRET), fingerprint=PIN
    )


def test_without_an_entry_the_environment_says_where_it_is() -> None:
    assert nodes_of().connection("pve2", ENVIRONMENT) == NodeConnection(
        "pve2", "env.example.org", ApiToken("env@pve", "of-env", "env-secret"), fingerprint=PIN
    )


@pytest.mark.parametrize(
    ("left_out", "token"),
    [
        ({"token_secret": ""}, ApiToken("entry@pve", "of-entry", "env-secret")),
        ({"token_id": "", "token_secret": ""}, ApiToken("entry@pve", "of-env", "env-secret")),
        ({"user": "", "token_id": "", "token_secret": ""}, ApiToken("env@pve", "of-env", "env-secret")),
    ],
    ids=["secret", "token", "all"],
)
def test_what_an_entry_leaves_out_of_its_token_is_the_environments(
    left_out: dict[str, str], token: ApiToken
) -> None:
    connection = nodes_of(**left_out).connection("pve1", ENVIRONMENT)
    assert connection.token == token
    assert (connection.host, connection.fingerprint) == ("entry.example.org:8443", PIN)


def test_where_a_node_is_and_how_it_is_trusted_is_never_mixed() -> None:
    """An exported host or pin of another node must not meet the token of this one."""
    with pytest.raises(InputError) as caught:
        nodes_of(host="").connection("pve1", ENVIRONMENT)
    assert caught.value.error_id == "pve-host-missing"
    assert "localai_proxmox_host" in caught.value.hint
    assert nodes_of(fingerprint="").connection("pve1", ENVIRONMENT).fingerprint == ""


def test_a_token_without_a_secret_anywhere() -> None:
    with pytest.raises(InputError) as caught:
        nodes_of(token_secret="").connection("pve1", {})
    assert caught.value.error_id == "pve-token-invalid"


def test_a_node_may_be_called_otherwise_in_its_cluster() -> None:
    assert nodes_of(node="proxmox-a").connection("pve1", {}).node == "proxmox-a"


def test_a_ca_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert nodes_of(ca_file="~/ca.pem").connection("pve1", {}).ca_file == "/home/me/ca.pem"


@pytest.mark.parametrize("written", [PIN, PIN.upper(), COLONS, COLONS.lower()])
def test_forms_of_a_fingerprint(written: str) -> None:
    assert nodes_of(fingerprint=written).connection("pve1", {}).fingerprint == PIN


@pytest.mark.parametrize("written", [PIN[:-2], f"sha256:{PIN}", "AB:CD", f"{PIN} "])
def test_a_fingerprint_that_is_none_names_its_line(written: str) -> None:
    with pytest.raises(InputError) as caught:
        nodes_of(fingerprint=written).connection("pve1", {})
    assert caught.value.error_id == "pve-fingerprint-invalid"
    assert "hosts.yml:4" in caught.value.why
    assert "openssl x509" in caught.value.hint


def test_insecure_by_flag_or_entry() -> None:
    assert not nodes_of().connection("pve1", {}).insecure
    assert nodes_of(insecure=True).connection("pve1", {}).insecure
    assert Nodes(nodes_of().variables, insecure=True).connection("pve1", {}).insecure
    assert not nodes_of(insecure=True).connection("pve2", ENVIRONMENT).insecure
    assert Nodes(insecure=True).connection("pve2", ENVIRONMENT).insecure


def test_settings_say_where_each_value_is_from() -> None:
    nodes = nodes_of(token_secret="")
    settings = nodes.settings("pve1", ENVIRONMENT)
    assert settings["localai_proxmox_host"] == Sourced("entry.example.org:8443", "hosts.yml:0")
    assert settings["localai_proxmox_token_secret"].source == "environment PROXMOX_TOKEN_SECRET"
    assert settings["localai_proxmox_ca_file"] == Sourced("", "default")
    assert settings["localai_proxmox_insecure"] == Sourced(value=False, source="default")
    loud = Nodes(nodes.variables, insecure=True).settings("pve1", {})
    assert loud["localai_proxmox_insecure"] == Sourced(value=True, source="flag --insecure")
    assert nodes_of().settings("pve2", ENVIRONMENT)["localai_proxmox_host"] == Sourced(
        "env.example.org", "environment PROXMOX_HOST"
    )


def test_no_secret_in_what_python_prints() -> None:
    nodes = nodes_of()
    assert SECRET not in repr(nodes) + repr(nodes.connection("pve1", {}))


@pytest.fixture
def running_sandbox(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody whose sandbox runs; its lock is held here."""
    directory = make_private(tmp_path / "runtime")
    connection = NodeConnection(
        "sandbox",
        "127.0.0.1:4711",
        ApiToken("root@pam", "sandbox", "of-the-sandbox"),
        fingerprint=PIN,
        guest_ssh_args=("-o", "ProxyCommand=relay connect %h %p"),
    )
    write_record(directory, SandboxRecord(connection, "bare", os.getpid()))
    (directory / LOCK_NAME).write_text(str(os.getpid()))
    with (directory / LOCK_NAME).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield {"LOCALAI_DEPLOY_SANDBOX_DIR": str(directory)}


def test_the_sandbox_goes_before_the_environment(running_sandbox: dict[str, str]) -> None:
    connection = Nodes().connection("sandbox", {**ENVIRONMENT, **running_sandbox})
    assert (connection.host, connection.token.secret) == ("127.0.0.1:4711", "of-the-sandbox")
    settings = Nodes().settings("sandbox", {**ENVIRONMENT, **running_sandbox})
    assert settings["localai_proxmox_guest_ssh_args"].source == "sandbox"


def test_an_entry_goes_before_the_sandbox(running_sandbox: dict[str, str]) -> None:
    assert nodes_of("sandbox").connection("sandbox", running_sandbox).host == "entry.example.org:8443"


def test_a_sandbox_that_does_not_run(tmp_path: Path) -> None:
    with pytest.raises(LocalaiError) as caught:
        Nodes().connection("sandbox", {**ENVIRONMENT, "LOCALAI_DEPLOY_SANDBOX_DIR": str(tmp_path)})
    assert caught.value.error_id == "sandbox-not-running"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    root = tmp_path / "home"
    (root / "host_vars" / "pve1").mkdir(parents=True)
    (root / "hosts.yml").write_text(
        "proxmox_nodes:\n"
        "  hosts:\n"
        "    pve1:\n"
        "      localai_proxmox_host: 192.0.2.5\n"
        "      localai_proxmox_user: tool@pve\n"
        "      localai_proxmox_token_id: run\n"
        "      localai_proxmox_guest_ssh_args: [-o, ProxyJump=pve1]\n"
    )
    return root


def vault(plain: str, tmp_path: Path, *words: str) -> tuple[str, Path]:
    """``plain`` as ``ansible-vault WORDS`` encrypts it, and the file with the password."""
    password = tmp_path / "vault-password"
    password.write_text("open sesame\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-vault"), *words, "--vault-password-file", password],
        input=plain, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout, password


def test_a_vaulted_file_is_decrypted(
    inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file as `ansible-vault encrypt` makes it, then one value as `encrypt_string` prints it."""
    monkeypatch.delenv("PROXMOX_TOKEN_SECRET", raising=False)
    place = inventory / "host_vars" / "pve1" / "vault.yml"
    text, password = vault(
        f"localai_proxmox_token_secret: {SECRET}\n", tmp_path, "encrypt", "--output", "-", "-"
    )
    assert SECRET not in text
    place.write_text(text)
    connection = load_nodes(inventory, password, insecure=False).connection("pve1", {})
    assert connection.token == ApiToken("tool@pve", "run", SECRET)
    assert connection.guest_ssh_args == ("-o", "ProxyJump=pve1")
    text, password = vault(SECRET, tmp_path, "encrypt_string", "--stdin-name", "localai_proxmox_token_secret")
    assert SECRET not in text
    place.write_text(text)
    assert load_nodes(inventory, password, insecure=False).connection("pve1", {}).token.secret == SECRET
    with pytest.raises(InputError) as caught:
        load_nodes(inventory, None, insecure=False)
    assert caught.value.error_id == "inventory-unreadable"


def test_an_unknown_variable_of_a_node(inventory: Path) -> None:
    (inventory / "host_vars" / "pve1" / "main.yml").write_text("---\n\nlocalai_proxmox_fingerprnt: x\n")
    with pytest.raises(InputError) as caught:
        load_nodes(inventory, insecure=False)
    assert caught.value.error_id == "variable-unknown"
    assert "host_vars/pve1/main.yml:3" in caught.value.what
    assert caught.value.why == "did you mean localai_proxmox_fingerprint?"


def test_a_secret_of_another_kind_is_refused_unseen(inventory: Path) -> None:
    (inventory / "host_vars" / "pve1" / "main.yml").write_text("localai_proxmox_token_secret: 31415926\n")
    with pytest.raises(InputError) as caught:
        load_nodes(inventory, insecure=False).connection("pve1", {})
    assert caught.value.error_id == "setting-invalid"
    assert "host_vars/pve1/main.yml:1" in caught.value.why
    assert "31415926" not in str(caught.value) + caught.value.hint


FLAGGED = Overrides({"localai_node": Sourced("pve1", "flag --node")})


def test_a_node_is_no_host(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by name nor by a pattern; a hypervisor is nothing to install a service on."""
    monkeypatch.setenv("PROXMOX_TOKEN_SECRET", SECRET)
    with pytest.raises(InputError) as caught:
        load_hosts(["pve1"], inventory, Overrides())
    assert caught.value.error_id == "host-is-node"
    (inventory / "more.yml").write_text("all:\n  hosts:\n    nas:\n")
    assert [host.name for host in load_hosts([], inventory, Overrides())] == ["nas"]
    assert [host.name for host in load_hosts(["all"], inventory, Overrides())] == ["nas"]
    with pytest.raises(InputError) as caught:
        load_hosts(["proxmox_nodes"], inventory, Overrides())
    assert caught.value.error_id == "host-missing"


def test_a_vm_made_beside_an_inventory_has_its_group_variables(
    inventory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a VM that is written into the inventory later would be another one."""
    monkeypatch.setenv("PROXMOX_TOKEN_SECRET", SECRET)
    (inventory / "vms.yml").write_text(
        "inference:\n  children:\n    proxmox_vms:\n      hosts: {old: {localai_node: pve1}}\n"
        "  vars:\n    localai_port: 9000\n    localai_cores: 2\n"
    )
    (inventory / "group_vars").mkdir()
    (inventory / "group_vars" / "proxmox_vms.yml").write_text("localai_cores: 6\n")
    found = {host.name: host for host in load_hosts(["new", "old"], inventory, FLAGGED)}
    new, old = found["new"], found["old"]
    assert new.settings["localai_cores"] == Sourced(6, "group_vars/proxmox_vms.yml:1")
    assert new.settings["localai_port"].value == 9000
    assert new.vm is not None and new.vm.node.host == "192.0.2.5" and new.vm.spec.cores == 6
    assert old.settings["localai_node"].source == "flag --node"
    with pytest.raises(InputError) as caught:
        load_hosts(["new"], inventory, Overrides())
    assert caught.value.error_id == "host-not-in-inventory"


@pytest.mark.parametrize("name", ["../../etc", "a b", "-x", "$(id)"])
def test_a_name_of_a_vm_that_no_host_can_have(
    inventory: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXMOX_TOKEN_SECRET", SECRET)
    with pytest.raises(InputError):
        load_hosts([name], inventory, FLAGGED)


def test_a_node_alone_names_no_vm(inventory: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_hosts([], inventory, FLAGGED)
    assert caught.value.error_id == "host-missing"
