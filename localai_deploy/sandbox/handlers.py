"""The handler of every call in the tables."""

from __future__ import annotations

from localai_deploy.sandbox.api import (
    access,
    agent,
    clones,
    cloudinit,
    mappings,
    nodes,
    pools,
    snapshots,
    storage,
    tasks,
    tokens,
    transfer,
    vm_config,
    vm_create,
    vm_power,
    vm_status,
)
from localai_deploy.sandbox.site import Handler

HANDLERS: dict[str, Handler] = {
    key: handler
    for area in (
        access,
        agent,
        clones,
        cloudinit,
        mappings,
        nodes,
        pools,
        snapshots,
        storage,
        tasks,
        tokens,
        transfer,
        vm_config,
        vm_create,
        vm_power,
        vm_status,
    )
    for key, handler in area.HANDLERS.items()
}
