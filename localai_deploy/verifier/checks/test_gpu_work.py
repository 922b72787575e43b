"""The proof's second half: the model's server computed on the planned card, and on no other device."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from localai_deploy.domain.fit.server_log import ServerMemory, UsedDevice, server_memory
from localai_deploy.verifier.checking import Evidence, check, expect_none, fail
from localai_deploy.verifier.checks.test_gpu import applicable
from localai_deploy.verifier.expectations import Expected
from localai_deploy.verifier.gpu_evidence import GpuState, GpuWork, NvmlCard, same_slot
from localai_deploy.verifier.proof import MEMORY, OFFLOAD, WORK

MIB = 1 << 20
MARGIN = 0.1
CONTEXT_BYTES = 700 * MIB
"""At most what CUDA takes for itself in a process: 555 MiB were measured on a card of 188 multiprocessors."""
LEAST_RISE_W = 3.0
LEAST_RISE = 0.05
LEAST_UTILISATION_RISE = 5


@check(OFFLOAD, "the server itself tells that the planned layers are on the planned card")
def test_gpu_offload(
    gpu: GpuState, work: GpuWork, expected: Expected, planned_card: Sequence[str], evidence: Evidence
) -> None:
    told = server_memory(work.lines)
    evidence.update(
        planned_layers=expected.gpu_layers,
        layers=list(told.offloaded) if told.offloaded else None,
        devices=[f"{one.backend} ({one.name}) {one.pci}".strip() for one in told.devices],
        libraries=list(work.libraries),
        log=[line for _, line in work.log if "offload" in line or "using device" in line],
    )
    expect_none(
        [
            *library_problems(work),
            *layer_problems(told, expected.gpu_layers, work.log_error),
            *(one for device in told.devices for one in device_problems(device, gpu, planned_card)),
        ]
    )


def library_problems(work: GpuWork) -> Iterator[str]:
    """A server that has not even opened CUDA's driver."""
    if not work.pids:
        yield "the service has no main process"
    elif not any(PurePosixPath(path).name.startswith("libcuda.so") for path in work.libraries):
        loaded = ", ".join(PurePosixPath(path).name for path in work.libraries) or "no GPU library"
        yield f"the server has not loaded libcuda (it has {loaded}): a build for the CPU, or no driver"


def layer_problems(told: ServerMemory, planned: int, log_error: str) -> Iterator[str]:
    """Whether as many layers as planned are on a card; ``planned`` above the model's number means all."""
    if planned <= 0:
        yield "a card is planned, but the deployment puts no layer on it"
    if told.offloaded is None:
        yield f"the server's log tells of no layer on a card{': ' + log_error if log_error else ''}"
        return
    done, there = told.offloaded
    if done == 0 or done != min(planned, there):
        yield f"the server put {done} of {there} layers on a card, not {min(planned, there)}"
    if not told.devices:
        yield "the server's log names no device that it uses"


def device_problems(device: UsedDevice, gpu: GpuState, planned: Sequence[str]) -> Iterator[str]:
    """A device that is no CUDA card of the plan: a software renderer, or another card."""
    if not re.fullmatch(r"CUDA\d+", device.backend):
        yield f"the server uses {device.backend} ({device.name}), which is no CUDA card"
        return
    card = next((one for one in gpu.cards if same_slot(one.pci, device.pci)), None)
    if device.pci and card is None:
        yield f"the server uses {device.backend} at {device.pci}, where the driver shows no card"
    elif device.name not in [one.name for one in ([card] if card else gpu.cards)]:
        yield f"the server uses {device.backend} ({device.name}), which the driver does not show"
    elif card and not is_planned(card, planned):
        yield f"the server uses {card.name} ({card.ids}), which is not the planned card"


def is_planned(card: NvmlCard, planned: Sequence[str]) -> bool:
    """Whether the plan names the card; a plan without ids means whatever cards the host has."""
    return not planned or card.ids in planned


@check(MEMORY, "the server's process holds the model's memory on the planned card")
def test_gpu_memory(
    gpu: GpuState, work: GpuWork, expected: Expected, planned_card: Sequence[str], evidence: Evidence
) -> None:
    told = server_memory(work.lines).cuda_bytes
    predicted = expected.gpu_memory_bytes or told
    held = {card.uuid: work.held_bytes(card.uuid) for card in gpu.cards}
    evidence.update(
        predicted_bytes=predicted,
        predicted_by="the plan" if expected.gpu_memory_bytes else "the server's log",
        margin=f"{MARGIN:.0%} below; {MARGIN:.0%} and {CONTEXT_BYTES // MIB} MiB of CUDA's own above",
        held_bytes=dict(held),
        processes={uuid: dict(one.get("processes", {})) for uuid, one in work.busy.cards.items()},
    )
    applicable(MEMORY, gpu)
    if work.error:
        fail(f"the cards cannot be watched: {work.error}")
    expect_none(
        [*other_card_problems(gpu, held, planned_card), *memory_problems(gpu, work, predicted, planned_card)]
    )


