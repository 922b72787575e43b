"""Where Debian has what the imitation of Ubuntu's archive is asked for."""

from __future__ import annotations

import pytest

from tests.lab.ubuntu import debian_path


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("/ubuntu/dists/jammy/InRelease", "debian/dists/bookworm/InRelease"),
        ("/ubuntu/dists/noble-updates/InRelease", "debian/dists/trixie-updates/InRelease"),
        ("/ubuntu/dists/noble-security/main/x.xz", "debian-security/dists/trixie-security/main/x.xz"),
        ("/ubuntu/pool/main/p/python/p.deb", "debian/pool/main/p/python/p.deb"),
        ("/ubuntu/pool/updates/main/p/p.deb", "debian-security/pool/updates/main/p/p.deb"),
    ],
)
def test_a_path(asked: str, there: str) -> None:
    assert debian_path(asked) == there
