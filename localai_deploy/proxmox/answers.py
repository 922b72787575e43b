"""The server's errors as ours. The message is in the HTTP reason; 400 also names fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from localai_deploy.errors import ExitCode, LocalaiError


@dataclass(frozen=True, slots=True)
class Refusal:
    """One failed call.

    :param status: HTTP status; 595 to 599 come from a node's proxy.
    :param reason: the server's message.
    :param fields: parameter → complaint, of a 400.
    """

    call: str
    status: int
    reason: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    error_id: str
    hint: str


def _rule(pattern: str, error_id: str, hint: str = "") -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), error_id, hint)


_RULES = (
    _rule(
        r"only root can set 'hostpci\d+' config",
        "pve-hostpci-root",
        "use a resource mapping: no API token may set a raw PCI address",
    ),
    _rule(r"VM (\d+) already exists", "pve-vmid-taken", "another run was faster: the next free id is taken"),
    _rule(r"VM is locked \((\w+)\)", "pve-vm-locked", "wait for that job, or unlock the VM: qm unlock VMID"),
    _rule(
        r"checksum miss?match \(file change by other user",
        "pve-config-changed",
        "somebody changed it at the same moment: run again",
    ),
    _rule(r"Configuration file '.*' does not exist", "pve-vm-missing"),
    _rule(
        r"storage '([^']+)' does not exist", "pve-storage-missing", "pvesm status lists the node's storages"
    ),
    _rule(
        r"hostname lookup '([^']+)' failed|no such cluster node",
        "pve-node-unknown",
        "pvesh get /nodes lists the nodes",
    ),
    _rule(r"No QEMU guest agent configured|QEMU guest agent is not running", "pve-agent-silent"),
    _rule(r"already in use by VMID '(\d+)'", "pve-card-in-use", "shut that VM down first"),
    _rule(r"cluster not ready - no quorum", "pve-no-quorum", "bring the other nodes back"),
    _rule(
        r"KVM virtualisation configured, but not available",
        "pve-no-kvm",
        "switch virtualisation on in the firmware (VT-x, AMD-V)",
    ),
    _rule(r"IOMMU not present", "iommu-off", "localai-deploy explain iommu-off"),
    _rule(
        r"checksum mismatch: got",
        "pve-image-checksum",
        "the image changed upstream, or the checksum is wrong",
    ),
    _rule(
        r"download failed: exit code|unable to resolve host address",
        "pve-download-failed",
        "look whether the node reaches the URL",
    ),
)


def error_of(refusal: Refusal) -> LocalaiError:
    """The server's refusal in our shape."""
    if refusal.status == 401:
        return _error(
            "pve-auth-failed",
            refusal,
            "check PROXMOX_USER, PROXMOX_TOKEN_ID and PROXMOX_TOKEN_SECRET; an expired token looks the same",
        )
    if refusal.status == 403:
        return _error("pve-forbidden", refusal, _rights_hint(refusal.reason))
    if refusal.status == 400:
        named = "; ".join(f"{name}: {text.strip()}" for name, text in sorted(refusal.fields.items()))
        return LocalaiError(
            "pve-bad-parameter",
            f"{refusal.call}: the server refuses a parameter",
            why=named or refusal.reason,
            hint="if it comes from your inventory, correct it; else this is a bug of ours",
        )
    if 595 <= refusal.status <= 599:
        return _error(
            "pve-node-offline", refusal, "the node that was asked does not reach the one that is meant"
        )
    if refusal.status == 501:
        return _error("pve-path-unknown", refusal, "is this Proxmox VE 8 or newer?")
    return error_from_text(refusal.call, refusal.reason, refusal.status)


def error_from_text(call: str, text: str, status: int = 500) -> LocalaiError:
    """An error out of a message: of a 500, or of a task that failed."""
    for rule in _RULES:
        if rule.pattern.search(text):
            return LocalaiError(rule.error_id, f"{call}: {text.strip()}", hint=rule.hint)
    return LocalaiError(
        "pve-failed",
        f"{call} failed",
        why=f"{text.strip()} (status {status})",
        exit_code=ExitCode.FAILED,
    )


def _error(error_id: str, refusal: Refusal, hint: str) -> LocalaiError:
    return LocalaiError(error_id, f"{refusal.call}: {refusal.reason.strip() or refusal.status}", hint=hint)


def _rights_hint(reason: str) -> str:
    match = re.search(r"Permission check failed \(([^,]+), ([^)]+)\)", reason)
    if match:
        return f"the token lacks {match[2]} on {match[1]}"
    return "the token lacks a privilege that the server does not name"
