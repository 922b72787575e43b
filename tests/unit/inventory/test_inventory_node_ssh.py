"""How a node itself is logged in to: from its entry, or from where its API is."""

from __future__ import annotations

from typing import Any

import pytest

from localai_deploy.domain.settings import Sourced
from localai_deploy.errors import InputError
from localai_deploy.inventory.node_ssh import look_login, node_ssh
from localai_deploy.inventory.nodes import Nodes

FINGERPRINT = f"SHA256:{'A' * 43}"


def nodes(**values: Any) -> Nodes:
    return Nodes({"pve1": {f"localai_proxmox_{key}": Sourced(one, "test") for key, one in values.items()}})


@pytest.mark.parametrize(
    ("api", "host"),
    [
        ("192.0.2.5", "192.0.2.5"),
        ("pve.example.org:8443", "pve.example.org"),
        ("[2001:db8::5]:8006", "2001:db8::5"),
    ],
)
def test_the_host_of_the_api_without_its_port(api: str, host: str) -> None:
    found = node_ssh(nodes(host=api), "pve1", environment={})
    assert (found.connection.destination, found.connection.user, found.connection.port) == (host, "root", 0)
    assert (found.may_look, found.may_prepare) == (False, False)
    assert node_ssh(Nodes(), "pve1", environment={"PROXMOX_HOST": api}).connection.destination == host


def test_an_entry_says_otherwise() -> None:
    found = node_ssh(
        nodes(
            host="192.0.2.5", ssh=True, ssh_prepare=True, ssh_host="pve1.example.org", ssh_user="admin",
            ssh_port=2222, ssh_key="/keys/node", ssh_host_key=FINGERPRINT,
            ssh_args=["-o", "ProxyJump=bastion"],
        ),
        "pve1",
        environment={},
    )  # fmt: skip
    connection = found.connection
    assert connection.display == "admin@pve1.example.org"
    assert (connection.port, connection.private_key_file, connection.host_key) == (
        2222,
        "/keys/node",
        FINGERPRINT,
    )
    assert connection.ssh_args == ("-o", "ProxyJump=bastion")
    assert (found.may_look, found.may_prepare) == (True, True)


@pytest.mark.parametrize(
    ("values", "name", "error_id"),
    [
        ({}, "pve1", "pve-host-missing"),
        ({"host": "192.0.2.5", "ssh_user": "a b"}, "pve1", "setting-invalid"),
        ({"host": "192.0.2.5", "ssh_host": "-oProxyCommand=x"}, "pve1", "host-name-invalid"),
        ({"host": "192.0.2.5", "ssh_host_key": "MD5:0"}, "pve1", "setting-invalid"),
        ({"host": "192.0.2.5", "ssh_args": ["-S", "/tmp/x"]}, "pve1", "setting-invalid"),
        ({}, "sandbox", "node-without-ssh"),
    ],
)
def test_what_cannot_be(values: dict[str, Any], name: str, error_id: str) -> None:
    with pytest.raises(InputError) as caught:
        node_ssh(nodes(**values), name, environment={})
    assert caught.value.error_id == error_id


@pytest.mark.parametrize(("allowed", "host"), [(True, "192.0.2.5"), (False, None)])
def test_plans_look_only_where_the_inventory_allows_it(allowed: bool, host: str | None) -> None:
    found = look_login(nodes(host="192.0.2.5", ssh=allowed), "pve1", {})
    assert (found and found.destination) == host


@pytest.mark.parametrize("name", ["sandbox", "pve2"])
def test_nobody_allowed_it_for_nodes_without_an_entry(name: str) -> None:
    assert look_login(Nodes(), name, {"PROXMOX_HOST": "192.0.2.5"}) is None
