"""A target: one host, however it came to be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.pve.sizing import VmSize
from localai_deploy.targets.executor import Executor

Tell = Callable[[str, int], None]
"""Hears what is at work, and how many looks a wait has taken (0: it is no wait)."""


class Target(Protocol):
    """What a deployment needs of a host.

    :param name: the host's inventory name.
    """

    name: str

    @property
    def connection(self) -> Connection:
        """How the host is reached; of a VM it is known once :meth:`connect` has found it."""

    @property
    def left_over(self) -> list[str]:
        """What could not be taken away and now needs a person, one sentence each."""

    def survey(self, least: VmSize | None = None) -> VmPlan | None:
        """What has to be done before the host can be looked at; ``None`` for one that is there anyway.

        :param least: memory and disk of a VM where nobody set them, from now on.
        :raises LocalaiError: its node cannot be looked at (``pve-*``, ``tls-*``).
        """

    def provision(self, kind: StepKind, plan: VmPlan, tell: Tell) -> None:
        """Carry out one step that brings the host into being; it looks first, so it may be run again.

        :raises LocalaiError: ``pve-*``, ``vm-*``, ``guest-*``.
        """

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
        """Take away a host that was brought into being by :meth:`provision`.

        :raises LocalaiError: ``vm-missing``, ``vm-not-ours``, ``pve-*``.
        """

    def close(self) -> None:
        """End connections."""
