"""Finding VMs, their locks and states."""

from __future__ import annotations

import time
from typing import Any

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.site import Call
from localai_deploy.sandbox.state import Config, Vm, digest_of


def load(call: Call, vmid: int | None = None) -> Vm:
    """The VM of the call; raises the 500 for one whose configuration file is missing."""
    vmid = call.values["vmid"] if vmid is None else vmid
    vm = call.cluster.vms.get(vmid)
    if vm is None or vm.node != call.values["node"]:
        raise died(f"Configuration file 'nodes/{call.values['node']}/qemu-server/{vmid}.conf' does not exist")
    return vm


def find(call: Call) -> Vm:
    """The VM of the call, as calls say it that look for the VM first."""
    vm = call.cluster.vms.get(call.values["vmid"])
    if vm is None or vm.node != call.values["node"]:
        raise died(
            f"unable to find configuration file for VM {call.values['vmid']} on node '{call.values['node']}'"
        )
    return vm


def check_lock(vm: Vm) -> None:
    """Raises when another operation has locked the VM."""
    if "lock" in vm.config:
        raise died(f"VM is locked ({vm.config['lock']})")


def is_running(vm: Vm) -> bool:
    """Whether the guest runs or is paused."""
    return vm.body.state() != "stopped"


def need_running(vm: Vm) -> None:
    """Raises the 500 of calls that need a running VM."""
    if not is_running(vm):
        raise died(f"VM {vm.vmid} not running")


def digest(vm: Vm) -> str:
    """The digest of the whole configuration file."""
    return digest_of(
        [vm.config, vm.pending, vm.pending_delete, {n: repr(s) for n, s in vm.snapshots.items()}]
    )


def check_digest(call: Call, vm: Vm) -> None:
    """Raises when the caller's digest is not the configuration's."""
    given = call.values.get("digest")
    if given is not None and given != digest(vm):
        word = "missmatch" if call.major < 8 else "mismatch"
        raise died(f"checksum {word} (file change by other user?)")


def shown(config: Config) -> dict[str, Any]:
    """A configuration as it reads back: empty texts as one blank, no password."""
    visible = {key: " " if value == "" else value for key, value in config.items()}
    if visible.get("description") == " ":
        del visible["description"]
    return visible | ({"cipassword": "**********"} if "cipassword" in visible else {})


def uptime(vm: Vm) -> int:
    """Seconds since the start; 0 when switched off."""
    return int(time.time() - vm.started_at) if is_running(vm) else 0


def join_pool(call: Call, vmid: int) -> None:
    """Put a new VM into the pool that the call names: the last thing that its task does."""
    if "pool" in call.values:
        with call.cluster.lock:
            call.cluster.pools[call.values["pool"]].vms.add(vmid)


def forget(call: Call, vmid: int) -> None:
    """Remove a VM from the cluster, its pool and its access rules."""
    with call.cluster.lock:
        call.cluster.vms.pop(vmid, None)
        for pool in call.cluster.pools.values():
            pool.vms.discard(vmid)
        call.cluster.acl = [entry for entry in call.cluster.acl if entry.path != f"/vms/{vmid}"]
