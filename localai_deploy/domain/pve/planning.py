"""``plan_vm``: from a VM as it is wanted and a node as it is to steps with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localai_deploy.domain import paths
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.observations import Observation, State
from localai_deploy.domain.plan import VM_STEPS, Action, Change, Finding, Severity, Step, StepKind
from localai_deploy.domain.pve.facts import NodeFacts, VmFacts
from localai_deploy.domain.pve.images import CloudImage, GuestSystem
from localai_deploy.domain.pve.network import parse_network_device
from localai_deploy.domain.pve.permissions import needs_of, rights_findings
from localai_deploy.domain.pve.preflight import MIB, vm_findings
from localai_deploy.domain.pve.storages import GIB, choose_storages
from localai_deploy.domain.pve.vm import SYSTEM_DISK, Acceleration, VmSpec, disk_size_gib
from localai_deploy.domain.units import format_bytes

_ASSUMED_SYSTEM = GuestSystem("debian", "13", "Debian GNU/Linux 13 (trixie)", "2.41")
_SYSTEM_BYTES = 3 * GIB
"""What a cloud image's system takes of its disk, generously."""


@dataclass(frozen=True, slots=True)
class VmPlan:
    """What will be done at a node's API for one VM.

    :param spec: with every storage named.
    :param observations: what was seen of each of :data:`VM_STEPS`.
    """

    spec: VmSpec
    image: CloudImage
    node: NodeFacts
    vm: VmFacts | None
    observations: Mapping[StepKind, Observation]
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]

    @property
    def acceleration(self) -> Acceleration:
        """How the guest's CPU is run."""
        return Acceleration(self.node.has_kvm)

    @property
    def is_up(self) -> bool:
        """The guest runs as it should: there is nothing to do at the node's API."""
        return not any(step.changes_host for step in self.steps)


def plan_vm(
    spec: VmSpec,
    image: CloudImage,
    node: NodeFacts,
    vm: VmFacts | None,
    *,
    has_key: bool,
    problems: Iterable[Finding] = (),
) -> VmPlan:
    """Plan one VM; ``vm`` is ours and carries the spec's name, or is not there yet.

    :param has_key: an SSH key is known that the guest's user can be given.
    :param problems: what was found out besides.
    """
    if vm is None:
        spec, findings = choose_storages(spec, node)
        findings = (*findings, *vm_findings(spec, node, has_key=has_key))
    else:
        spec = _with_storages_of(spec, vm)
        findings = _disk_findings(spec, vm)
    needs = needs_of(spec, node.version, downloads_image=vm is None and not spec.template)
    rights = rights_findings(needs, node.permissions, node.node)
    observations = {kind: _OBSERVE[kind](spec, image, node, vm) for kind in VM_STEPS}
    steps = tuple(_step(kind, observations[kind], vm) for kind in VM_STEPS)
    return VmPlan(spec, image, node, vm, observations, steps, (*rights, *findings, *problems))


def _with_storages_of(spec: VmSpec, vm: VmFacts) -> VmSpec:
    """The storages that were chosen when the VM was made."""
    return spec.with_storages({key: str(value) for key, value in vm.block.spec.items()})


_ACTION = {
    State.ABSENT: Action.CREATE,
    State.PARTIAL: Action.CHANGE,
    State.DIFFERENT: Action.CHANGE,
    State.PRESENT: Action.KEEP,
}


def _step(kind: StepKind, seen: Observation, vm: VmFacts | None) -> Step:
    return Step(
        kind,
        _ACTION[seen.state],
        seen.evidence,
        seen.changes,
        reboot=kind is StepKind.START and vm is not None and vm.running and seen.state is State.DIFFERENT,
    )


def _observe_image(spec: VmSpec, image: CloudImage, node: NodeFacts, vm: VmFacts | None) -> Observation:
    if vm is not None:
        return Observation(State.PRESENT, "not needed: the VM is there")
    if spec.template:
        return Observation(State.PRESENT, f"not needed: template {spec.template} is cloned")
    volume = f"{spec.image_storage}:import/{image.file_name}"
    if volume in node.images:
        return Observation(State.PRESENT, f"{volume} is there; the node checks it again")
    come = Change("image", "", volume)
    text = f"let the node download {image.url} and check its {image.algorithm.upper()}"
    return Observation(State.ABSENT, text, (come,))


def _observe_vm(spec: VmSpec, image: CloudImage, node: NodeFacts, vm: VmFacts | None) -> Observation:
    del image
    if vm is None:
        return Observation(
            State.ABSENT, f"make the VM on {node.node}: no VM of ours has that name", _new(spec)
        )
    changes = config_changes(spec, vm)
    if vm.block.unfinished:
        return Observation(
            State.PARTIAL, f"finish VM {vm.vmid} on {vm.node}: its create was cut off", changes
        )
    if changes:
        return Observation(State.DIFFERENT, f"change VM {vm.vmid} on {vm.node}", changes)
    return Observation(State.PRESENT, f"VM {vm.vmid} on {vm.node} is as wanted")


