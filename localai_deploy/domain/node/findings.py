"""What speaks against passing a card through, from facts alone.

Each finding has an id of the catalogue, a reason and a fix. What only the node's own kernel can tell reads
``unknown`` while nobody has looked there, and never as if it were fine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from localai_deploy.domain.node.hardware import Function, Loader, NodeHardware
from localai_deploy.domain.node.outlook import CardOutlook, softened, unknown
from localai_deploy.domain.node.reset import reset_reason
from localai_deploy.domain.node.vm_findings import VM_CHECKS
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.pve.card_claims import CardUser
from localai_deploy.domain.pve.mapping import mapping_problem

CONSENTABLE = frozenset({"only-display", "iommu-group-shared", "host-driver-bound", "boot-framebuffer"})
"""Findings that a person may know better about."""


def passthrough_findings(outlook: CardOutlook) -> tuple[Finding, ...]:
    """Everything about one card, and about the VM that is to have it."""
    accepted = outlook.accepted & CONSENTABLE
    checks = (*_CARD_CHECKS, *VM_CHECKS)
    return tuple(softened(found, accepted) for check in checks for found in check(outlook))


def node_findings(hardware: NodeHardware | None) -> tuple[Finding, ...]:
    """What concerns the node as a whole."""
    if hardware is None:
        return (unknown("node-not-rebooted", "whether the node was booted anew since it was prepared"),)
    return (*_not_rebooted(hardware), *_acs_override(hardware))


def _finding(severity: Severity) -> Callable[..., Finding]:
    def make(finding_id: str, what: str, why: str = "", hint: str = "") -> Finding:
        return Finding(finding_id, severity, what, why, hint)

    return make


_blocker, _warning = _finding(Severity.BLOCKER), _finding(Severity.WARNING)


def _iommu(outlook: CardOutlook) -> Iterator[Finding]:
    card, hardware = outlook.card, outlook.hardware
    if card.iommu_group is not None:
        return
    why = "it is in no IOMMU group"
    if hardware and hardware.cpu_vendor == "GenuineIntel" and "intel_iommu=on" not in hardware.cmdline:
        why += f", and kernel {hardware.kernel} was booted without intel_iommu=on"
    elif hardware and hardware.has_iommu:
        why += ", though other devices are"
    yield _blocker(
        "iommu-off",
        f"no VM can be given {card} of node {card.node}: the IOMMU is off",
        why,
        f"switch VT-d (Intel) or IOMMU (AMD) on in the firmware, then: localai-deploy node"
        f" prepare {card.node}",
    )


def _group(outlook: CardOutlook) -> Iterator[Finding]:
    card = outlook.card
    if outlook.neighbours:
        names = ", ".join(
            f"{one.address} {one.device_name or f'class {one.class_id:06x}'}".strip()
            for one in outlook.neighbours
        )
        yield _blocker(
            "iommu-group-shared",
            f"{card} of node {card.node} shares IOMMU group {card.iommu_group}",
            f"with {names}; a VM gets a whole group or nothing of it",
            "put the card into another slot (one of the CPU's own), or give these devices away with it",
        )


def _bound(outlook: CardOutlook) -> Iterator[Finding]:
    card = outlook.card
    if outlook.hardware is None:
        yield unknown("host-driver-bound", f"which driver of node {card.node} has {card}")
    for one in outlook.functions:
        if one.is_free:
            continue
        is_display = one.class_id >> 16 == 0x03
        make = _blocker if is_display else _warning
        yield make(
            "host-driver-bound",
            f"driver {one.driver} of node {card.node} has {one.address}",
            "taking a display from its driver can hang the node"
            if is_display
            else "it is taken at the start",
            f"localai-deploy node prepare {card.node} (by address; an equal card stays with the node)",
        )


def _framebuffer(outlook: CardOutlook) -> Iterator[Finding]:
    card, hardware = outlook.card, outlook.hardware
    if hardware is None or hardware.framebuffers is None:
        yield unknown("boot-framebuffer", f"whether the boot screen of node {card.node} holds {card}")
        return
    for claim in hardware.claims_on(outlook.functions):
        yield _blocker(
            "boot-framebuffer",
            f"the boot screen of node {card.node} holds memory of {card}",
            f"{claim.owner} claims {claim.start:x}-{claim.end:x}; vfio-pci could not reserve it",
            "make another display the first one in the firmware (the CPU's own),"
            " or boot with initcall_blacklist=sysfb_init",
        )


def _only_display(outlook: CardOutlook) -> Iterator[Finding]:
    card = outlook.card
    others = [one for one in outlook.devices if one.is_display and one.address.whole != card.address]
    if not others:
        yield _blocker(
            "only-display",
            f"{card} is the only display of node {card.node}",
            "its console goes black when a VM gets the card",
            "make sure that the node can be reached over the network, then consent;"
            f" to get the console back: shut the VM down and reboot, or ssh root@{card.node} qm stop VMID",
        )


def _reset(outlook: CardOutlook) -> Iterator[Finding]:
    card = outlook.card
    if outlook.hardware is None:
        yield unknown("reset", f"how {card} of node {card.node} can be reset")
    display = outlook.hardware.function(card.display.address) if outlook.hardware else None
    if display is not None and (reason := reset_reason(display)):
        yield _warning(
            "reset",
            f"{card} of node {card.node} may not come back after its VM has stopped",
            reason,
            "the first `up` stops and starts the VM once to see it; if it fails, only a reboot of"
            " the node helps",
        )


def _unassigned(outlook: CardOutlook) -> Iterator[Finding]:
    card = outlook.card
    for one in outlook.functions:
        missing = [bar for bar in one.bars if not bar.is_assigned]
        if missing:
            yield _blocker(
                "bar-aperture",
                f"node {card.node} itself found no room for memory windows of {one.address}",
                ", ".join(f"BAR {bar.index} ({bar.size_bytes >> 20} MiB)" for bar in missing),
                "switch 'Above 4G decoding' on in the node's firmware",
            )


def _in_use(outlook: CardOutlook) -> Iterator[Finding]:
    card = outlook.card
    for user in outlook.users:
        make = _blocker if user.running else _warning
        yield make(
            "card-in-use",
            f"VM {user.vmid} of node {card.node} has {card}" + (" and runs" if user.running else ""),
            "one VM can have a card at a time",
            f"localai-deploy gpu move {card.slot} --to VM" if user.running else _not_meanwhile(user),
        )


def _not_meanwhile(user: CardUser) -> str:
    hint = f"do not start VM {user.vmid} meanwhile"
    boots = f"; it starts with the node and would take the card: qm set {user.vmid} --onboot 0"
    return hint + (boots if user.onboot else "")


def _renumbered(outlook: CardOutlook) -> Iterator[Finding]:
    problem = mapping_problem(outlook.mapping, outlook.card) if outlook.mapping else None
    if problem:
        yield _blocker(
            "pci-renumber",
            f"the resource mapping of {outlook.card} is out of date",
            problem,
            "look which card is meant (adding one renumbers the bus), then map it anew",
        )


_CARD_CHECKS: tuple[Callable[[CardOutlook], Iterator[Finding]], ...] = (
    _iommu,
    _group,
    _bound,
    _framebuffer,
    _only_display,
    _reset,
    _unassigned,
    _in_use,
    _renumbered,
)


def _not_rebooted(hardware: NodeHardware) -> Iterator[Finding]:
    wanted = [
        word for word in hardware.next_cmdline if word.startswith(_WATCHED) and word not in hardware.cmdline
    ]
    waiting = [one for one in _prepared(hardware) if one.driver != "vfio-pci"]
    if wanted or waiting:
        parts = [*wanted, *(f"{one.address} with vfio-pci" for one in waiting)]
        yield _warning(
            "node-not-rebooted",
            "the node was not booted since it was prepared",
            f"the running kernel does not have: {', '.join(parts)}",
            "localai-deploy node prepare NODE --reboot, or reboot it when its VMs may stop",
        )


_WATCHED = ("intel_iommu=", "amd_iommu=", "iommu=", "initcall_blacklist=", "vfio")


def _prepared(hardware: NodeHardware) -> Iterator[Function]:
    return (one for one in hardware.functions if str(one.address) in hardware.prepared)


def _acs_override(hardware: NodeHardware) -> Iterator[Finding]:
    for word in hardware.cmdline:
        if word.startswith("pcie_acs_override") or word.endswith("allow_unsafe_interrupts=1"):
            yield _warning(
                "iommu-weakened",
                f"the node was booted with {word}",
                "devices of one VM can then reach memory of others; its IOMMU groups say more than is true",
                f"take it out of {_FILE_OF[hardware.loader]}",
            )


_FILE_OF = {Loader.GRUB: "/etc/default/grub", Loader.SYSTEMD_BOOT: "/etc/kernel/cmdline"}
