"""A host that is there and speaks SSH: bare metal, a VM, a WSL distribution."""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.targets import run_lock
from localai_deploy.targets.host_keys import require_known
from localai_deploy.targets.observe import observe
from localai_deploy.targets.openssh import OpenSsh


class SshHost:
    """See :class:`localai_deploy.targets.base.Target`."""

    def __init__(self, name: str, connection: Connection, become_password: str = "") -> None:
        self.name = name
        self._connection = connection
        self._ssh = OpenSsh(connection, password=become_password)
        self._key_is_known = False

    def ensure(self) -> None:
        """Being reachable is all that is asked of it."""
        self.connect()

    def connect(self) -> OpenSsh:
        """The host's key is looked at before anything else."""
        if not self._key_is_known:
            require_known(self._connection)
            self._key_is_known = True
        return self._ssh

    def observe(self) -> HostFacts:
        """One round trip."""
        return observe(self.connect())

    def hold(self) -> AbstractContextManager[None]:
        """The lock lies on the host, so runs from two machines see each other."""
        return run_lock.hold(self.connect(), self.name)

    def inventory_variables(self) -> dict[str, Any]:
        """The same options as ours, so Ansible shares our connection and our known_hosts."""
        connection = self._connection
        variables: dict[str, Any] = {"ansible_host": connection.destination}
        if connection.user:
            variables["ansible_user"] = connection.user
        if connection.port:
            variables["ansible_port"] = connection.port
        if connection.private_key_file:
            variables["ansible_ssh_private_key_file"] = connection.private_key_file
        words = [*self._ssh.options, *connection.ssh_args]
        return variables | {"ansible_ssh_common_args": shlex.join(words)}

    def destroy(self) -> None:
        """It was there before us, so it stays."""

    def close(self) -> None:
        """End the shared connection."""
        self._ssh.close()
