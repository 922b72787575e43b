"""What of a VM's configuration speaks against giving it a card."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from localai_deploy.domain.node.outlook import CardOutlook, unknown
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.pve import property_string
from localai_deploy.domain.units import format_bytes

_MIB, _GIB = 1 << 20, 1 << 30
RESERVE_BYTES = 2 * _GIB
"""What a node keeps for itself: its own services and the memory that QEMU needs beside the guest's."""
_WITHOUT_AVX = re.compile(
    r"(|kvm(32|64)|qemu(32|64)|486|pentium\d?|core2?duo|coreduo|phenom|athlon|Opteron_G[123]"
    r"|x86-64-v2(-AES)?|Conroe|Penryn|Nehalem(-IBRS)?|Westmere(-IBRS)?)"
)
_FIXED_APERTURE = 32 * _GIB
_MOST_BITS = 46
"""OVMF (OvmfPkg/Library/PlatformInitLib): the window for 64-bit BARs is an eighth of the CPU's address space,
of 46 bits at most, where it trusts the CPU's word on that (``host``); else it is 32 GiB."""


def _blocker(finding_id: str, what: str, why: str = "", hint: str = "") -> Finding:
    return Finding(finding_id, Severity.BLOCKER, what, why, hint)


def _aperture(outlook: CardOutlook) -> Iterator[Finding]:
    card, hardware = outlook.card, outlook.hardware
    if hardware is None:
        yield unknown("bar-aperture", f"how large the memory windows of {card} are")
        return
    needed = sum(bar.size_bytes for one in outlook.functions for bar in one.bars if bar.is_64bit)
    window = _window(outlook.cpu, hardware.physical_bits)
    if outlook.cpu is not None and needed > window:
        yield _blocker(
            "bar-aperture",
            f"memory windows of {card} do not fit into a guest",
            f"they need {format_bytes(needed)}; the guest's firmware has {format_bytes(window)} for them",
            "cpu: host"
            if _type(outlook.cpu) != "host"
            else "as root on the node: qm set VMID --args '-fw_cfg name=opt/ovmf/X-PciMmio64Mb,string=MIB'",
        )


def _window(cpu: str | None, physical_bits: int) -> int:
    if _type(cpu or "") != "host" or not physical_bits:
        return _FIXED_APERTURE
    return int(1 << (min(physical_bits, _MOST_BITS) - 3))


def _type(cpu: str) -> str:
    return property_string.parse(cpu, "cputype").get("cputype", "") if cpu else ""


def _memory(outlook: CardOutlook) -> Iterator[Finding]:
    free, wanted = outlook.memory_available_bytes, outlook.memory_mib
    if wanted is None:
        return
    if free is None:
        free = outlook.hardware.memory_available_bytes if outlook.hardware else None
    if free is None:
        yield unknown("ram-pinned", f"how much memory node {outlook.card.node} has free")
    elif wanted * _MIB > free - RESERVE_BYTES:
        yield _blocker(
            "ram-pinned",
            f"node {outlook.card.node} has {format_bytes(free)} of memory free",
            f"a VM with a card holds all of its {format_bytes(wanted * _MIB)} from the start,"
            f" and the node keeps {format_bytes(RESERVE_BYTES)}",
            "give the VM less, or shut another one down",
        )


def _machine(outlook: CardOutlook) -> Iterator[Finding]:
    if outlook.machine is not None and "q35" not in outlook.machine:
        yield _blocker(
            "machine-type",
            "the VM's machine is not q35",
            "Proxmox starts no VM with a PCI Express device on another one",
            "qm set VMID --machine q35; a guest's network card then has another name",
        )


def _cpu(outlook: CardOutlook) -> Iterator[Finding]:
    if outlook.cpu is not None and _WITHOUT_AVX.fullmatch(_type(outlook.cpu)):
        yield _blocker(
            "cpu-type",
            f"the VM's CPU type is {_type(outlook.cpu) or 'the default'}, which has no AVX",
            "runtimes are built with AVX and end with an illegal instruction",
            "cpu: host",
        )


def _secure_boot(outlook: CardOutlook) -> Iterator[Finding]:
    values = property_string.parse(outlook.efidisk, "volume") if outlook.efidisk else {}
    if values.get("pre-enrolled-keys", "0") == "1":
        yield Finding(
            "secure-boot",
            Severity.WARNING,
            "the VM's EFI disk has Secure Boot's keys enrolled",
            "a guest that enforces it refuses a driver's module that was built on the spot",
            "mokutil --sb-state in the guest; switch it off in its firmware menu, or make the EFI disk anew"
            " with pre-enrolled-keys=0",
        )


VM_CHECKS: tuple[Callable[[CardOutlook], Iterator[Finding]], ...] = (
    _aperture,
    _memory,
    _machine,
    _cpu,
    _secure_boot,
)
