"""Making VMs and taking them away."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

from localai_deploy.sandbox.answers import ApiError, died, forbidden
from localai_deploy.sandbox.api.vm_start import start_vm
from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Config, Vm
from localai_deploy.sandbox.tables.vm_options import VM_OPTIONS
from localai_deploy.sandbox.tasks import Task, TaskFailed
from localai_deploy.sandbox.verification import find_param
from localai_deploy.sandbox.vm_disks import DiskWork
from localai_deploy.sandbox.vm_rights import VmRights, check_hookscript, check_skiplock
from localai_deploy.sandbox.vm_values import (
    check_ssh_keys,
    default_boot_order,
    is_drive,
    parse,
    print_boot_order,
    print_net,
    shown_tags,
)
from localai_deploy.sandbox.vms import check_lock, forget, is_running, join_pool, load
from localai_deploy.sandbox.volumes import remove_volume


def options_of(call: Call) -> Config:
    """The options of the VM's configuration among the values of a call."""
    return {
        key: value
        for key, value in call.values.items()
        if key not in {"vmid", "node"} and find_param(VM_OPTIONS, key) is not None
    }


def normalized(call: Call, options: Config) -> Config:
    """Options as the server stores them: MAC addresses given, tags ordered, texts kept."""
    release, stored = call.cluster.release, dict(options)
    for name, value in options.items():
        if re.fullmatch(r"net\d+", name):
            stored[name] = print_net(parse(name, value, release))
    if "tags" in stored:
        stored["tags"] = shown_tags(stored["tags"], release)
    if "sshkeys" in stored:
        check_ssh_keys(stored["sshkeys"])
    return stored


def create(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu."""
    vmid, pool = call.values["vmid"], call.values.get("pool")
    options = options_of(call)
    check_hookscript(call.site, options)
    if pool is not None and pool not in call.cluster.pools:
        raise died(f"pool '{pool}' does not exist")
    storage = call.values.get("storage")
    if storage is not None:
        call.permissions.need(call.who, f"/storage/{storage}", "Datastore.AllocateSpace")
    _need_allocate(call, vmid, pool)
    rights = VmRights(call.site, call.who, vmid, pool, creating=True)
    rights.check_romfile(options)
    rights.check_storage(options, storage)
    rights.check_options(list(options))
    for name, value in options.items():
        rights.check_value(name, str(value))
    config = normalized(call, options)
    vm = _claim(call, vmid)
    return call.task("qmcreate", vmid, lambda task: _build(call, vm, config, task))


def _need_allocate(call: Call, vmid: int, pool: str | None) -> None:
    paths = [f"/vms/{vmid}", *([f"/pool/{pool}"] if pool else [])]
    if not any(call.permissions.has_any(call.who, path, ("VM.Allocate",)) for path in paths):
        raise forbidden()


def _claim(call: Call, vmid: int) -> Vm:
    vm = Vm(vmid, call.values["node"], {"lock": "create"}, call.site.make_body(vmid), created_at=time.time())
    if call.site.faults.hit(f"create {vmid}", "id-race"):
        rival = Vm(
            vmid, call.values["node"], {"name": "rival", "memory": "512"}, BareBody(), created_at=time.time()
        )
        call.cluster.vms.setdefault(vmid, rival)
    with call.cluster.lock:
        other = call.cluster.vms.setdefault(vmid, vm)
    if other is not vm:
        with other.lock:
            raise died(f"unable to create VM {vmid} - VM {vmid} already exists on node '{other.node}'")
    return vm


def _build(call: Call, vm: Vm, config: Config, task: Task) -> None:
    with vm.lock:
        disks = DiskWork(call.site, task, vm.node, vm.vmid)
        try:
            drives = disks.create_all(config, call.values.get("storage"))
            VmRights(call.site, call.who, vm.vmid).check_new_tags(config)
        except (ApiError, TaskFailed) as error:
            disks.take_back()
            forget(call, vm.vmid)
            raise TaskFailed(f"unable to create VM {vm.vmid} - {error}") from error
        vm.config = with_defaults(call, config | drives)
        join_pool(call, vm.vmid)
    if call.values.get("start"):
        _start_after(call, vm, task)


def with_defaults(call: Call, config: Config) -> Config:
    """A new VM's configuration with what the server adds: boot order, UUIDs, origin."""
    release = call.cluster.release
    full = dict(config)
    full.setdefault("boot", print_boot_order(default_boot_order(config, release)))
    if "uuid=" not in str(full.get("smbios1", "")):
        full["smbios1"] = ",".join(filter(None, [full.get("smbios1"), f"uuid={uuid.uuid4()}"]))
    if full.get("vmgenid", "1") == "1":
        full["vmgenid"] = str(uuid.uuid4())
    full.setdefault("meta", f"creation-qemu=9.2.0,ctime={int(time.time())}")
    return full


def _start_after(call: Call, vm: Vm, task: Task) -> None:
    task.say("Execute autostart")
    try:
        start_vm(call, vm, task)
    except (ApiError, TaskFailed) as error:
        task.say(str(error))


def destroy(call: Call) -> str:
    """Answer DELETE /nodes/{node}/qemu/{vmid}."""
    check_skiplock(call.who, call.values)
    vm = load(call)
    if vm.config.get("protection"):
        raise died(f"can't remove VM {vm.vmid} - protection mode enabled")
    if is_running(vm):
        raise died(f"VM {vm.vmid} is running - destroy failed")
    return call.task("qmdestroy", vm.vmid, lambda task: _remove(call, task))


def _remove(call: Call, task: Task) -> None:
    vm = load(call)
    with vm.lock:
        if not call.values.get("skiplock"):
            check_lock(vm)
        if is_running(vm):
            raise TaskFailed(f"VM {vm.vmid} is running - destroy failed")
        volumes = list(call.cluster.volumes_of(vm.vmid))
        for volume in volumes:
            _check_unshared(call, volume.volid)
        for volume in volumes:
            if _is_referenced(vm, volume.volid) or call.values.get("destroy-unreferenced-disks"):
                remove_volume(call.site, volume.volid)
        if call.values.get("purge"):
            task.say(f"purging VM {vm.vmid} from related configurations..")
        forget(call, vm.vmid)


def _is_referenced(vm: Vm, volid: str) -> bool:
    configs: list[dict[str, Any]] = [vm.config, vm.pending, *(s.config for s in vm.snapshots.values())]
    return any(
        str(value).split(",")[0] == volid
        for config in configs
        for key, value in config.items()
        if is_drive(key) or key.startswith("unused")
    )


def _check_unshared(call: Call, volid: str) -> None:
    name = volid.partition(":")[2]
    clones = [v for v in call.cluster.volumes if v != volid and v.partition(":")[2].startswith(f"{name}/")]
    if clones:
        raise TaskFailed(f"base volume '{volid}' is still in use by linked cloned")


HANDLERS: dict[str, Handler] = {
    "POST /nodes/{node}/qemu": create,
    "DELETE /nodes/{node}/qemu/{vmid}": destroy,
}
