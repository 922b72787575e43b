"""Reading and changing a VM's configuration."""

from __future__ import annotations

from typing import Any

from localai_deploy.sandbox.answers import bad_parameters, died
from localai_deploy.sandbox.api.access import split_list
from localai_deploy.sandbox.api.vm_create import normalized, options_of
from localai_deploy.sandbox.pending import apply_pending, clean_pending, hotplug
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Vm
from localai_deploy.sandbox.tasks import Task, TaskFailed
from localai_deploy.sandbox.verification import Value
from localai_deploy.sandbox.vm_disks import DiskWork, grow_disk
from localai_deploy.sandbox.vm_rights import VmRights, check_hookscript, check_skiplock
from localai_deploy.sandbox.vm_values import (
    boot_order,
    is_cdrom,
    is_drive,
    option_exists,
    parse,
    print_boot_order,
)
from localai_deploy.sandbox.vms import check_digest, check_lock, digest, is_running, load, shown
from localai_deploy.sandbox.volumes import format_size, parse_size, remove_volume, storage_config


def get_config(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/qemu/{vmid}/config."""
    vm = load(call)
    if "snapshot" in call.values:
        snapshot = vm.snapshots.get(call.values["snapshot"])
        if snapshot is None:
            raise died(f"snapshot '{call.values['snapshot']}' does not exist")
        return shown(snapshot.config) | {"digest": digest(vm)}
    config = dict(vm.config)
    if not call.values.get("current"):
        config = {k: v for k, v in config.items() if k not in vm.pending_delete} | vm.pending
    return shown(config) | {"digest": digest(vm)}


def get_pending(call: Call) -> list[dict[str, Any]]:
    """Answer GET /nodes/{node}/qemu/{vmid}/pending."""
    vm = load(call)
    found: list[dict[str, Any]] = []
    values, pending = shown(vm.config), shown(vm.pending)
    for key in sorted({*values, *pending}):
        entry: dict[str, Any] = {"key": key}
        if key in values:
            entry["value"] = values[key]
        if key in pending:
            entry["pending"] = pending[key]
        if key in vm.pending_delete:
            entry["delete"] = 1
        found.append(entry)
    return [*found, {"key": "digest", "value": digest(vm)}]


def _prepare(call: Call) -> tuple[dict[str, Any], list[str], list[str]]:
    options = options_of(call)
    removed, reverted = split_list(call.values.get("delete")), split_list(call.values.get("revert"))
    check_skiplock(call.who, call.values)
    if not options and not removed and not reverted:
        raise died("no options specified")
    check_hookscript(call.site, options)
    for name in removed:
        if name in options:
            raise bad_parameters({"delete": f"you can't use '-{name}' and -delete {name}' at the same time"})
        if not option_exists(name):
            raise bad_parameters({"delete": f"unknown option '{name}'"})
    for name in reverted:
        if not option_exists(name):
            raise bad_parameters({"revert": f"unknown option '{name}'"})
    rights = VmRights(call.site, call.who, call.values["vmid"])
    rights.check_romfile(options)
    rights.check_options([*removed, *reverted, *options])
    rights.check_storage(options)
    return normalized(call, options), removed, reverted


def _guarded(call: Call, vm: Vm) -> None:
    check_digest(call, vm)
    if not call.values.get("skiplock"):
        check_lock(vm)


def update(call: Call) -> None:
    """Answer PUT /nodes/{node}/qemu/{vmid}/config."""
    options, removed, reverted = _prepare(call)
    vm = load(call)
    with vm.lock:
        _guarded(call, vm)
        scratch = Task("", vm.node, "", "", call.who.name, 0, 0, 0)
        try:
            _write(call, vm, scratch, options, removed, reverted)
        except TaskFailed as error:
            raise died(str(error)) from error


def update_in_task(call: Call) -> str | None:
    """Answer POST /nodes/{node}/qemu/{vmid}/config."""
    options, removed, reverted = _prepare(call)
    vm = load(call)
    _guarded(call, vm)
    said = [f"-{name} {value}" for name, value in options.items()]
    said += [f"-delete {','.join(removed)}"] if removed else []

    def work(task: Task) -> None:
        with vm.lock:
            task.say(f"update VM {vm.vmid}: {' '.join(said)}")
            _write(call, vm, task, options, removed, reverted)

    upid = call.task("qmconfig", vm.vmid, work)
    delay = call.values.get("background_delay")
    started = call.site.tasks.get(upid)
    done = bool(delay and started and started.ended.wait(delay) and started.exitstatus == "OK")
    return None if done else upid


def _write(
    call: Call, vm: Vm, task: Task, options: dict[str, Any], removed: list[str], reverted: list[str]
) -> None:
    rights = VmRights(call.site, call.who, vm.vmid)
    _check_balloon(call, vm, options)
    for name in reverted:
        vm.pending.pop(name, None)
        vm.pending_delete = [other for other in vm.pending_delete if other != name]
    for name in removed:
        _mark_removed(call, vm, rights, name, task)
    for name, value in options.items():
        _mark_changed(call, vm, rights, name, value, task)
    clean_pending(vm)
    if is_running(vm):
        hotplug(call.site, vm)
    else:
        apply_pending(call.site, vm)


def _check_balloon(call: Call, vm: Vm, options: dict[str, Any]) -> None:
    if "memory" not in options and "balloon" not in options:
        return
    wanted = vm.config | vm.pending | options
    memory = parse("memory", str(wanted.get("memory", 512)), call.cluster.release)["current"]
    if wanted.get("balloon", 0) > memory:
        raise died("balloon value too large (must be smaller than assigned memory)")


def _mark_removed(call: Call, vm: Vm, rights: VmRights, name: str, task: Task) -> None:
    value = vm.config.get(name, vm.pending.get(name))
    if value is None:
        task.say(f"cannot delete '{name}' - not set in current configuration!")
        return
    was_pending = vm.pending.pop(name, None) is not None
    if is_drive(name):
        _check_protection(vm, f"can't remove drive '{name}'")
        rights.check_slot(name, value)
    elif name.startswith("unused"):
        _check_protection(vm, f"can't remove unused disk '{value}'")
        rights.site.permissions.need(call.who, f"/vms/{vm.vmid}", "VM.Config.Disk")
        remove_volume(call.site, value)
    else:
        rights.check_value(name, str(value))
    order = boot_order(vm.config | vm.pending, call.cluster.release)
    if name in order and not was_pending:
        vm.pending["boot"] = print_boot_order([device for device in order if device != name])
    if name in vm.config:
        vm.pending_delete.append(name)


def _check_protection(vm: Vm, text: str) -> None:
    if vm.config.get("protection"):
        raise died(f"{text} - protection mode enabled")


def _mark_changed(call: Call, vm: Vm, rights: VmRights, name: str, value: Value, task: Task) -> None:
    release = call.cluster.release
    if is_drive(name):
        if name in vm.config:
            rights.check_slot(name, vm.config[name])
        rights.check_slot(name, value)
        disks = DiskWork(call.site, task, vm.node, vm.vmid)
        value = disks.create(name, parse(name, value, release), None)
        order = boot_order(vm.config | vm.pending, release)
        if order and name not in order and is_cdrom(parse(name, value, release)):
            vm.pending["boot"] = print_boot_order([*order, name])
    else:
        if name in vm.config and name.startswith(("hostpci", "net", "usb")):
            rights.check_value(name, str(vm.config[name]))
        rights.check_value(name, str(value))
    vm.pending[name] = value
    vm.pending_delete = [other for other in vm.pending_delete if other != name]


def resize(call: Call) -> str | None:
    """Answer PUT /nodes/{node}/qemu/{vmid}/resize."""
    check_skiplock(call.who, call.values)

    def work(task: Task) -> None:
        vm = load(call)
        with vm.lock:
            _guarded(call, vm)
            _resize(call, vm, task)

    upid = call.task("resize", call.values["vmid"], work)
    if call.major > 7:
        return upid
    task = call.site.tasks.all[upid]
    task.ended.wait(60)
    if task.exitstatus != "OK":
        raise died(str(task.exitstatus))
    return None


def _resize(call: Call, vm: Vm, task: Task) -> None:
    name = call.values["disk"]
    if name not in vm.config:
        raise TaskFailed(f"disk '{name}' does not exist")
    drive = parse(name, vm.config[name], call.cluster.release)
    if is_cdrom(drive):
        raise TaskFailed("you can't resize a cdrom")
    volume = call.cluster.volumes[drive["file"]]
    storage_config(call.site, volume.store)
    given = call.values["size"]
    size = parse_size(given.removeprefix("+")) + (volume.size if given.startswith("+") else 0)
    if size == volume.size:
        return
    if size < volume.size:
        raise TaskFailed("shrinking disks is not supported")
    if is_running(vm) and vm.body.resize(name, size):
        volume.size = volume.virtual_size = size
    else:
        grow_disk(volume, size)
    rest = [part for part in vm.config[name].split(",") if not part.startswith("size=")]
    vm.config[name] = ",".join([*rest, f"size={format_size(size)}"])
    if not is_running(vm):
        task.say("Image resized.")


HANDLERS: dict[str, Handler] = {
    "GET /nodes/{node}/qemu/{vmid}/config": get_config,
    "PUT /nodes/{node}/qemu/{vmid}/config": update,
    "POST /nodes/{node}/qemu/{vmid}/config": update_in_task,
    "GET /nodes/{node}/qemu/{vmid}/pending": get_pending,
    "PUT /nodes/{node}/qemu/{vmid}/resize": resize,
}
