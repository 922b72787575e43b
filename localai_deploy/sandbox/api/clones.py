"""Templates and clones."""

from __future__ import annotations

import time
import uuid

from localai_deploy.sandbox.answers import ApiError, died
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Config, Vm, Volume
from localai_deploy.sandbox.tasks import Task, TaskFailed
from localai_deploy.sandbox.vm_disks import DiskWork
from localai_deploy.sandbox.vm_values import is_cdrom, is_cloudinit, is_drive, parse, print_drive, print_net
from localai_deploy.sandbox.vms import check_lock, find, forget, is_running, join_pool, load
from localai_deploy.sandbox.volumes import storage_config


def to_template(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/template."""
    vm = load(call)
    if vm.config.get("template"):
        raise died("you can't convert a template to a template")
    if is_running(vm):
        raise died("you can't convert a VM to template if VM is running")
    if vm.snapshots:
        raise died("unable to create template, because VM contains snapshots")

    def work(task: Task) -> None:  # noqa: ARG001
        with vm.lock:
            check_lock(vm)
            for name in [n for n in vm.config if is_drive(n)]:
                vm.config[name] = _as_base(call, vm, vm.config[name])
            vm.config["template"] = 1

    return call.task("qmtemplate", vm.vmid, work)


def _as_base(call: Call, vm: Vm, value: str) -> str:
    volid, _, rest = value.partition(",")
    drive = parse("scsi0", volid, call.cluster.release)
    volume = call.cluster.volumes.get(volid)
    if volume is None or is_cloudinit(drive):
        return value
    base = volid.replace(f"vm-{vm.vmid}-", f"base-{vm.vmid}-")
    with call.cluster.lock:
        del call.cluster.volumes[volid]
        volume.volid = base
        call.cluster.volumes[base] = volume
    return f"{base},{rest}" if rest else base


def clone(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/clone."""
    source, newid = find(call), call.values["newid"]
    is_full = call.values.get("full", int(not source.config.get("template")))
    _check_clone(call, source, full=bool(is_full))
    vm = Vm(
        newid,
        call.values.get("target", source.node),
        {"lock": "clone"},
        call.site.make_body(newid),
        created_at=time.time(),
    )
    with call.cluster.lock:
        if call.cluster.vms.setdefault(newid, vm) is not vm:
            raise died(f"unable to create VM {newid}: config file already exists")
    return call.task("qmclone", source.vmid, lambda task: _copy(call, source, vm, task, full=bool(is_full)))


def _check_clone(call: Call, source: Vm, *, full: bool) -> None:
    pool, storage = call.values.get("pool"), call.values.get("storage")
    if pool is not None and pool not in call.cluster.pools:
        raise died(f"pool '{pool}' does not exist")
    if not full and storage is not None:
        raise died("parameter 'storage' not allowed for linked clones")
    if not full and "format" in call.values:
        raise died("parameter 'format' not allowed for linked clones")
    if not full and not source.config.get("template"):
        raise died("Linked clone feature is not supported for a VM that is no template")
    for name, value in ((n, v) for n, v in source.config.items() if is_drive(n)):
        drive = parse(name, value, call.cluster.release)
        if drive["file"] in call.cluster.volumes and not is_cdrom(drive):
            store = storage or drive["file"].partition(":")[0]
            storage_config(call.site, store)
            call.permissions.need(call.who, f"/storage/{store}", "Datastore.AllocateSpace")


def _copy(call: Call, source: Vm, vm: Vm, task: Task, *, full: bool) -> None:
    with source.lock, vm.lock:
        check_lock(source)
        if call.major > 8:
            task.say(f"creating a clone of VM {source.vmid} with ID {vm.vmid}")
        disks = DiskWork(call.site, task, vm.node, vm.vmid)
        try:
            drives = {
                name: _copy_drive(call, disks, name, value, full=full)
                for name, value in sorted(source.config.items())
                if is_drive(name)
            }
        except (ApiError, TaskFailed) as error:
            disks.take_back()
            forget(call, vm.vmid)
            raise TaskFailed(f"clone failed: {error}") from error
        vm.config = _new_config(call, source) | drives
        join_pool(call, vm.vmid)


def _copy_drive(call: Call, disks: DiskWork, name: str, value: str, *, full: bool) -> str:
    drive = parse(name, value, call.cluster.release)
    volume = call.cluster.volumes.get(drive["file"])
    if volume is None or (is_cdrom(drive) and not is_cloudinit(drive)):
        return value
    store = call.cluster.storages[call.values.get("storage", volume.store)]
    if is_cloudinit(drive):
        made = disks.allocate(store, "cloudinit", volume.format, volume.size)
    elif full:
        said = f"create full clone of drive {name} ({volume.volid})"
        made = disks.copy(volume.volid, store, call.values.get("format", volume.format), said)
    else:
        made = _link(disks, name, volume)
    return print_drive({**drive, "file": made.volid})


def _link(disks: DiskWork, name: str, base: Volume) -> Volume:
    path = base.volid.partition(":")[2]
    disks.task.say(f"create linked clone of drive {name} ({base.volid})")
    store = disks.site.cluster.storages[base.store]
    position = len(disks.task.log)
    made = disks.allocate(store, None, "qcow2", base.size, backing=base)
    file = made.volid.rpartition("/")[2]
    disks.task.log.insert(position, f"clone {path}: images, {file}, {disks.vmid} to {file} (base=../{path})")
    return made


def _new_config(call: Call, source: Vm) -> Config:
    release = call.cluster.release
    config: Config = {}
    for name, value in source.config.items():
        if name in {"template", "lock", "parent"} or name.startswith("unused") or is_drive(name):
            continue
        config[name] = value
        if name.startswith("net") and name[3:].isdigit():
            net = parse(name, value, release)
            net.pop("macaddr", None)
            config[name] = print_net(net)
    keys = [
        part for part in str(config.get("smbios1", "")).split(",") if part and not part.startswith("uuid=")
    ]
    config["smbios1"] = ",".join([f"uuid={uuid.uuid4()}", *keys])
    config["vmgenid"] = str(uuid.uuid4())
    config["name"] = call.values.get("name", f"Copy-of-VM-{source.config.get('name', source.vmid)}")
    return config | ({"description": call.values["description"]} if "description" in call.values else {})


HANDLERS: dict[str, Handler] = {
    "POST /nodes/{node}/qemu/{vmid}/template": to_template,
    "POST /nodes/{node}/qemu/{vmid}/clone": clone,
}