def _new(spec: VmSpec) -> tuple[Change, ...]:
    bridge = f"{spec.bridge}, VLAN {spec.vlan}" if spec.vlan else spec.bridge
    address = spec.static.address if spec.static else "by DHCP"
    return (
        Change("cores", "", str(spec.cores)),
        Change("memory", "", f"{spec.memory_mib} MiB"),
        Change("disk", "", f"{spec.disk_gib} GiB on {spec.vm_storage}"),
        Change("network", "", f"{bridge}, address {address}"),
        Change("user", "", f"{spec.user} (sudo, by SSH key only)"),
        Change("first boot", "", f"seed ISO on {spec.seed_storage}, taken away afterwards"),
    )


def config_changes(spec: VmSpec, vm: VmFacts) -> tuple[Change, ...]:
    """What of a VM differs from what settings ask for; everything else is its admin's own."""
    card = parse_network_device(str(vm.config["net0"]))
    found = {
        "cores": (int(vm.config.get("cores", 1)), spec.cores),
        "memory": (int(vm.config.get("memory", 0)), spec.memory_mib),
        "bridge": (card.bridge, spec.bridge),
        "vlan": (card.vlan, spec.vlan),
    }
    changes = [Change(key, str(now), str(wanted)) for key, (now, wanted) in found.items() if now != wanted]
    size = _disk_gib(vm)
    if 0 < size < spec.disk_gib:
        changes.append(Change("disk", f"{size} GiB", f"{spec.disk_gib} GiB"))
    return tuple(changes)


def _disk_gib(vm: VmFacts) -> int:
    return disk_size_gib(str(vm.config.get(SYSTEM_DISK, "none")))


def _disk_findings(spec: VmSpec, vm: VmFacts) -> tuple[Finding, ...]:
    size = _disk_gib(vm)
    if size <= spec.disk_gib:
        return ()
    return (
        Finding(
            "vm-disk-larger",
            Severity.WARNING,
            f"the disk of VM {vm.vmid} has {size} GiB, {spec.disk_gib} are asked for",
            "a disk is never made smaller",
            f"--disk {size}",
        ),
    )


def _observe_start(spec: VmSpec, image: CloudImage, node: NodeFacts, vm: VmFacts | None) -> Observation:
    del image, node
    if vm is None:
        text = "start it; its first boot installs the guest agent, through which its SSH key is read"
        return Observation(State.ABSENT, text)
    if not vm.running:
        return Observation(State.PARTIAL, f"start VM {vm.vmid}, which is {vm.status}")
    if vm.seed:
        return Observation(State.PARTIAL, f"wait for the first boot of VM {vm.vmid}, then take its seed away")
    if vm.pending or _needs_restart(spec, vm):
        return Observation(State.DIFFERENT, f"restart VM {vm.vmid}, so that its new values hold")
    if not vm.address:
        return Observation(State.PARTIAL, f"wait for the guest agent of VM {vm.vmid}")
    return Observation(State.PRESENT, f"VM {vm.vmid} runs at {vm.address}")


def _needs_restart(spec: VmSpec, vm: VmFacts) -> bool:
    return any(change.name in {"cores", "memory"} for change in config_changes(spec, vm))


_OBSERVE = {
    StepKind.IMAGE: _observe_image,
    StepKind.VM: _observe_vm,
    StepKind.START: _observe_start,
}


def nominal_facts(spec: VmSpec, image: CloudImage) -> HostFacts:
    """What a guest that is not there yet will look like, so that the whole plan can be made before it."""
    system = image.system or _ASSUMED_SYSTEM
    free = max(spec.disk_gib * GIB - _SYSTEM_BYTES, 0)
    return HostFacts(
        hostname=spec.name,
        os_id=system.os_id,
        os_version=system.os_version,
        os_pretty_name=f"{system.pretty_name}, to be made",
        architecture="x86_64",
        kernel="",
        virtualization="kvm",
        systemd_version=1,
        systemd_running=True,
        python_version="3",
        is_root=True,
        memory_bytes=spec.memory_mib * MIB,
        cpu_count=spec.cores,
        libc_version=system.libc_version,
        free_bytes=dict.fromkeys((paths.PREFIX_DIR, paths.STATE_DIR), free),
    )


def make_vm_removal(vm: VmFacts) -> tuple[Step, ...]:
    """Plan ``down`` of a VM: it goes with its disks."""
    disks = tuple(Change(volume, format_bytes(size), "") for volume, size in sorted(vm.disks.items()))
    total = format_bytes(sum(vm.disks.values()))
    return (
        Step(StepKind.START, Action.REMOVE, f"shut VM {vm.vmid} down; it is {vm.status}"),
        Step(
            StepKind.VM,
            Action.REMOVE,
            f"delete VM {vm.vmid} on {vm.node} with its disks ({total}), models and all",
            disks,
            reversible=False,
            destructive=True,
        ),
    )
