"""A host that is there and speaks SSH: bare metal, a VM, a WSL distribution."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.errors import LocalaiError
from localai_deploy.targets import host_keys, run_lock
from localai_deploy.targets.observe import observe
from localai_deploy.targets.openssh import OpenSsh
from localai_deploy.targets.standing import StandingHost


class SshHost(StandingHost):
    """See :class:`localai_deploy.targets.base.Target`."""

    def __init__(self, name: str, connection: Connection, become_password: str = "") -> None:
        self.name = name
        self.connection = connection
        self._ssh = OpenSsh(connection, password=become_password)
        self._is_known = False
        self._held: run_lock.Held | None = None

    def connect(self) -> OpenSsh:
        """Look at the host's key before anything else."""
        if not self._is_known:
            host_keys.require_known(self.connection)
            self._log_in()
            self._is_known = True
        return self._ssh

    def _log_in(self) -> None:
        try:
            self._ssh.connect()
        except LocalaiError as error:
            if error.error_id in {"host-key-unknown", "host-key-changed"}:
                raise host_keys.refused_key(self.connection) from error
            raise

    def observe(self) -> HostFacts:
        """One round trip."""
        return observe(self.connect())

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the host itself, so runs from two machines see each other."""
        with run_lock.hold(self.connect(), self.name) as self._held:
            yield

    def require_held(self) -> None:
        """Ask the process that holds the lock."""
        if self._held:
            self._held.require()

    def inventory_variables(self, *, shared: bool = True) -> dict[str, Any]:
        """The same options as ours; ``shared`` also shares our connection while this object is open."""
        connection = self.connection
        variables: dict[str, Any] = {"ansible_host": connection.destination}
        if connection.user:
            variables["ansible_user"] = connection.user
        if connection.port:
            variables["ansible_port"] = connection.port
        if connection.private_key_file:
            variables["ansible_ssh_private_key_file"] = connection.private_key_file
        sharing = self._ssh.sharing_options if shared else []
        words = [*self._ssh.options, *sharing, *connection.ssh_args]
        return variables | {"ansible_ssh_common_args": shlex.join(words)}

    def close(self) -> None:
        """End the shared connection."""
        self._ssh.close()
