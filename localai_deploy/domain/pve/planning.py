"""``plan_vm``: from a VM as it is wanted and a node as it is to steps with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from localai_deploy.domain import paths
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.domain.observations import Observation, State
from localai_deploy.domain.plan import VM_STEPS, Action, Change, Finding, Severity, Step, StepKind
from localai_deploy.domain.pve.card_planning import CardsPlan, holder_of, observe_cards, plan_cards
from localai_deploy.domain.pve.facts import BegunVm, NodeFacts, VmFacts
from localai_deploy.domain.pve.images import CloudImage, GuestSystem
from localai_deploy.domain.pve.ownership import OwnershipBlock
from localai_deploy.domain.pve.permissions import needs_of, rights_findings
from localai_deploy.domain.pve.preflight import MIB, vm_findings
from localai_deploy.domain.pve.sizing import SYSTEM_DISK_BYTES
from localai_deploy.domain.pve.storages import GIB, choose_storages
from localai_deploy.domain.pve.vm import Acceleration, VmSpec
from localai_deploy.domain.pve.vm_changes import config_changes, system_disk_bytes, waits_for_restart

_ASSUMED_SYSTEM = GuestSystem("debian", "13", "Debian GNU/Linux 13 (trixie)", "2.41")


@dataclass(frozen=True, slots=True)
class VmPlan:
    """What will be done at a node's API for one VM.

    :param spec: with every storage named.
    :param begun: what a run that was cut off left of it.
    :param observations: what was seen of each of :data:`VM_STEPS`; of cards only where there is one.
    """

    spec: VmSpec
    image: CloudImage
    node: NodeFacts
    vm: VmFacts | None
    begun: BegunVm | None
    observations: Mapping[StepKind, Observation]
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    cards: CardsPlan = field(default_factory=CardsPlan)

    @property
    def acceleration(self) -> Acceleration:
        """How the guest's CPU is run."""
        return Acceleration(self.node.has_kvm)

    @property
    def is_up(self) -> bool:
        """The guest runs as it should: there is nothing to do at the node's API."""
        return not any(step.changes_host for step in self.steps)

    @property
    def held_cards(self) -> tuple[str, ...]:
        """Names of the mappings whose cards the VM has by us."""
        one = self.vm or self.begun
        return one.block.mappings if one else ()

    @property
    def restarts(self) -> bool:
        """A guest that runs is to be restarted."""
        return any(step.reboot for step in self.steps)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is wanted and what there is."""

    spec: VmSpec
    image: CloudImage
    node: NodeFacts
    vm: VmFacts | None
    begun: BegunVm | None
    cards: CardsPlan

    @property
    def untested(self) -> tuple[str, ...]:
        """Cards with which the VM was not stopped and started yet."""
        done = self.vm.block.tested if self.vm else ()
        return tuple(str(one.card) for one in self.cards.choices if one.proof not in done)

    @property
    def stale_seeds(self) -> tuple[str, ...]:
        """Seeds of runs that were cut off, as far as the token may delete them."""
        attached = self.vm.seed if self.vm else ""
        return tuple(one for one in self.node.removable_seeds(self.spec.name) if one != attached)


def plan_vm(
    spec: VmSpec,
    image: CloudImage,
    node: NodeFacts,
    vm: VmFacts | None,
    *,
    has_key: bool,
    begun: BegunVm | None = None,
    problems: Iterable[Finding] = (),
    now: float = 0.0,
    hardware: NodeHardware | None = None,
) -> VmPlan:
    """Plan one VM; ``vm`` is ours and carries the spec's name, or is not there yet.

    :param has_key: an SSH key is known that the guest's user can be given.
    :param problems: what was found out besides.
    :param now: seconds since 1970; leases of cards have an age.
    :param hardware: what the node itself tells over SSH; ``None``: nobody looked.
    """
    spec, cards = plan_cards(spec, node, vm, now, hardware)
    findings: tuple[Finding, ...] = ()
    if vm is not None:
        spec = _with_storages_of(spec, vm.block)
        findings = _disk_findings(spec, vm)
    elif begun is not None:
        spec = _with_storages_of(spec, begun.block)
    else:
        spec, findings = choose_storages(spec, node, image)
    if vm is None:
        others = node.without(begun.vmid) if begun else node
        findings = (*findings, *vm_findings(spec, others, has_key=has_key))
    needs = needs_of(spec, node.version, downloads_image=not (vm or begun or spec.template))
    rights = rights_findings((*needs, *cards.needs), node.permissions, node.node)
    look = _Look(spec, image, node, vm, begun, cards)
    kinds = [kind for kind in VM_STEPS if kind is not StepKind.CARD or cards.is_about_cards]
    observations = {kind: _OBSERVE[kind](look) for kind in kinds}
    steps = tuple(_step(kind, observations[kind], vm) for kind in kinds)
    found = (*rights, *findings, *cards.findings, *problems)
    return VmPlan(spec, image, node, vm, begun, observations, steps, found, cards)


def _with_storages_of(spec: VmSpec, block: OwnershipBlock) -> VmSpec:
    """The storages that were chosen when the VM was made."""
    return spec.with_storages({key: str(value) for key, value in block.spec.items()})


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


def _observe_image(look: _Look) -> Observation:
    spec, image = look.spec, look.image
    if look.vm is not None or look.begun is not None:
        return Observation(State.PRESENT, "not needed: the VM is there")
    if spec.template:
        return Observation(State.PRESENT, f"not needed: template {spec.template} is cloned")
    volume = image.volume_on(spec.image_storage) if spec.image_storage else image.file_name
    if volume in look.node.images:
        return Observation(State.PRESENT, f"{volume} is there; the node checks it again")
    come = Change("image", "", volume)
    text = f"let the node download {image.url} and check its {image.algorithm.upper()}"
    return Observation(State.ABSENT, text, (come,))


def _observe_card(look: _Look) -> Observation:
    return observe_cards(look.cards, holder_of(look.spec, look.vm), look.node)


def _observe_vm(look: _Look) -> Observation:
    vm, node = look.vm, look.node.node
    if vm is None:
        text = f"make the VM on {node}: no VM of ours has that name"
        if look.begun is not None:
            text = f"make VM {look.begun.vmid} on {node} whole, which a run that was cut off began"
        return Observation(State.ABSENT, text, (*_new(look.spec), *_new_cards(look.cards)))
    changes = config_changes(look.spec, vm)
    if changes:
        return Observation(State.DIFFERENT, f"change VM {vm.vmid} on {vm.node}", changes)
    return Observation(State.PRESENT, f"VM {vm.vmid} on {vm.node} is as wanted")


def _new(spec: VmSpec) -> tuple[Change, ...]:
    bridge = f"{spec.bridge}, VLAN {spec.vlan}" if spec.vlan else spec.bridge
    address = spec.static.address if spec.static else "by DHCP"
    return (
        Change("cores", "", str(spec.cores)),
        Change("memory", "", f"{spec.memory_mib} MiB"),
        Change("disk", "", f"{spec.disk_gib} GiB on {spec.vm_storage or 'no storage'}"),
        Change("network", "", f"{bridge}, address {address}"),
        Change("user", "", f"{spec.user} (sudo, by SSH key only)"),
        Change("first boot", "", f"seed ISO on {spec.seed_storage or 'no storage'}, taken away afterwards"),
    )


def _new_cards(cards: CardsPlan) -> Iterator[Change]:
    for one in cards.choices:
        yield Change("card", "", f"{one.card}, by mapping {one.name}")


def _disk_findings(spec: VmSpec, vm: VmFacts) -> tuple[Finding, ...]:
    size = system_disk_bytes(vm) // GIB
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


def _observe_start(look: _Look) -> Observation:
    vm = look.vm
    if vm is None:
        text = "start it; its first boot installs the guest agent, through which its SSH key is read"
        return Observation(State.ABSENT, "; ".join((text, *_reset_test(look))))
    restarts = vm.running and (waits_for_restart(look.spec, vm) or bool(look.untested))
    work = [*_work(vm, look.stale_seeds, restarts=restarts), *_reset_test(look)]
    if not work:
        return Observation(State.PRESENT, f"VM {vm.vmid} runs at {vm.address}")
    return Observation(State.DIFFERENT if restarts else State.PARTIAL, "; ".join(work))


def _work(vm: VmFacts, stale_seeds: tuple[str, ...], *, restarts: bool) -> Iterator[str]:
    if not vm.running:
        yield f"start VM {vm.vmid}, which is {vm.status}"
    if vm.seed:
        yield f"wait for the first boot of VM {vm.vmid}, then take its seed away"
    elif vm.running and not vm.address:
        yield f"wait for the guest agent of VM {vm.vmid}"
    if stale_seeds:
        yield f"delete what a run that was cut off left: {', '.join(stale_seeds)}"
    if restarts:
        yield f"restart VM {vm.vmid}, so that its new values hold"


def _reset_test(look: _Look) -> Iterator[str]:
    """Some cards do not come back when they are started a second time: better now than one day."""
    if look.untested:
        yield f"once, stop and start it again: whether {', '.join(look.untested)} can be reset is seen now"


_OBSERVE = {
    StepKind.IMAGE: _observe_image,
    StepKind.CARD: _observe_card,
    StepKind.VM: _observe_vm,
    StepKind.START: _observe_start,
}


def nominal_facts(spec: VmSpec, image: CloudImage) -> HostFacts:
    """What a guest that is not there yet will look like, so that the whole plan can be made before it."""
    system = image.system or _ASSUMED_SYSTEM
    free = max(spec.disk_gib * GIB - SYSTEM_DISK_BYTES, 0)
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
