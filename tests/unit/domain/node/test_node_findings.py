"""Each finding both ways: on a machine that has the fault, and on one that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from localai_deploy.domain.node.findings import node_findings, passthrough_findings
from localai_deploy.domain.node.outlook import CardOutlook
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.pve.card_claims import CardUser
from localai_deploy.domain.pve.mapping import entry_for
from tests.unit.domain.node.node_samples import (
    AMD_APU,
    BAR_24_GIB,
    BOOT_GPU,
    INTEL_NVIDIA,
    IOMMU_OFF,
    SHARED,
    TWO_EQUAL,
    UNSET,
    WIDE,
    Sample,
)

CARD, TWIN, APU = "0000:01:00", "0000:02:00", "0000:0e:00"
GIB = 1 << 30


def ids(outlook: CardOutlook) -> list[tuple[str, str]]:
    return [(one.finding_id, one.severity.value) for one in passthrough_findings(outlook)]


def one(outlook: CardOutlook, finding_id: str) -> Finding:
    (found,) = [each for each in passthrough_findings(outlook) if each.finding_id == finding_id]
    return found


@pytest.mark.parametrize(
    ("sample", "slot", "expected"),
    [
        (INTEL_NVIDIA, CARD, []),
        (TWO_EQUAL, CARD, []),
        (TWO_EQUAL, TWIN, [("host-driver-bound", "blocker"), ("host-driver-bound", "warning")]),
        (
            AMD_APU,
            APU,
            [
                ("host-driver-bound", "blocker"),
                ("host-driver-bound", "warning"),
                ("only-display", "blocker"),
                ("reset", "warning"),
            ],
        ),
        (SHARED, CARD, [("iommu-group-shared", "blocker")]),
        (
            BOOT_GPU,
            CARD,
            [("host-driver-bound", "warning"), ("boot-framebuffer", "blocker"), ("only-display", "blocker")],
        ),
        (IOMMU_OFF, CARD, [("iommu-off", "blocker")]),
    ],
)
def test_machines(sample: Sample, slot: str, expected: list[tuple[str, str]]) -> None:
    assert ids(sample.outlook(slot)) == expected


@pytest.mark.parametrize("sample", [INTEL_NVIDIA, TWO_EQUAL])
def test_without_a_look_at_the_node_nothing_is_called_fine(sample: Sample) -> None:
    assert ids(sample.outlook(CARD, seen=False)) == [
        ("host-driver-bound", "unknown"),
        ("boot-framebuffer", "unknown"),
        ("reset", "unknown"),
        ("bar-aperture", "unknown"),
    ]
    assert [each.severity for each in node_findings(None)] == [Severity.UNKNOWN]


def test_the_api_alone_sees_the_iommu_the_group_and_the_only_display() -> None:
    assert ("iommu-off", "blocker") in ids(IOMMU_OFF.outlook(CARD, seen=False))
    assert ("iommu-group-shared", "blocker") in ids(SHARED.outlook(CARD, seen=False))
    assert ("only-display", "blocker") in ids(AMD_APU.outlook(APU, seen=False))


def test_a_user_who_is_not_root_sees_no_frame_buffer() -> None:
    sample = replace(BOOT_GPU, more={"uid": "1000\n"})
    assert ("boot-framebuffer", "unknown") in ids(sample.outlook(CARD))


def test_who_shares_the_group_is_named_and_bridges_are_not() -> None:
    found = one(SHARED.outlook(CARD), "iommu-group-shared")
    assert found.why == "with 0000:03:00.0 NVMe SM981; a VM gets a whole group or nothing of it"


def test_intel_without_its_kernel_parameter() -> None:
    assert "without intel_iommu=on" in one(IOMMU_OFF.outlook(CARD), "iommu-off").why
    assert "intel_iommu" not in one(IOMMU_OFF.outlook(CARD, seen=False), "iommu-off").why


def test_consent_warns_and_does_not_block() -> None:
    accepted = frozenset({"iommu-group-shared", "iommu-off"})
    assert ids(SHARED.outlook(CARD, accepted=accepted)) == [("iommu-group-shared", "warning")]
    assert ids(IOMMU_OFF.outlook(CARD, accepted=accepted)) == [("iommu-off", "blocker")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"resets": ""}, "no way"),
        ({"resets": "pm"}, "pm"),
        ({"pci_id": "1002:731f"}, "Navi 10"),
        ({"pci_id": "1002:687f"}, "Vega 10"),
        ({"pci_id": "10de:2b85"}, "Blackwell"),
    ],
)
def test_reset(changes: dict[str, str], reason: str) -> None:
    found = one(INTEL_NVIDIA.with_line("0000:01:00.0", **changes).outlook(CARD), "reset")
    assert found.severity is Severity.WARNING
    assert reason in found.why


@pytest.mark.parametrize("pci_id", ["10de:2204", "10de:2684", "1002:73bf", "1002:744c", "8086:56a0"])
def test_cards_that_reset_well(pci_id: str) -> None:
    assert ids(INTEL_NVIDIA.with_line("0000:01:00.0", pci_id=pci_id).outlook(CARD)) == []


@pytest.mark.parametrize(
    ("cpu", "gib", "fits"),
    [
        ("host", 32, True),
        ("host,hidden=1", 128, True),
        ("x86-64-v3", 16, True),
        ("x86-64-v3", 64, False),
        ("host", 8193, False),
    ],
)
def test_windows_of_the_guest(cpu: str, gib: int, fits: bool) -> None:
    """46 bits of physical address: an eighth of 64 TiB."""
    bars = ((1 << 45, gib * GIB, WIDE),)
    outlook = INTEL_NVIDIA.with_line("0000:01:00.0", bars=bars).outlook(CARD, cpu=cpu)
    assert (ids(outlook) == []) is fits
    assert fits or one(outlook, "bar-aperture").severity is Severity.BLOCKER


def test_a_window_that_the_firmware_left_out() -> None:
    bars = ((0, 16 * GIB, WIDE | UNSET), *BAR_24_GIB[1:])
    found = one(INTEL_NVIDIA.with_line("0000:01:00.0", bars=bars).outlook(CARD), "bar-aperture")
    assert found.why == "BAR 0 (16384 MiB)"
    assert "Above 4G" in found.hint


@pytest.mark.parametrize(("mib", "fits"), [(28 * 1024, True), (31 * 1024, False), (64 * 1024, False)])
def test_memory_is_held_from_the_start(mib: int, fits: bool) -> None:
    outlook = INTEL_NVIDIA.outlook(CARD, memory_mib=mib, memory_available_bytes=32 * GIB)
    assert (ids(outlook) == []) is fits
    assert (ids(INTEL_NVIDIA.outlook(CARD, memory_mib=mib)) == []) is fits


def test_memory_that_nobody_tells() -> None:
    assert ("ram-pinned", "unknown") in ids(INTEL_NVIDIA.outlook(CARD, seen=False, memory_mib=4096))


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"cpu": "host"}, ""),
        ({"cpu": "x86-64-v3"}, ""),
        ({"cpu": "cputype=host,flags=+aes"}, ""),
        ({"cpu": ""}, "cpu-type"),
        ({"cpu": "kvm64"}, "cpu-type"),
        ({"cpu": "x86-64-v2-AES"}, "cpu-type"),
        ({"machine": "q35"}, ""),
        ({"machine": "pc-q35-9.2+pve1"}, ""),
        ({"machine": ""}, "machine-type"),
        ({"machine": "pc-i440fx-9.2"}, "machine-type"),
        ({"efidisk": "local-lvm:vm-100-disk-0,efitype=4m,pre-enrolled-keys=0"}, ""),
        ({"efidisk": "local-lvm:vm-100-disk-0,efitype=4m,pre-enrolled-keys=1,size=4M"}, "secure-boot"),
    ],
)
def test_a_vm_that_is_there(changes: dict[str, Any], finding: str) -> None:
    bars = BAR_24_GIB[1:]
    found = ids(INTEL_NVIDIA.with_line("0000:01:00.0", bars=bars).outlook(CARD, **changes))
    assert [finding_id for finding_id, _ in found] == ([finding] if finding else [])


def test_other_vms_with_the_card() -> None:
    users = tuple(
        CardUser(vmid, f"vm{vmid}", "pve1", f"uuid-{vmid}", running=vmid == 101) for vmid in (100, 101)
    )
    found = passthrough_findings(INTEL_NVIDIA.outlook(CARD, users=users))
    assert [(each.severity, each.finding_id) for each in found] == [
        (Severity.WARNING, "card-in-use"),
        (Severity.BLOCKER, "card-in-use"),
    ]
    assert "VM 101" in found[1].what
    assert found[0].hint == "do not start VM 100 meanwhile"


def test_another_vm_with_the_card_that_starts_with_the_node() -> None:
    users = (CardUser(100, "gaming", "pve1", "uuid", running=False, onboot=True),)
    (found,) = passthrough_findings(INTEL_NVIDIA.outlook(CARD, users=users))
    assert found.severity is Severity.WARNING
    assert found.hint.endswith("it starts with the node and would take the card: qm set 100 --onboot 0")


def test_a_mapping_is_held_against_the_hardware() -> None:
    entry = entry_for(INTEL_NVIDIA.card(CARD))
    assert ids(INTEL_NVIDIA.outlook(CARD, mapping=entry)) == []
    moved = replace(entry, iommugroup=17)
    assert ids(INTEL_NVIDIA.outlook(CARD, mapping=moved)) == [("pci-renumber", "blocker")]


def test_a_node_that_waits_for_its_reboot() -> None:
    assert [each.finding_id for each in node_findings(AMD_APU.hardware)] == ["node-not-rebooted"]
    booted = replace(AMD_APU, cmdline=f"{AMD_APU.cmdline} iommu=pt")
    assert node_findings(booted.hardware) == ()
    waiting = replace(TWO_EQUAL, more={"prepared": "0000:02:00.0\n0000:02:00.1\n"})
    (found,) = node_findings(waiting.hardware)
    assert "0000:02:00.0 with vfio-pci, 0000:02:00.1 with vfio-pci" in found.why
    done = replace(TWO_EQUAL, more={"prepared": "0000:01:00.0\n0000:01:00.1\n"})
    assert node_findings(done.hardware) == ()


@pytest.mark.parametrize(
    "word", ["pcie_acs_override=downstream,multifunction", "vfio.allow_unsafe_interrupts=1"]
)
def test_weakened_isolation(word: str) -> None:
    sample = replace(INTEL_NVIDIA, cmdline=f"{INTEL_NVIDIA.cmdline} {word}")
    assert [each.finding_id for each in node_findings(sample.hardware)] == ["iommu-weakened"]
    assert node_findings(INTEL_NVIDIA.hardware) == ()


@pytest.mark.parametrize("sample", [INTEL_NVIDIA, SHARED, BOOT_GPU, IOMMU_OFF, AMD_APU])
def test_every_finding_has_a_reason_and_a_fix(sample: Sample) -> None:
    slot = sample.card(APU if sample is AMD_APU else CARD).slot
    for seen in (True, False):
        for found in passthrough_findings(sample.outlook(slot, seen=seen)):
            assert found.what
            assert found.why
            assert found.hint
