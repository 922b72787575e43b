"""First boot: where apt fetches from."""

from __future__ import annotations

from typing import Any

import pytest

from localai_deploy.domain.pve.seed import Seed


def user_data(apt_mirror: str) -> dict[str, Any]:
    seed = Seed("uuid", "ai1", "admin", "BC:24:11:00:00:01", ("ssh-ed25519 AAAA me",), apt_mirror=apt_mirror)
    return dict(seed.documents()["user-data"])


def archive(uri: str) -> list[dict[str, Any]]:
    return [{"arches": ["default"], "uri": uri}]


@pytest.mark.parametrize(
    ("mirror", "security"),
    [
        ("http://192.0.2.1/debian", "http://192.0.2.1/debian-security"),
        ("http://192.0.2.1/ubuntu", "http://192.0.2.1/ubuntu"),
    ],
)
def test_apt_fetches_from_the_mirror(mirror: str, security: str) -> None:
    assert user_data(mirror)["apt"] == {
        "preserve_sources_list": False,
        "primary": archive(mirror),
        "security": archive(security),
    }


def test_without_a_mirror_the_system_keeps_its_own() -> None:
    assert "apt" not in user_data("")
