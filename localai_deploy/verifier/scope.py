"""Checks that only some hosts have, and how the checks' process is told which hosts those are."""

from __future__ import annotations

from dataclasses import astuple, dataclass

OPTIONS = {
    "devices": "--localai-host-with-devices",
    "planned_card": "--localai-host-with-card",
    "gateway": "--localai-host-with-gateway",
    "bench": "--localai-host-to-measure",
}
"""A fixture whose checks run on named hosts only → the option that names one; as the fields of Scope."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Hosts that more than the common checks are made on.

    :param devices: something was passed through to them.
    :param planned_card: their plan has an NVIDIA card.
    :param gateway: they are the host of group ``gateway``.
    :param bench: their speed is to be measured.
    """

    devices: tuple[str, ...] = ()
    planned_card: tuple[str, ...] = ()
    gateway: tuple[str, ...] = ()
    bench: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """``--localai-host-with-card=NAME`` and the like."""
        return [
            f"{option}={host}"
            for option, hosts in zip(OPTIONS.values(), astuple(self), strict=True)
            for host in hosts
        ]


COMMON = Scope()
"""Every host has the same checks."""
