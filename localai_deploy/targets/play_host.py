"""A host of a play of Ansible: Ansible itself has the connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.targets.executor import DEFAULT_TIMEOUT_S, Completed
from localai_deploy.targets.observe import observe
from localai_deploy.targets.standing import StandingHost

Runs = Callable[[Sequence[str], bytes], Completed]
"""Runs a command with that stdin, as the user whom the play's ``become`` makes it."""


class PlayExecutor:
    """See :class:`localai_deploy.targets.executor.Executor`; the play says who runs a command."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        sudo: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Completed:
        """Run ``argv`` to its end; Ansible has a timeout of its own."""
        del sudo, timeout_s
        return self._runs(argv, stdin)

    def open(self, argv: Sequence[str]) -> NoReturn:
        """Ansible has no open pipes."""
        raise NotImplementedError(argv)


class PlayHost(StandingHost):
    """See :class:`localai_deploy.targets.base.Target`; it is looked at, and Ansible does the rest."""

    connection = Connection(kind="local")

    def __init__(self, name: str, runs: Runs) -> None:
        self.name = name
        self._executor = PlayExecutor(runs)

    def connect(self) -> PlayExecutor:
        """Ansible is connected."""
        return self._executor

    def observe(self) -> HostFacts:
        """One round trip."""
        return observe(self._executor)

    def hold(self) -> AbstractContextManager[None]:
        """A play holds nothing: whoever runs Ansible by hand sees to it that it runs once."""
        return nullcontext()

    def require_held(self) -> None:
        """Nothing is held."""

    def inventory_variables(self, *, shared: bool = True) -> dict[str, Any]:
        """The inventory has them."""
        del shared
        return {}

    def close(self) -> None:
        """Ansible closes what it opened."""
