"""The machine that runs the command, without SSH."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.targets import run_lock
from localai_deploy.targets.executor import Local
from localai_deploy.targets.observe import observe
from localai_deploy.targets.standing import StandingHost


class LocalHost(StandingHost):
    """See :class:`localai_deploy.targets.base.Target`."""

    def __init__(self, name: str, connection: Connection, become_password: str = "") -> None:
        self.name = name
        self.connection = connection
        self._local = Local(password=become_password)
        self._held: run_lock.Held | None = None

    def connect(self) -> Local:
        """Nothing to connect to."""
        return self._local

    def observe(self) -> HostFacts:
        """One process."""
        return observe(self._local)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """The same lock as over SSH."""
        with run_lock.hold(self._local, self.name) as self._held:
            yield

    def require_held(self) -> None:
        """Ask the process that holds the lock."""
        if self._held:
            self._held.require()

    def inventory_variables(self, *, shared: bool = True) -> dict[str, Any]:
        """Ansible's local connection, with the system's Python rather than ours."""
        del shared
        return {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}

    def close(self) -> None:
        """Nothing is open."""
