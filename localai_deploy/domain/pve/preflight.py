"""What speaks against making a VM on a node, from facts alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.pve.facts import NodeFacts
from localai_deploy.domain.pve.ownership import POOL
from localai_deploy.domain.pve.permissions import POOL_PATH, Need, missing_needs
from localai_deploy.domain.pve.vm import VmSpec, candidate_ids
from localai_deploy.domain.units import format_bytes

MIB = 1 << 20


def vm_findings(spec: VmSpec, node: NodeFacts, *, has_key: bool) -> tuple[Finding, ...]:
    """Findings about a VM that is still to be made."""
    found = [finding for check in _CHECKS for finding in check(spec, node)]
    return tuple(found if has_key else [*found, _NO_KEY])


def _blocker(finding_id: str, what: str, why: str = "", hint: str = "") -> Finding:
    return Finding(finding_id, Severity.BLOCKER, what, why, hint)


_NO_KEY = _blocker(
    "ssh-key-missing",
    "no SSH key is known that the guest's user can be given",
    "the guest lets nobody in by password",
    "make one (ssh-keygen -t ed25519), or name one with localai_ssh_key (--ssh-key)",
)


def _memory(spec: VmSpec, node: NodeFacts) -> Iterator[Finding]:
    free, wanted = node.memory_available_bytes, spec.memory_mib * MIB
    if free is not None and wanted > free:
        yield _blocker(
            "pve-memory-short",
            f"node {node.node} has {format_bytes(free)} of memory free",
            f"the VM is to have {format_bytes(wanted)}, and gets it as a whole (no balloon)",
            "ask for less with --memory, or shut another VM down",
        )


def _cores(spec: VmSpec, node: NodeFacts) -> Iterator[Finding]:
    if node.cpu_count is not None and spec.cores > node.cpu_count:
        yield _blocker(
            "pve-cores-short",
            f"node {node.node} has {node.cpu_count} CPUs",
            f"the VM is to have {spec.cores}; Proxmox does not start such a VM",
            f"--cores {node.cpu_count}",
        )


def _bridge(spec: VmSpec, node: NodeFacts) -> Iterator[Finding]:
    if node.bridges is not None and spec.bridge not in node.bridges:
        yield _blocker(
            "pve-bridge-missing",
            f"node {node.node} has no bridge {spec.bridge!r}",
            f"it has {', '.join(node.bridges) or 'none'}; the create would pass and the start fail",
            "name one with --bridge",
        )


def _name(spec: VmSpec, node: NodeFacts) -> Iterator[Finding]:
    taken = node.names.get(spec.name, ())
    if taken:
        yield _blocker(
            "vm-name-taken",
            f"a VM named {spec.name} is there and not ours ({', '.join(map(str, taken))})",
            "the name becomes the guest's host name, and two guests of one name get in each other's way",
            "choose another with --name",
        )


def _pool(spec: VmSpec, node: NodeFacts) -> Iterator[Finding]:
    del spec
    may_not_make = missing_needs([Need(POOL_PATH, "Pool.Allocate")], node.permissions)
    if not node.pool_exists and may_not_make:
        yield _blocker(
            "pve-pool-missing",
            f"node {node.node} has no pool {POOL}, and this token may not make it",
            "our VMs lie in that pool, so that the token reaches no others",
            f"once, on the node: pveum pool add {POOL}",
        )


def _remains(spec: VmSpec, node: NodeFacts) -> Iterator[Finding]:
    for vmid in sorted(set(candidate_ids(spec)).intersection(node.half_made)):
        yield Finding(
            "vm-create-cut-off",
            Severity.WARNING,
            f"VM {vmid} on node {node.node} holds only the lock of a create",
            "a power failure cuts a create off like that; the VM is nobody's, and another id is taken",
            f"if no run is making it now, on the node: qm unlock {vmid}; qm destroy {vmid}",
        )


def _emulation(spec: VmSpec, node: NodeFacts) -> Iterator[Finding]:
    if not node.has_kvm:
        yield Finding(
            "pve-no-kvm",
            Severity.WARNING,
            f"node {node.node} has no KVM: {spec.name} will run on an emulated CPU",
            "that is many times slower; a model's answers take minutes",
            "switch virtualisation on in the firmware (VT-x, AMD-V), or allow nested virtualisation",
        )


_CHECKS: tuple[Callable[[VmSpec, NodeFacts], Iterator[Finding]], ...] = (
    _memory,
    _cores,
    _bridge,
    _name,
    _pool,
    _remains,
    _emulation,
)
