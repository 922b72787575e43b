"""A plan's look at the node itself: only where a login is given, and never in the way of the rest."""

from __future__ import annotations

from typing import NoReturn

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.domain.plan import Severity
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.node import seen_over_ssh

LOGIN = Connection("ssh", "192.0.2.5", user="root")


def test_without_a_login_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localai_deploy.targets.node.look_over_ssh", lambda _: pytest.fail("it looked"))
    assert seen_over_ssh(None) == (None, ())


def test_with_a_login_the_node_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = NodeHardware("6.8", ())
    monkeypatch.setattr("localai_deploy.targets.node.look_over_ssh", {LOGIN: seen}.__getitem__)
    assert seen_over_ssh(LOGIN) == (seen, ())


def test_a_node_that_lets_nobody_in_is_told_and_planned_on_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Connection) -> NoReturn:
        raise LocalaiError("host-key-unknown", "not known", why="it offers another", hint="compare it")

    monkeypatch.setattr("localai_deploy.targets.node.look_over_ssh", refuse)
    hardware, (found,) = seen_over_ssh(LOGIN)
    assert hardware is None
    assert (found.finding_id, found.severity, found.hint) == (
        "host-key-unknown",
        Severity.WARNING,
        "compare it",
    )
