"""A target: one host, however it came to be. A Proxmox VM will implement the same."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from localai_deploy.domain.facts import HostFacts
from localai_deploy.targets.executor import Executor


class Target(Protocol):
    """What a deployment needs of a host.

    :param name: the host's inventory name.
    """

    name: str

    def ensure(self) -> None:
        """Bring the host into being; a host that was there before only has to be reachable."""

    def connect(self) -> Executor:
        """Log in; the host's key is known before.

        :raises LocalaiError: ``host-*``, ``ssh-*``.
        """

    def observe(self) -> HostFacts:
        """Look at the host once; nothing is changed.

        :raises LocalaiError: the host cannot be looked at.
        """

    def hold(self) -> AbstractContextManager[None]:
        """Keep other runs away until the context ends, also when this process is killed.

        :raises LocalaiError: ``host-held``.
        """

    def require_held(self) -> None:
        """Go on only if a host that was held still is.

        :raises LocalaiError: ``host-lock-lost``.
        """

    def inventory_variables(self, *, shared: bool = True) -> dict[str, Any]:
        """How Ansible reaches the host, without secrets.

        With ``shared`` it uses this object's connection, which ends with :meth:`close`; without, the
        variables are good for a project that is kept.
        """

    def destroy(self) -> None:
        """Take the host away; one that was there before stays."""

    def close(self) -> None:
        """End connections."""