def other_card_problems(
    gpu: GpuState, held: Mapping[str, int | None], planned: Sequence[str]
) -> Iterator[str]:
    """Memory of the service on a card that it was not given."""
    for card in gpu.cards:
        if held[card.uuid] and not is_planned(card, planned):
            yield f"the service holds memory on {card.uuid} ({card.ids}), which was not planned"


def memory_problems(gpu: GpuState, work: GpuWork, predicted: int, planned: Sequence[str]) -> Iterator[str]:
    """Too little or too much on the planned cards; who holds memory there instead."""
    cards = [one for one in gpu.cards if is_planned(one, planned)]
    amounts = [work.held_bytes(one.uuid) for one in cards]
    if predicted <= 0:
        yield "neither the plan nor the server's log says how much memory the card must hold"
    if None in amounts:
        yield "the driver does not tell the service's memory"
        return
    held = sum(amount or 0 for amount in amounts)
    if held == 0:
        others = ", ".join(strangers(work, cards)) or "nobody"
        yield f"the service holds no memory on the planned card; {others} does"
    elif held < predicted * (1 - MARGIN):
        yield f"the service holds {held // MIB} MiB on the card, predicted are {predicted // MIB} MiB"
    elif held > predicted * (1 + MARGIN) + CONTEXT_BYTES * len(cards):
        yield f"the service holds {held // MIB} MiB on the card, predicted are only {predicted // MIB} MiB"


def strangers(work: GpuWork, cards: Sequence[NvmlCard]) -> Iterator[str]:
    """Processes with memory on the cards: ``process 99 (4000 MiB)``."""
    for card in cards:
        for pid, held in work.busy.cards.get(card.uuid, {}).get("processes", {}).items():
            yield f"process {pid} ({(held or 0) // MIB} MiB)"


@check(WORK, "energy or utilisation of the card rises while the model answers")
def test_gpu_work(gpu: GpuState, work: GpuWork, planned_card: Sequence[str], evidence: Evidence) -> None:
    cards = [one for one in gpu.cards if is_planned(one, planned_card)]
    spans = {one.uuid: (figures(work, one, "idle"), figures(work, one, "busy")) for one in cards}
    completion = work.completion
    evidence.update(
        cards={uuid: {"idle": idle, "busy": busy} for uuid, (idle, busy) in spans.items()},
        tokens_per_s=completion.get("timings", {}).get("predicted_per_second"),
    )
    if work.error:
        fail(f"the cards cannot be watched: {work.error}")
    if completion["status"] != 200:
        fail(f"no completion ran: {completion['error']}")
    if not spans:
        fail("the driver shows no planned card")
    if not any(rises(idle, busy) for idle, busy in spans.values()):
        fail(f"neither energy nor utilisation rises over idle: {'; '.join(map(in_words, spans.values()))}")


def figures(work: GpuWork, card: NvmlCard, which: str) -> dict[str, Any]:
    """Watts and utilisation of a span, and where the watts come from."""
    span = work.idle if which == "idle" else work.busy
    one = span.cards.get(card.uuid, {})
    energy_j = one.get("energy_j")
    return {
        "seconds": span.seconds,
        "watts": one.get("power_w") if energy_j is None else round(energy_j / max(span.seconds, 0.001), 2),
        "by": "power polling" if energy_j is None else "energy counter",
        "utilisation": one.get("utilisation"),
    }


def rises(idle: Mapping[str, Any], busy: Mapping[str, Any]) -> bool:
    """Whether the busy span is above the idle one by more than a sensor's noise."""
    if idle["watts"] is not None and busy["watts"] is not None:
        least = max(LEAST_RISE_W, idle["watts"] * LEAST_RISE)
        if busy["watts"] - idle["watts"] >= least:
            return True
    if idle["utilisation"] is None or busy["utilisation"] is None:
        return False
    return bool(busy["utilisation"] - idle["utilisation"] >= LEAST_UTILISATION_RISE)


def in_words(span: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str:
    """``21.5 W and 0 % idle, 21.6 W and 0 % busy``."""
    return ", ".join(
        f"{one['watts']} W and {one['utilisation']} % {name}"
        for one, name in zip(span, ("idle", "busy"), strict=True)
    )
