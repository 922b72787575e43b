"""The proof's first half: the planned card is there, its driver fits, it computes, and reports no error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localai_deploy.verifier.checking import Evidence, check, expect_none, fail, skip
from localai_deploy.verifier.expectations import Expected
from localai_deploy.verifier.gpu_evidence import DISPLAY_CLASSES, GpuState, NvmlCard, same_slot
from localai_deploy.verifier.proof import CARD, DRIVER, KERNEL, XID, not_applicable


@check(DRIVER, "NVIDIA's kernel module is loaded and of its libraries' version")
def test_gpu_driver(gpu: GpuState, planned_card: Sequence[str], evidence: Evidence) -> None:
    del planned_card
    evidence.update(
        module=gpu.module,
        nvml_version=gpu.nvml.version,
        libcuda=gpu.cuda.file,
        bound_to=[f"{one['address']} {one['driver'] or 'no driver'}" for one in gpu.functions],
    )
    applicable(DRIVER, gpu)
    expect_none(driver_problems(gpu))


def driver_problems(gpu: GpuState) -> Iterator[str]:
    """A missing module, a library that cannot be used, or one of another version."""
    if not gpu.module_version:
        yield "NVIDIA's kernel module is not loaded (/proc/driver/nvidia/version tells no version)"
    for name, library in {"libnvidia-ml": gpu.nvml, "libcuda": gpu.cuda}.items():
        version = library.driver_version
        if version and gpu.module_version and version != gpu.module_version:
            yield f"{name} is {version}, the loaded module {gpu.module_version}"
        if library.error:
            yield f"{name} cannot be used: {library.error}"
        elif not version and name == "libnvidia-ml":
            yield f"{name} tells no version"


@check(CARD, "the planned card is seen by its driver, by PCI id and UUID")
def test_gpu_card(gpu: GpuState, expected: Expected, evidence: Evidence) -> None:
    evidence.update(
        platform=gpu.platform,
        cards=[{"uuid": one.uuid, "name": one.name, "ids": one.ids, "pci": one.pci} for one in gpu.cards],
    )
    expect_none([*planned_problems(gpu, expected.devices), *identity_problems(gpu)])


def planned_problems(gpu: GpuState, devices: Sequence[str]) -> Iterator[str]:
    """Planned cards that the driver does not show, by vendor, device and count."""
    if not gpu.cards:
        yield f"the driver shows no card: {gpu.nvml.error or 'NVML finds none'}"
        return
    shown = Counter(one.ids for one in gpu.cards)
    for ids, count in sorted(planned_cards(gpu, devices).items()):
        if shown[ids] < count:
            others = ", ".join(sorted(shown))
            yield f"{ids} is shown {shown[ids]} times by the driver, not {count} times; it shows {others}"
    if devices and not planned_cards(gpu, devices):
        yield f"none of {', '.join(devices)} is a card on this host's PCI bus"


def planned_cards(gpu: GpuState, devices: Sequence[str]) -> Counter[str]:
    """Planned functions that are cards: a card's sound and USB functions are no business of its driver."""
    if gpu.wsl:
        return Counter(devices)
    cards = {one["ids"] for one in gpu.functions if one["class"] in DISPLAY_CLASSES}
    return Counter(ids for ids in devices if ids in cards)


def identity_problems(gpu: GpuState) -> Iterator[str]:
    """Whether module, NVML and CUDA tell of the same cards, so that no single one's word is taken."""
    by_cuda = {one.uuid: one for one in gpu.devices}
    for card in gpu.cards:
        if not card.uuid.startswith("GPU-"):
            yield f"{card.ids} has no UUID"
        device = by_cuda.get(card.uuid)
        if device is None:
            yield f"CUDA does not show {card.uuid}: {gpu.cuda.error or 'it shows other devices'}"
        elif not same_slot(device.pci, card.pci) or device.name != card.name:
            yield f"{card.uuid} is {device.name} at {device.pci} for CUDA, {card.name} at {card.pci} for NVML"
        if not gpu.wsl:
            yield from module_problems(gpu, card)


def module_problems(gpu: GpuState, card: NvmlCard) -> Iterator[str]:
    """Whether the kernel module and the PCI bus know the card."""
    if card.uuid not in gpu.module_cards.values():
        yield f"the kernel module knows no {card.uuid}"
    if not any(same_slot(one["address"], card.pci) and one["ids"] == card.ids for one in gpu.functions):
        yield f"the PCI bus has no {card.ids} at {card.pci}"


@check(KERNEL, "a small kernel computes on the card through the driver API alone")
def test_gpu_kernel(gpu: GpuState, planned_card: Sequence[str], evidence: Evidence) -> None:
    evidence["devices"] = [
        {"uuid": one.uuid, "compute_capability": one.compute_capability, **one.kernel} for one in gpu.devices
    ]
    if not gpu.devices:
        fail(f"CUDA has no device: {gpu.cuda.error or 'it finds none'}")
    planned = {one.uuid for one in gpu.cards if one.ids in planned_card or not planned_card}
    wanted = [one for one in gpu.devices if one.uuid in planned]
    if not wanted:
        fail("CUDA shows none of the planned cards")
    expect_none(problem for one in wanted for problem in kernel_problems(one.uuid, one.kernel))


def kernel_problems(uuid: str, kernel: Mapping[str, Any]) -> Iterator[str]:
    """An error, or words that are not what the host itself computed."""
    if kernel["error"]:
        yield f"the kernel does not run on {uuid}: {kernel['error']}"
    elif kernel["wrong"] or not kernel["words"]:
        yield f"{kernel['wrong']} of {kernel['words']} words that {uuid} computed are wrong"


@check(XID, "the kernel's log has no Xid error of the card since the host started")
def test_gpu_xid(gpu: GpuState, planned_card: Sequence[str], evidence: Evidence) -> None:
    del planned_card
    evidence["xids"] = list(gpu.xids)
    applicable(XID, gpu)
    if gpu.log_error:
        fail(f"the kernel's log cannot be read: {gpu.log_error}")
    expect_none(f"Xid {one['xid']} on {one['pci']}: {one['text'] or 'no more is told'}" for one in gpu.xids)


def applicable(step: str, gpu: GpuState) -> None:
    """End a check that the platform cannot give."""
    if reason := not_applicable(step, gpu.platform):
        skip(f"n/a: {reason}")
