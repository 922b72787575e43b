"""A plan's look at the node itself: only where a login is given, and never in the way of the rest."""

from __future__ import annotations

from typing import NoReturn

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.domain.plan import Severity
from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.errors import LocalaiError
from localai_deploy.targets import vm_survey

LOGIN = Connection("ssh", "192.0.2.5", user="root")


def wish(login: Connection | None) -> VmWish:
    node = NodeConnection("pve1", "192.0.2.5", ApiToken("u@pve", "t", "s"))
    return VmWish(VmSpec("llm", "pve1"), node, node_login=login)


def test_without_a_login_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_survey, "look_over_ssh", lambda _: pytest.fail("it looked"))
    assert vm_survey._look(wish(None)) == (None, ())


def test_with_a_login_the_node_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = NodeHardware("6.8", ())
    monkeypatch.setattr(vm_survey, "look_over_ssh", {LOGIN: seen}.__getitem__)
    assert vm_survey._look(wish(LOGIN)) == (seen, ())


def test_a_node_that_lets_nobody_in_is_told_and_planned_on_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: Connection) -> NoReturn:
        raise LocalaiError("host-key-unknown", "not known", why="it offers another", hint="compare it")

    monkeypatch.setattr(vm_survey, "look_over_ssh", refuse)
    hardware, (found,) = vm_survey._look(wish(LOGIN))
    assert hardware is None
    assert (found.finding_id, found.severity, found.hint) == (
        "host-key-unknown",
        Severity.WARNING,
        "compare it",
    )
