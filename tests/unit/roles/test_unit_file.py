"""The unit of role service: whom it lets through, and as whom it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).parents[3] / "playbooks/roles/service"


def unit(**variables: Any) -> list[str]:
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    values = defaults | {"service_command": ["/bin/server"]} | variables
    local = values["service_bind"].startswith("127.") or values["service_bind"] == "::1"
    template = environment.get_template("unit.service.j2")
    internal = {"__service_is_local": local, "__service_has_nodes": False}
    return template.render(values | internal).splitlines()


@pytest.mark.parametrize(
    ("bind", "peers", "allowed"),
    [
        ("127.0.0.1", [], ["IPAddressAllow=localhost"]),
        ("192.0.2.7", [], []),
        ("192.0.2.7", ["192.0.2.10"], ["IPAddressAllow=localhost 192.0.2.7 192.0.2.10"]),
        ("127.0.0.1", ["192.0.2.11", "fd00::/64"], ["IPAddressAllow=localhost 192.0.2.11 fd00::/64"]),
    ],
)
def test_who_is_let_through(bind: str, peers: list[str], allowed: list[str]) -> None:
    """A server that listens on the network is asked by its own host from that address."""
    lines = unit(service_bind=bind, service_peers=peers)
    assert [line for line in lines if line.startswith("IPAddressAllow=")] == allowed
    assert ("IPAddressDeny=any" in lines) is bool(allowed)


def test_a_user_that_lives_as_long_as_the_service() -> None:
    assert "DynamicUser=yes" in unit(service_user="")
    lines = unit()
    assert "User=localai" in lines
    assert "DynamicUser=yes" not in lines


def test_more_credentials() -> None:
    lines = unit(service_credentials={"replica-keys": "/etc/keys.json"})
    assert [line for line in lines if line.startswith("LoadCredential=")] == [
        "LoadCredential=api-key:/etc/localai-deploy/api-key",
        "LoadCredential=replica-keys:/etc/keys.json",
    ]
