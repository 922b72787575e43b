"""Group ``gateway`` of an inventory: its host knows all hosts of group ``inference``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from localai_deploy.domain.gateway import gateway_host, gateway_of
from localai_deploy.domain.settings import Sourced, resolve_settings

if TYPE_CHECKING:
    from localai_deploy.inventory.specs import InventoryHost


def with_gateway(
    hosts: Sequence[InventoryHost],
    gateways: Sequence[str],
    replicas: Mapping[str, Mapping[str, Sourced]],
    inventory: str,
) -> list[InventoryHost]:
    """The same hosts, one of them with the gateway that it runs, if it is asked for.

    :param gateways: hosts of group ``gateway``.
    :param replicas: variables of the hosts of group ``inference``, whichever are asked for.
    :raises InputError: ``gateway-several``, ``gateway-not-inference``, ``setting-invalid``.
    """
    if not gateways:
        return list(hosts)
    name = gateway_host(gateways, list(replicas), inventory)
    asked = {host.name: host.settings for host in hosts}
    settings = {
        one: asked[one] if one in asked else resolve_settings([found]) for one, found in replicas.items()
    }
    gateway = gateway_of(settings[name], settings)
    return [replace(host, gateway=gateway) if host.name == name else host for host in hosts]
