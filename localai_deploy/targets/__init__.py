"""Hosts and how they are reached. A new kind of target is one module and one line in ``_TARGETS``."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from localai_deploy.domain.connection import Connection
    from localai_deploy.domain.pve.wish import VmWish
    from localai_deploy.targets.base import Target

_TARGETS = {
    "ssh": "localai_deploy.targets.ssh_host:SshHost",
    "local": "localai_deploy.targets.local_host:LocalHost",
}


def open_vm(
    name: str, wish: VmWish, *, become_password: str = "", on_retry: Callable[[str], None] = lambda _: None
) -> Target:
    """The target of a VM; nothing is asked yet.

    :param on_retry: hears which look at its node is about to be asked again, and why.
    """
    from localai_deploy.proxmox.node import open_node
    from localai_deploy.targets.proxmox_vm import ProxmoxVm

    return ProxmoxVm(name, wish, partial(open_node, on_retry=on_retry), become_password)


def open_target(name: str, connection: Connection, *, become_password: str = "") -> Target:
    """The target of that kind; nothing is connected yet."""
    module, _, attribute = _TARGETS[connection.kind].partition(":")
    return cast("Target", getattr(import_module(module), attribute)(name, connection, become_password))
