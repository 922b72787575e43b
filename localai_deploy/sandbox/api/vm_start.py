"""Switching a VM on: the checks of the start task, passthrough devices, the body's start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.body import BodyError, GuestPlan
from localai_deploy.sandbox.hardware import entries_on, functions_at, problem_of
from localai_deploy.sandbox.passthrough import check_devices, models_of
from localai_deploy.sandbox.pending import apply_pending
from localai_deploy.sandbox.site import Call
from localai_deploy.sandbox.state import Node, Vm
from localai_deploy.sandbox.tasks import Task, TaskFailed
from localai_deploy.sandbox.vm_values import is_cloudinit, is_drive, parse
from localai_deploy.sandbox.vms import check_lock, is_running

NO_KVM = (
    "KVM virtualisation configured, but not available. Either disable in VM configuration or enable in BIOS."
)


def start_vm(call: Call, vm: Vm, task: Task) -> None:
    """The work of a start task; raises what ends it."""
    with vm.lock:
        if vm.config.get("template"):
            raise died("you can't start a vm if it's a template")
        if not call.values.get("skiplock"):
            check_lock(vm)
        if is_running(vm):
            raise died(f"VM {vm.vmid} already running")
        apply_pending(call.site, vm)
        _cloud_init(call, vm, task)
        node = call.cluster.nodes[vm.node]
        if vm.config.get("kvm", 1) and not node.kvm:
            raise died(NO_KVM)
        with _reserved_devices(call, vm, node, task):
            check_devices(call, vm, node, task)
            if vm.config.get("bios") == "ovmf" and "efidisk0" not in vm.config:
                task.warn("no efidisk configured! Using temporary efivars disk.")
            _bridges(call, vm, node, task)
            vm.body.start(_plan(call, vm, task))
            vm.started_at, vm.pid = time.time(), next(call.site.pids)


def _plan(call: Call, vm: Vm, task: Task) -> GuestPlan:
    """What the body needs; from now on the guest may write to the disks."""
    volumes = {
        name: volume
        for name, value in vm.config.items()
        if is_drive(name) and (volume := call.cluster.volumes.get(str(value).split(",")[0])) and volume.file
    }
    files = {name: str(volume.file) for name, volume in volumes.items()}
    images = {name: volume.image for name, volume in volumes.items() if volume.image}
    for volume in volumes.values():
        volume.image = None
    name = vm.config.get("name", f"VM {vm.vmid}")
    passed = models_of(vm, call.cluster.nodes[vm.node])
    return GuestPlan(vm.vmid, name, dict(vm.config), files, images, passed, task.say)


def _cloud_init(call: Call, vm: Vm, task: Task) -> None:
    release = call.cluster.release
    drives = [parse(n, v, release) for n, v in vm.config.items() if is_drive(n)]
    if not any(is_cloudinit(drive) for drive in drives):
        return
    task.say("generating cloud-init ISO")
    custom = parse("cicustom", vm.config["cicustom"], release) if "cicustom" in vm.config else {}
    for snippet in custom.values():
        if snippet not in call.cluster.volumes:
            raise died(f"volume '{snippet}' does not exist")


@contextmanager
def _reserved_devices(call: Call, vm: Vm, node: Node, task: Task) -> Iterator[None]:
    """Have the VM's devices reserved while it starts; of two that start at once one gets them."""
    _reserve(call, vm, _devices(call, vm, node, task))
    try:
        yield
    except BaseException:
        vm.devices = []
        raise
    finally:
        vm.starting = False


def _devices(call: Call, vm: Vm, node: Node, task: Task) -> dict[str, list[list[str]]]:
    """What may be had for each slot."""
    wanted = {n: v for n, v in vm.config.items() if n.startswith("hostpci")}
    try:
        choices = {name: _choices(call, value, node) for name, value in sorted(wanted.items())}
    except TaskFailed as error:
        if call.major > 8:
            task.say(str(error))
        raise
    for name, value in wanted.items():
        is_q35 = "q35" in str(vm.config.get("machine", ""))
        if parse(name, value, call.cluster.release).get("pcie") and not is_q35:
            raise died("q35 machine model is not enabled at /usr/share/perl5/PVE/QemuServer/PCI.pm line 456.")
    return choices


def _choices(call: Call, value: str, node: Node) -> list[list[str]]:
    device = parse("hostpci0", value, call.cluster.release)
    if "mapping" not in device:
        return [[d["id"] for path in device["host"].split(";") for d in _found(node, _full(path))]]
    name = device["mapping"]
    mapping = call.cluster.mappings.get(name)
    entries = entries_on(mapping, node.name, call.cluster.release) if mapping else []
    if not entries:
        raise TaskFailed(f"PCI device mapping not found for '{name}'\n")
    for entry in entries:
        problem = problem_of(name, entry, node)
        if problem is not None:
            raise TaskFailed(f"PCI device mapping invalid (hardware probably changed): {problem}\n")
    return [[d["id"] for path in e["path"].split(";") for d in _found(node, path)] for e in entries]


def _full(path: str) -> str:
    return path if path.count(":") == 2 else f"0000:{path}"


def _found(node: Node, path: str) -> list[dict[str, Any]]:
    devices = functions_at(node, path)
    if not devices:
        raise died(f"no PCI device found for '{path}'")
    return devices


def _reserve(call: Call, vm: Vm, choices: dict[str, list[list[str]]]) -> None:
    with call.cluster.lock:
        taken = {
            device: other.vmid
            for other in call.cluster.vms.values()
            if other is not vm and other.node == vm.node and (other.starting or is_running(other))
            for device in other.devices
        }
        chosen: list[str] = []
        for name, alternatives in choices.items():
            free = [ids for ids in alternatives if not any(i in taken or i in chosen for i in ids)]
            if not free and len(alternatives) > 1:
                raise died(f"could not find a free device for '{name}'")
            if not free:
                busy = next(i for i in alternatives[0] if i in taken or i in chosen)
                raise died(f"PCI device '{busy}' already in use by VMID '{taken.get(busy, vm.vmid)}'")
            chosen += free[0]
        vm.devices, vm.starting = chosen, True


def _bridges(call: Call, vm: Vm, node: Node, task: Task) -> None:
    for name, value in vm.config.items():
        if name.startswith("net") and name[3:].isdigit():
            bridge = parse(name, value, call.cluster.release).get("bridge")
            if bridge is None or bridge in node.bridges:
                continue
            if call.major > 8:
                raise BodyError(f"bridge '{bridge}' does not exist")
            task.say(f"bridge '{bridge}' does not exist")
            raise BodyError("start failed: QEMU exited with code 1")
