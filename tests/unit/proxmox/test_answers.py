"""The real servers' messages (recorded on 8.4 and 9.2), each with the error a user sees."""

from __future__ import annotations

import pytest

from localai_deploy.proxmox.answers import Refusal, error_from_text, error_of


@pytest.mark.parametrize(
    ("status", "reason", "error_id"),
    [
        (401, "Authentication failed!", "pve-auth-failed"),
        (401, "invalid token value!", "pve-auth-failed"),
        (403, "Permission check failed (/vms/200, VM.PowerMgmt)", "pve-forbidden"),
        (403, "Permission check failed", "pve-forbidden"),
        (400, "Parameter verification failed.", "pve-bad-parameter"),
        (500, "only root can set 'hostpci0' config for non-mapped devices", "pve-hostpci-root"),
        (500, "unable to create VM 320 - VM 320 already exists on node 'pve1'", "pve-vmid-taken"),
        (500, "VM is locked (backup)", "pve-vm-locked"),
        (500, "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist", "pve-vm-missing"),
        (500, "storage 'x' does not exist", "pve-storage-missing"),
        (500, "hostname lookup 'x' failed - failed to get address info", "pve-node-unknown"),
        (500, "QEMU guest agent is not running", "pve-agent-silent"),
        (500, "No QEMU guest agent configured", "pve-agent-silent"),
        (500, "checksum mismatch (file change by other user?)", "pve-config-changed"),
        (500, "checksum missmatch (file change by other user?)", "pve-config-changed"),
        (595, "No route to host", "pve-node-offline"),
        (501, "Method 'GET /x' not implemented", "pve-path-unknown"),
        (500, "something new", "pve-failed"),
    ],
)
def test_status_and_reason(status: int, reason: str, error_id: str) -> None:
    assert error_of(Refusal("GET /x", status, reason, {})).error_id == error_id


def test_403_names_privilege_and_path() -> None:
    error = error_of(Refusal("POST /x", 403, "Permission check failed (/vms/200, VM.PowerMgmt)", {}))
    assert "VM.PowerMgmt on /vms/200" in error.hint


def test_400_names_the_fields() -> None:
    error = error_of(Refusal("POST /x", 400, "Parameter verification failed.", {"memory": "type check\n"}))
    assert error.why == "memory: type check"


@pytest.mark.parametrize(
    ("text", "error_id"),
    [
        ("PCI device '0000:01:00.0' already in use by VMID '100'", "pve-card-in-use"),
        ("cannot prepare PCI pass-through, IOMMU not present", "iommu-off"),
        (
            "KVM virtualisation configured, but not available. Either disable in VM configuration",
            "pve-no-kvm",
        ),
        ("download failed: exit code 8", "pve-download-failed"),
        ("checksum mismatch: got 'a' != expect 'b'", "pve-image-checksum"),
    ],
)
def test_task_messages(text: str, error_id: str) -> None:
    assert error_from_text("task", text).error_id == error_id
