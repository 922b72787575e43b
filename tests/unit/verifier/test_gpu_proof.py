"""The proof's negative cases: each is red at its named step, and what is right stays green."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from gpu_samples import (
    CARD,
    COMPLETION,
    DEVICE,
    GPU,
    LOG,
    MIB,
    NAME,
    OPEN_MODULE,
    OTHER_UUID,
    WORK,
    WSL,
    span,
)
from verifier_doubles import EXPECTED, RECORD, changed, verdicts

from localai_deploy.domain.fit.server_log import UsedDevice, buffers, load_seconds, server_memory
from localai_deploy.verifier import proof
from localai_deploy.verifier.gpu_evidence import GpuState, Library, same_slot

STEPS = ["gpu-driver", "gpu-card", "gpu-kernel", "gpu-offload", "gpu-memory", "gpu-work", "gpu-xid"]
OTHER_CARD = {**CARD, "uuid": OTHER_UUID, "name": "NVIDIA GeForce GTX 1050 Ti", "ids": "10de:1c82"}
NO_DRIVER = {
    **GPU,
    "module": "",
    "module_cards": {},
    "functions": [{**one, "driver": "nouveau"} for one in GPU["functions"]],
    "nvml": {
        **GPU["nvml"],
        "error": "libnvidia-ml.so.1: cannot open shared object file",
        "library_version": "",
        "file": "",
        "cards": [],
    },
    "cuda": {
        **GPU["cuda"],
        "error": "libcuda.so.1: cannot open shared object file",
        "file": "",
        "devices": [],
    },
}
ONE_DEVICE = changed(EXPECTED, "record/devices", ["10de:2684"])
UNWATCHED = {"error": "libnvidia-ml.so.1: cannot open shared object file", "idle": span(0, 0, {})}


def log(*lines: str) -> list[list[Any]]:
    return [[1.0, line] for line in lines]


def service(**changes: Any) -> dict[str, Any]:
    return {**WORK["service"], **changes}


def work(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(WORK), **changes}


def without_offload() -> dict[str, Any]:
    """A server on the processor alone: the card stays idle."""
    lines = log(
        "warning: no usable GPU found, --gpu-layers option will be ignored",
        "load_tensors:   CPU_Mapped model buffer size =    92.10 MiB",
        "llama_kv_cache:        CPU KV buffer size =    90.00 MiB",
    )
    return work(
        busy=span(21.6, 0, {}),
        service=service(libraries=[], devices=[], log={"error": "", "lines": lines}),
    )


def no_layers() -> dict[str, Any]:
    """CUDA is there and takes its context, but every layer is on the processor."""
    lines = log(
        f"llama_model_load_from_file_impl: using device CUDA0 ({NAME}) (0000:01:00.0) - 23642 MiB free",
        "load_tensors: offloaded 0/31 layers to GPU",
        "load_tensors:   CPU_Mapped model buffer size =    92.10 MiB",
        "llama_kv_cache:        CPU KV buffer size =    90.00 MiB",
        "sched_reserve:      CUDA0 compute buffer size =   124.00 MiB",
    )
    held = {"812": 460 * MIB}
    return work(
        idle=span(21.5, 0, held),
        busy=span(22.0, 1, held),
        service=service(log={"error": "", "lines": lines}),
    )


def software_renderer() -> dict[str, Any]:
    """Vulkan counts llvmpipe as a device, and llama.cpp takes it."""
    lines = log(
        "ggml_vulkan: 0 = llvmpipe (LLVM 19.1.7, 256 bits) (llvmpipe) | uma: 0 | fp16: 1",
        "using device Vulkan0 (llvmpipe (LLVM 19.1.7, 256 bits)) - 24105 MiB free",
        "load_tensors: offloaded 31/31 layers to GPU",
        "load_tensors:      Vulkan0 model buffer size =    92.10 MiB",
    )
    return work(
        busy=span(21.6, 0, {}),
        service=service(libraries=["/usr/lib/libvulkan.so.1"], devices=[], log={"error": "", "lines": lines}),
    )


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
    "cpu-only build": (
        GPU,
        without_offload(),
        {
            "gpu-offload": "has not loaded libcuda (it has no GPU library)",
            "gpu-memory": "neither the plan nor the server's log says",
            "gpu-work": "21.5 W and 0 % idle, 21.6 W and 0 % busy",
        },
    ),
    "CUDA build with -ngl 0": (
        GPU,
        no_layers(),
        {
            "gpu-offload": "put 0 of 31 layers on a card, not 31",
            "gpu-work": "neither energy nor utilisation rises",
        },
    ),
    "software renderer": (
        GPU,
        software_renderer(),
        {
            "gpu-offload": "uses Vulkan0 (llvmpipe (LLVM 19.1.7, 256 bits)), which is no CUDA card",
            "gpu-memory": "holds no memory on the planned card; nobody does",
            "gpu-work": "neither energy nor utilisation rises",
        },
    ),
    "forged nvidia-smi": (
        NO_DRIVER,
        {**without_offload(), **UNWATCHED},
        {
            "gpu-driver": "NVIDIA's kernel module is not loaded",
            "gpu-card": "the driver shows no card: libnvidia-ml.so.1",
            "gpu-kernel": "CUDA has no device: libcuda.so.1",
            "gpu-offload": "has not loaded libcuda",
            "gpu-memory": "the cards cannot be watched",
            "gpu-work": "the cards cannot be watched",
        },
    ),
    "another process holds the memory": (
        GPU,
        work(busy=span(74.0, 61, {"4711": 4000 * MIB})),
        {"gpu-memory": "holds no memory on the planned card; process 4711 (4000 MiB) does"},
    ),
    "wrong card": (
        {
            **GPU,
            "functions": [{**GPU["functions"][0], "ids": "10de:1c82"}, GPU["functions"][1]],
            "module_cards": {"0000:01:00.0": OTHER_UUID},
            "nvml": {**GPU["nvml"], "cards": [OTHER_CARD]},
            "cuda": {
                **GPU["cuda"],
                "devices": [{**DEVICE, "uuid": OTHER_UUID, "name": "NVIDIA GeForce GTX 1050 Ti"}],
            },
        },
        work(
            busy={
                "seconds": 3.0,
                "cards": {OTHER_UUID: span(74.0, 61, {"812": 702 * MIB})["cards"][CARD["uuid"]]},
            },
            service=service(
                log={
                    "error": "",
                    "lines": [[at, text.replace(NAME, "NVIDIA GeForce GTX 1050 Ti")] for at, text in LOG],
                }
            ),
        ),
        {
            "gpu-card": "none of 10de:22ba, 10de:2684 is a card on this host's PCI bus",
            "gpu-kernel": "CUDA shows none of the planned cards",
            "gpu-offload": "(10de:1c82), which is not the planned card",
            "gpu-memory": f"holds memory on {OTHER_UUID} (10de:1c82), which was not planned",
            "gpu-work": "the driver shows no planned card",
        },
    ),
    "stale library": (
        {
            **GPU,
            "nvml": {
                **GPU["nvml"],
                "error": "nvmlInit_v2 gives error 18",
                "library_version": "12.535.261.03",
                "cards": [],
            },
            "cuda": {**GPU["cuda"], "error": "cuInit gives error 803", "devices": []},
        },
        {**without_offload(), **UNWATCHED},
        {
            "gpu-driver": "libnvidia-ml is 535.261.03, the loaded module 550.163.01",
            "gpu-card": "the driver shows no card: nvmlInit_v2 gives error 18",
            "gpu-kernel": "CUDA has no device: cuInit gives error 803",
            "gpu-offload": "has not loaded libcuda",
            "gpu-memory": "the cards cannot be watched",
            "gpu-work": "the cards cannot be watched",
        },
    ),
}


def steps(found: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {name: found[name] for name in STEPS}


@pytest.mark.parametrize("name", CASES)
def test_each_case_is_red_at_its_steps_and_nowhere_else(name: str) -> None:
    gpu, done, red = CASES[name]
    found = steps(verdicts(gpu=gpu, work=done))
    assert {step for step, (outcome, _) in found.items() if outcome == "fail"} == set(red)
    for step, words in red.items():
        assert words in found[step][1]


def test_a_card_at_work_passes_every_step() -> None:
    assert steps(verdicts()) == dict.fromkeys(STEPS, ("pass", ""))


FAULTS: list[tuple[str, str, Any, str]] = [
    ("gpu-driver", "module", "", "is not loaded"),
    ("gpu-driver", "module", OPEN_MODULE, "libcuda is 550.163.01, the loaded module 570.133.07"),
    ("gpu-driver", "nvml/library_version", "", ""),
    ("gpu-card", "nvml/cards/0/ids", "10de:2704", "10de:2684 is shown 0 times by the driver, not 1"),
    ("gpu-card", "nvml/cards/0/uuid", "", "has no UUID"),
    ("gpu-card", "cuda/devices", [], "CUDA does not show GPU-6b7e"),
    ("gpu-card", "cuda/devices/0/pci", "0000:02:00.0", "at 0000:02:00.0 for CUDA"),
    ("gpu-card", "cuda/devices/0/name", "llvmpipe", "is llvmpipe at"),
    ("gpu-card", "module_cards", {}, "the kernel module knows no GPU-6b7e"),
    ("gpu-card", "functions/0/address", "0000:02:00.0", "the PCI bus has no 10de:2684 at 00000000:01:00.0"),
    ("gpu-kernel", "cuda/devices/0/kernel/wrong", 3, "3 of 1048576 words that GPU-6b7e"),
    ("gpu-kernel", "cuda/devices/0/kernel/words", 0, "0 of 0 words"),
    ("gpu-kernel", "cuda/devices/0/kernel/error", "cuLaunchKernel gives error 719", "error 719"),
    ("gpu-xid", "log/error", "dmesg: Operation not permitted", "cannot be read: dmesg"),
    (
        "gpu-xid",
        "log/xids",
        [{"pci": "0000:01:00", "xid": 79, "text": "fell off"}],
        "Xid 79 on 0000:01:00: fell off",
    ),
]


@pytest.mark.parametrize(("step", "path", "value", "words"), FAULTS)
def test_one_fault_of_the_card(step: str, path: str, value: Any, words: str) -> None:
    outcome, detail = verdicts(gpu=changed(GPU, path, value))[step]
    assert outcome == ("fail" if words else "pass")
    assert words in detail


WORK_FAULTS: list[tuple[str, str, Any, str]] = [
    ("gpu-offload", "service/pids", [], "the service has no main process"),
    ("gpu-offload", "service/log", {"error": "no journal", "lines": []}, "of no layer on a card: no journal"),
    (
        "gpu-offload",
        "service/log/lines/3/1",
        "load_tensors: offloaded 20/31 layers to GPU",
        "20 of 31 layers",
    ),
    ("gpu-offload", "service/log/lines/1/1", "", "names no device that it uses"),
    (
        "gpu-offload",
        "service/log/lines/1/1",
        f"using device CUDA0 ({NAME}) (0000:05:00.0) - 1 MiB free",
        "at 0000:05:00.0, where the driver shows no card",
    ),
    (
        "gpu-memory",
        "busy",
        span(74, 61, {"812": 200 * MIB}),
        "holds 200 MiB on the card, predicted are 279 MiB",
    ),
    (
        "gpu-memory",
        "busy",
        span(74, 61, {"812": 9000 * MIB}),
        "9000 MiB on the card, predicted are only 279 MiB",
    ),
    ("gpu-memory", "busy", span(74, 61, {"812": None}), "does not tell the service's memory"),
    ("gpu-work", "busy", span(23.0, 3, {}), "21.5 W and 0 % idle, 23.0 W and 3 % busy"),
    ("gpu-work", "completion", {**COMPLETION, "status": 500, "error": "out of memory"}, "out of memory"),
]


@pytest.mark.parametrize(("step", "path", "value", "words"), WORK_FAULTS)
def test_one_fault_of_the_work(step: str, path: str, value: Any, words: str) -> None:
    outcome, detail = verdicts(work=changed(WORK, path, value))[step]
    assert outcome == "fail"
    assert words in detail


def test_either_energy_or_utilisation_is_enough() -> None:
    by_energy = verdicts(work=work(busy=span(40.0, 0, {"812": 702 * MIB})))
    by_utilisation = verdicts(work=work(busy=span(21.5, 9, {"812": 702 * MIB})))
    assert by_energy["gpu-work"] == by_utilisation["gpu-work"] == ("pass", "")


def test_the_plans_memory_is_what_counts_where_it_tells_one() -> None:
    planned = changed(EXPECTED, "record", {**RECORD, "gpu_memory_bytes": 4000 * MIB})
    assert "predicted are 4000 MiB" in verdicts(expected=planned)["gpu-memory"][1]


@pytest.mark.parametrize(
    "plan",
    [
        {"variant": "cuda", "gpu_layers": 0, "devices": []},
        {"variant": "cpu", "gpu_layers": 5, "devices": []},
        {"variant": "cpu", "gpu_layers": 0, "devices": ["10de:2684"]},
    ],
)
def test_a_planned_card_that_is_not_there_fails(plan: dict[str, Any]) -> None:
    found = verdicts(expected={**EXPECTED, "record": {**RECORD, **plan}}, gpu=NO_DRIVER)
    assert found["gpu-card"][0] == "fail"


def test_wsl_has_steps_that_cannot_be_given_and_never_pass() -> None:
    found = steps(verdicts(expected=ONE_DEVICE, gpu=WSL))
    assert {step: outcome for step, (outcome, _) in found.items()} == {
        "gpu-driver": "skip",
        "gpu-card": "pass",
        "gpu-kernel": "pass",
        "gpu-offload": "pass",
        "gpu-memory": "skip",
        "gpu-work": "pass",
        "gpu-xid": "skip",
    }
    assert all(reason.startswith("n/a: ") for outcome, reason in found.values() if outcome == "skip")


def test_in_wsl_a_wrong_card_is_still_wrong() -> None:
    gpu = changed(WSL, "nvml/cards/0/ids", "10de:1c82")
    assert "10de:2684 is shown 0 times" in verdicts(expected=ONE_DEVICE, gpu=gpu)["gpu-card"][1]


def test_the_table_of_steps() -> None:
    assert proof.table() == {
        "devices-present": {"linux llama_cpp": "yes", "wsl llama_cpp": "n/a"},
        "gpu-driver": {"linux llama_cpp": "yes", "wsl llama_cpp": "n/a"},
        "gpu-card": {"linux llama_cpp": "yes", "wsl llama_cpp": "yes"},
        "gpu-kernel": {"linux llama_cpp": "yes", "wsl llama_cpp": "yes"},
        "gpu-offload": {"linux llama_cpp": "yes", "wsl llama_cpp": "yes"},
        "gpu-memory": {"linux llama_cpp": "yes", "wsl llama_cpp": "n/a"},
        "gpu-work": {"linux llama_cpp": "yes", "wsl llama_cpp": "yes"},
        "gpu-xid": {"linux llama_cpp": "yes", "wsl llama_cpp": "n/a"},
    }


def test_the_page_has_the_table_and_the_cases() -> None:
    page = (Path(__file__).parents[3] / "docs" / "proof.md").read_text()
    for step, row in proof.table().items():
        assert f"| `{step}` | {' | '.join(row.values())} |" in page
    columns = ["gpu-driver", "gpu-card", "gpu-kernel", "gpu-offload", "gpu-memory", "gpu-work"]
    rows = [" | ".join("✗" if step in red else "" for step in columns) for _, _, red in CASES.values()]
    listed = [
        line.split(" | ", 1)[1] for line in page.splitlines() if line.endswith((" ✗ |", "|  |  | ✗ |  |"))
    ]
    assert listed == [f"{row} |" for row in rows]


def test_what_the_log_tells() -> None:
    told = server_memory(text for _, text in LOG)
    assert told.offloaded == (31, 31)
    assert told.devices == (UsedDevice("CUDA0", NAME, "0000:01:00.0"),)
    assert round(told.cuda_bytes / MIB, 1) == 279.1
    assert set(buffers(text for _, text in LOG)) == {
        ("CPU_Mapped", "model"),
        ("CUDA0", "model"),
        ("CUDA_Host", "output"),
        ("CUDA0", "KV"),
        ("CUDA0", "compute"),
        ("CUDA_Host", "compute"),
    }
    assert load_seconds(tuple((at, text) for at, text in LOG)) == 1.24


@pytest.mark.parametrize(
    ("line", "device"),
    [
        (f"using device CUDA0 ({NAME}) - 22994 MiB free", UsedDevice("CUDA0", NAME, "")),
        (f"using device CUDA1 ({NAME}) (unknown id) - 22994 MiB free", UsedDevice("CUDA1", NAME, "")),
    ],
)
def test_older_and_odd_lines_about_devices(line: str, device: UsedDevice) -> None:
    assert server_memory([line]).devices == (device,)


def test_versions_of_module_and_libraries() -> None:
    assert GpuState.from_data(changed(GPU, "module", OPEN_MODULE)).module_version == "570.133.07"
    assert Library("", "13.580.65.06", "").driver_version == "580.65.06"
    assert Library("", "", "/usr/lib/libcuda.so.535.261.03").driver_version == "535.261.03"
    assert Library("", "", "/usr/lib/wsl/lib/libcuda.so.1").driver_version == ""


def test_addresses_are_written_in_several_ways() -> None:
    assert same_slot("00000000:0A:00.0", "0000:0a:00.0")
    assert same_slot("0000:0a:00", "0a:00.0")
    assert not same_slot("0000:0a:00.0", "0001:0a:00.0")
    assert not same_slot("", "0000:0a:00.0")
