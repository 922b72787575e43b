"""What the start of a VM with passthrough devices founders on, in the words of node and QEMU."""

from __future__ import annotations

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.body import BodyError
from localai_deploy.sandbox.site import Call
from localai_deploy.sandbox.state import Node, Vm
from localai_deploy.sandbox.tasks import Task

_START_TIMEOUT_S = 120.0
"""Thirty seconds, four times as long with passthrough devices."""
_BRIDGES = ("0x0604", "0x0600")
_BOUND = {"", "vfio-pci", "pci-stub"}


def check_devices(call: Call, vm: Vm, node: Node, task: Task) -> None:
    """Raise what keeps the VM from starting with its reserved devices."""
    if not vm.devices:
        return
    if not node.iommu:
        raise died("cannot prepare PCI pass-through, IOMMU not present")
    slots = {device.rpartition(".")[0] for device in vm.devices}
    _check_groups(vm, node, task)
    _check_resets(slots, node, task)
    if slots & node.slow_starts:
        task.wait(_START_TIMEOUT_S * call.site.pace.scale)
        raise BodyError(f"start failed: command '/usr/bin/kvm -id {vm.vmid}' failed: got timeout")
    node.used_slots |= slots


def _check_groups(vm: Vm, node: Node, task: Task) -> None:
    """All endpoints of a group have to be free of the node's drivers; bridges do not count."""
    by_id = {one["id"]: one for one in node.pci_devices}
    groups = {by_id[device]["iommugroup"]: device for device in vm.devices if device in by_id}
    for one in node.pci_devices:
        first = groups.get(one["iommugroup"])
        is_free = node.drivers.get(one["id"], "") in _BOUND or one["class"].startswith(_BRIDGES)
        if first is not None and one["id"] not in vm.devices and not is_free:
            task.say(
                f"kvm: -device vfio-pci,host={first}: vfio {first}: group {one['iommugroup']} is not viable"
            )
            task.say("Please ensure all devices within the iommu_group are bound to their vfio bus driver.")
            raise BodyError("start failed: QEMU exited with code 1")


def _check_resets(slots: set[str], node: Node, task: Task) -> None:
    """A card with a bad reset is good for one start."""
    for slot in sorted(slots & node.bad_resets & node.used_slots):
        task.say(f"vfio-pci {slot}.0: not ready 65535ms after FLR; giving up")
        task.say(f"kvm: -device vfio-pci,host={slot}.0: vfio {slot}.0: failed to reset the device")
        raise BodyError("start failed: QEMU exited with code 1")


def models_of(vm: Vm, node: Node) -> tuple[str, ...]:
    """QEMU's devices that the guest gets for its cards; a card that only plans use is none."""
    return tuple(node.models[device] for device in vm.devices if device in node.models)
