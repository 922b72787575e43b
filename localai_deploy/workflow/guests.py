"""Guests as their nodes tell them, by API alone: nothing is logged in to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.facts import VmFacts
from localai_deploy.domain.pve.guest_access import GuestAccess
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.proxmox.node import PveNode, open_node
from localai_deploy.targets.guest import HOST_KEY_FILE
from localai_deploy.workflow.telling import Say
from localai_deploy.workflow.together import Answer


@dataclass(frozen=True, slots=True)
class Guest:
    """One VM of ours.

    :param vm: ``None`` when its node has none of that name.
    :param access: ``None`` when the guest does not tell its address and its key now.
    """

    vm: VmFacts | None
    access: GuestAccess | None = None


def ask_guests(hosts: Sequence[InventoryHost], say: Say = lambda _: None) -> list[Answer[Guest]]:
    """The guests of ``hosts``, which are VMs; each node is asked once for all of its own.

    :param say: hears which look is repeated.
    """
    wishes = [host.vm for host in hosts if host.vm]
    assert len(wishes) == len(hosts), "only VMs have nodes"  # noqa: S101
    views = {connection: _view(connection, say) for connection in dict.fromkeys(one.node for one in wishes)}
    return [_answer(host, wish, *views[wish.node]) for host, wish in zip(hosts, wishes, strict=True)]


_View = tuple[PveNode, Mapping[str, list[VmFacts]] | LocalaiError]


def _view(connection: NodeConnection, say: Say) -> _View:
    node = open_node(connection, on_retry=say)
    found: dict[str, list[VmFacts]] = {}
    try:
        for vm in node.vms.ours():
            found.setdefault(vm.block.name, []).append(vm)
    except LocalaiError as error:
        return node, error
    return node, found


def _answer(
    host: InventoryHost, wish: VmWish, node: PveNode, seen: Mapping[str, list[VmFacts]] | LocalaiError
) -> Answer[Guest]:
    if isinstance(seen, LocalaiError):
        return Answer(host, error=seen)
    try:
        if len(seen.get(wish.spec.name, [])) > 1:
            node.vms.named(wish.spec.name)
        vm = next(iter(seen.get(wish.spec.name, [])), None)
        return Answer(host, Guest(vm, _access(wish, vm, node) if vm else None))
    except LocalaiError as error:
        return Answer(host, error=error)


def _access(wish: VmWish, vm: VmFacts, node: PveNode) -> GuestAccess | None:
    key = _host_key(vm, node) if vm.address else ""
    if not key:
        return None
    return GuestAccess(
        address=vm.address,
        user=wish.for_vm(vm.block).spec.user,
        alias=vm.identity.host_key_alias,
        host_key=key,
        private_key_file=str(Path(wish.private_key_file).absolute()) if wish.private_key_file else "",
        ssh_args=wish.node.guest_ssh_args,
    )


def _host_key(vm: VmFacts, node: PveNode) -> str:
    """Type and key; empty while the guest has none or its agent is silent."""
    try:
        words = node.vms.read_file(vm.vmid, HOST_KEY_FILE).split()
    except LocalaiError as error:
        if error.error_id == "pve-agent-silent":
            return ""
        raise
    return " ".join(words[:2]) if len(words) >= 2 and words[0] == "ssh-ed25519" else ""
