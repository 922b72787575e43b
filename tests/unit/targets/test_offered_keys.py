"""A host's key is asked for again where ssh lost it, and only there."""

from __future__ import annotations

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import LocalaiError
from localai_deploy.targets import host_keys
from localai_deploy.targets.host_keys import ATTEMPTS, HostKey, fetch_key

KEY = HostKey("192.0.2.1", "ssh-ed25519", "AAAA")
UNKNOWN = "No ED25519 host key is known for 192.0.2.1 and you have requested strict checking.\r\n"
FAILED = "Host key verification failed.\r\n"


def answering(monkeypatch: pytest.MonkeyPatch, *answers: tuple[tuple[HostKey, ...], str]) -> list[str]:
    """ssh answers so, one after the other, the last one for good; what was asked is noted."""
    asked: list[str] = []

    def ask(connection: Connection, more: object) -> tuple[tuple[HostKey, ...], str]:
        asked.append(connection.destination)
        return answers[min(len(asked), len(answers)) - 1]

    monkeypatch.setattr(host_keys, "_ask", ask)
    monkeypatch.setattr(host_keys, "_PAUSE_S", 0.0)
    return asked


@pytest.mark.parametrize("lost", [FAILED, UNKNOWN + FAILED, "KnownHostsCommand failed\r\n" + FAILED])
def test_a_key_that_ssh_lost(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, ((), lost), ((), lost), ((KEY,), UNKNOWN + FAILED))
    assert fetch_key(Connection("ssh", "192.0.2.1")) == KEY
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("said", "times", "error_id"),
    [
        (UNKNOWN + FAILED, ATTEMPTS, "host-key-unknown"),
        ("ssh: connect to host 192.0.2.1 port 22: No route to host\r\n", 1, "host-unreachable"),
        (FAILED + "kex_exchange_identification: Connection closed by host\r\n", 1, "jump-host-key-unknown"),
    ],
)
def test_a_key_that_is_not_told(
    said: str, times: int, error_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, ((), said))
    with pytest.raises(LocalaiError) as caught:
        fetch_key(Connection("ssh", "192.0.2.1"))
    assert (caught.value.error_id, len(asked)) == (error_id, times)
