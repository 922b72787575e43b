"""A real SSH server and a configuration of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localai_deploy.targets import open_target
from localai_deploy.targets.ssh_host import SshHost
from tests.integration.ssh_server import SshServer, connection_to, start_server


@pytest.fixture
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """known_hosts of this test only, in a directory whose name needs quotes; no agent."""
    directory = tmp_path / "my config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(directory))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return directory


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    server = start_server(tmp_path / "server")
    yield server
    server.stop()


@pytest.fixture
def target(server: SshServer, own_configuration: Path) -> Iterator[SshHost]:
    target = open_target("box", connection_to(server))
    assert isinstance(target, SshHost)
    yield target
    target.close()
