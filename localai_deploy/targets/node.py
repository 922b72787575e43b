"""Look at a node itself over SSH: one script, one round trip, as root where that can be had."""

from __future__ import annotations

from pathlib import Path

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.domain.node.hardware_parser import parse_hardware
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Executor
from localai_deploy.targets.ssh_host import SshHost

TIMEOUT_S = 60
_SCRIPT = Path(__file__).with_name("node_hardware.sh")


def look_at_node(executor: Executor) -> NodeHardware:
    """What its kernel tells; without sudo rights less (``is_root`` is false).

    :raises LocalaiError: ``host-*``, ``ssh-*``, ``sudo-password-needed``, ``sudo-password-wrong``.
    """
    script = _SCRIPT.read_bytes()
    try:
        done = executor.run(["sh", "-s"], stdin=script, sudo=True, timeout_s=TIMEOUT_S)
    except LocalaiError as error:
        if error.error_id != "sudo-missing":
            raise
        done = executor.run(["sh", "-s"], stdin=script, timeout_s=TIMEOUT_S)
    return parse_hardware((done.stdout or done.stderr).decode("utf-8", "replace"))


def look_over_ssh(connection: Connection) -> NodeHardware:
    """The same over a connection of its own; the host's key is known before.

    :raises LocalaiError: ``host-*``, ``ssh-*``, ``sudo-*``.
    """
    target = SshHost(connection.destination, connection)
    try:
        return look_at_node(target.connect())
    finally:
        target.close()


def seen_over_ssh(connection: Connection | None) -> tuple[NodeHardware | None, tuple[Finding, ...]]:
    """What a node tells over SSH; one that lets nobody in is a warning, as its API tells the rest.

    :param connection: ``None``: nobody is to look.
    """
    if connection is None:
        return None, ()
    try:
        return look_over_ssh(connection), ()
    except LocalaiError as error:
        return None, (Finding(error.error_id, Severity.WARNING, error.what, error.why, error.hint),)
