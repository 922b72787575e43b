"""The real servers' messages (recorded on 8.4 and 9.2), each with the error a user sees."""

from __future__ import annotations

import pytest

from localai_deploy.proxmox.answers import Refusal, error_from_text, error_of, error_of_task


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
        (596, "Broken pipe", "pve-node-offline"),
        (599, "Too many redirections", "pve-node-offline"),
        (501, "Method 'GET /x' not implemented", "pve-path-unknown"),
        (404, "Not Found", "pve-answer-unreadable"),
        (502, "Bad Gateway", "pve-overloaded"),
        (503, "Service Unavailable", "pve-overloaded"),
        (504, "Gateway Time-out", "pve-overloaded"),
        (500, "only root can set 'args' config", "pve-root-only"),
        (500, "only root can modify 'serial1' config for real devices", "pve-root-only"),
        (500, "unable to create VM 103: config file already exists", "pve-vmid-taken"),
        (500, "unable to find configuration file for VM 999 on node 'pve1'", "pve-vm-missing"),
        (500, "VM 100 is running - destroy failed", "pve-vm-running"),
        (500, "VM 100 is not running", "pve-vm-stopped"),
        (500, "VM 101 not running", "pve-vm-stopped"),
        (500, "can't remove VM 101 - protection mode enabled", "pve-vm-protected"),
        (500, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout", "pve-busy"),
        (500, "cfs-lock 'storage-nfs' error: got lock request timeout", "pve-busy"),
        (500, "cfs-lock 'file-user_cfg' error: no quorum!", "pve-no-quorum"),
        (500, "cluster not ready - no quorum?", "pve-no-quorum"),
        (500, "create hardware mapping failed: pci ID 't1' already defined", "pve-mapping-taken"),
        (500, "update hardware mapping failed: pci ID 'x' does not exist", "pve-mapping-missing"),
        (500, "create role failed: role 'NewVM' already exists", "pve-already-there"),
        (500, "create pool failed: pool 'localai' already exists", "pve-already-there"),
        (500, "pool 'localai' does not exist", "pve-not-there"),
        (500, "storage 'off' is disabled", "pve-storage-unavailable"),
        (500, "storage 'iso' is not configured for content-type 'import'", "pve-content-missing"),
        (500, "volume_size_info on 'local:import/none.qcow2' failed - no format", "pve-volume-missing"),
        (500, "got no worker upid - start worker failed", "pve-overloaded"),
        (500, "no options specified", "pve-bad-parameter"),
        (500, "something new", "pve-failed"),
    ],
)
def test_status_and_reason(status: int, reason: str, error_id: str) -> None:
    assert error_of(Refusal("GET /x", status, reason, {})).error_id == error_id


@pytest.mark.parametrize(
    ("fields", "error_id"),
    [
        ({"vmid": "VM 101 already exists"}, "pve-vmid-taken"),
        ({"upid": "no such task"}, "pve-task-lost"),
        ({"storage": "No such storage."}, "pve-storage-missing"),
        ({"storage": "storage 'noimg' does not support vm images"}, "pve-content-missing"),
        ({"skiplock": "Only root may use this option."}, "pve-root-only"),
        ({"hostpci1": "only root@pam can set 'romfile' option"}, "pve-root-only"),
        ({"net0": "hotplug problem - error on hot-unplugging device 'net0'\n"}, "pve-hotplug-refused"),
        ({"memory": "type check ('integer') failed - got 'x'"}, "pve-bad-parameter"),
        ({}, "pve-bad-parameter"),
    ],
)
def test_what_a_400_is_really_about(fields: dict[str, str], error_id: str) -> None:
    refusal = Refusal("PUT /x", 400, "Parameter verification failed.", fields)
    assert error_of(refusal).error_id == error_id


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
        ("checksum mismatch: got 'a' != expect 'b', aborting", "pve-image-other"),
        ("refusing to override existing file '/var/lib/vz/import/a.qcow2'", "pve-image-other"),
        ("failed to verify file: qemu-img.real: Could not open 'x': not qcow2", "pve-image-unreadable"),
        ("PCI device mapping not found for 'x'", "pve-mapping-missing"),
        (
            "PCI device mapping invalid (hardware probably changed): 'id' does not match",
            "pve-mapping-changed",
        ),
        ("could not find a free device for 'hostpci0'", "pve-card-in-use"),
        ("VM 101 already running", "pve-vm-running"),
        ("VM quit/powerdown failed - got timeout", "pve-shutdown-timeout"),
        ("you can't start a vm if it's a template", "pve-vm-template"),
        ("base volume 'local:100/b.qcow2' is still in use by linked cloned", "pve-vm-template"),
        ("bridge 'vmbr9' does not exist", "pve-bridge-missing"),
        ("MAX 2 vcpus allowed per VM on this node", "pve-cores-short"),
        ("start failed: QEMU exited with code 1", "pve-start-failed"),
        ("unable to create VM 110 - storage 'off' is disabled", "pve-storage-unavailable"),
    ],
)
def test_task_messages(text: str, error_id: str) -> None:
    assert error_from_text("task", text).error_id == error_id


def test_the_cause_of_a_task_may_stand_in_its_log_alone() -> None:
    status = (
        "unable to create VM 100 - cannot import from 'x' - command 'qemu-img convert' failed: exit code 1"
    )
    log = (
        "transferred 1.0 GiB",
        "qemu-img: error while writing: No space left on device",
        f"TASK ERROR: {status}",
    )
    error = error_of_task("task qmcreate of 100", status, log)
    assert error.error_id == "pve-storage-full"
    assert "No space left on device" in error.what
    assert "TASK ERROR" not in error.why


def test_memory_that_qemu_could_not_get() -> None:
    log = ("kvm: cannot set up guest memory 'pc.ram': Cannot allocate memory", "TASK ERROR: start failed: x")
    error = error_of_task("task qmstart of 100", "start failed: QEMU exited with code 1", log)
    assert error.error_id == "pve-memory-short"


@pytest.mark.parametrize(
    ("call", "right"),
    [
        ("POST /nodes/pve1/qemu", "VM.Allocate on /pool/localai"),
        ("POST /nodes/pve1/qemu/900/clone", "VM.Allocate on /pool/localai"),
        ("POST /nodes/pve1/storage/local/download-url", "Sys.AccessNetwork on /nodes/pve1"),
        ("GET /nodes/pve1/query-url-metadata", "Sys.AccessNetwork on /nodes/pve1"),
        ("GET /nodes/pve1/else", "a privilege that the server does not name"),
    ],
)
def test_refusals_that_name_nothing(call: str, right: str) -> None:
    error = error_of(Refusal(call, 403, "Permission check failed", {}))
    assert (error.error_id, error.hint) == ("pve-forbidden", f"the token lacks {right}")
