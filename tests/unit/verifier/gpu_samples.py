"""Evidence of a healthy card at work, in the shapes that the probes print.

The log's lines have the form that llama.cpp's loader prints; sizes are those of a small model.
"""

from __future__ import annotations

from typing import Any

MIB = 1 << 20
UUID = "GPU-6b7e11ba-7c31-4d0e-9a51-3f5dd2a1c0de"
OTHER_UUID = "GPU-0f0f0f0f-1111-4222-8333-444455556666"
NAME = "NVIDIA GeForce RTX 4090"
MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8 12:41:17 UTC 2025"
OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.07  Release Build  (x@y)"
LOG = [
    [0.41, "0.00.201.100 I   Device 0: NVIDIA GeForce RTX 4090, compute capability 8.9, VMM: yes"],
    [
        0.52,
        "0.00.310.271 I llama_model_load_from_file_impl: using device CUDA0 (NVIDIA GeForce RTX 4090) "
        "(0000:01:00.0) - 23642 MiB free",
    ],
    [0.90, "0.00.690.114 I load_tensors: offloading 30 repeating layers to GPU"],
    [0.91, "0.00.700.900 I load_tensors: offloaded 31/31 layers to GPU"],
    [0.92, "0.00.710.305 I load_tensors:   CPU_Mapped model buffer size =    28.69 MiB"],
    [0.92, "0.00.710.306 I load_tensors:        CUDA0 model buffer size =    92.10 MiB"],
    [0.95, "0.00.740.518 I llama_context:  CUDA_Host  output buffer size =     0.38 MiB"],
    [0.96, "0.00.750.610 I llama_kv_cache:      CUDA0 KV buffer size =    90.00 MiB"],
    [0.97, "0.00.760.886 I sched_reserve:      CUDA0 compute buffer size =    97.00 MiB"],
    [0.97, "0.00.760.887 I sched_reserve:  CUDA_Host compute buffer size =     9.51 MiB"],
    [1.24, "0.01.030.944 I srv  llama_server: model loaded"],
]
"""279 MiB on the card."""
CARD = {
    "uuid": UUID,
    "name": NAME,
    "pci": "00000000:01:00.0",
    "ids": "10de:2684",
    "memory_bytes": 24564 * MIB,
    "used_bytes": 700 * MIB,
}
DEVICE = {
    "uuid": UUID,
    "pci": "0000:01:00.0",
    "name": NAME,
    "compute_capability": "8.9",
    "memory_bytes": 24080 * MIB,
    "kernel": {"error": "", "words": 1 << 20, "wrong": 0, "seed": 7, "seconds": 0.4},
}
GPU: dict[str, Any] = {
    "wsl": False,
    "functions": [
        {"address": "0000:01:00.0", "ids": "10de:2684", "class": "0300", "driver": "nvidia"},
        {"address": "0000:01:00.1", "ids": "10de:22ba", "class": "0403", "driver": "snd_hda_intel"},
    ],
    "module": MODULE,
    "module_cards": {"0000:01:00.0": UUID},
    "nvml": {
        "error": "",
        "library_version": "12.550.163.01",
        "driver_version": "550.163.01",
        "file": "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.163.01",
        "cards": [CARD],
    },
    "cuda": {
        "error": "",
        "version": "12.4",
        "file": "/usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01",
        "devices": [DEVICE],
    },
    "log": {"error": "", "xids": []},
}
COMPLETION = {
    "status": 200,
    "wall_s": 0.3,
    "error": "",
    "model": "small",
    "text": "Paris.",
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 37, "completion_tokens": 4},
    "timings": {"prompt_per_second": 9120.0, "predicted_per_second": 402.5},
}


def span(watts: float, utilisation: int, held: dict[str, int | None]) -> dict[str, Any]:
    return {
        "seconds": 3.0,
        "cards": {
            UUID: {
                "error": "",
                "energy_j": round(watts * 3, 3),
                "power_w": watts,
                "utilisation": utilisation,
                "processes": held,
                "used_bytes": 700 * MIB,
            }
        },
    }


WORK: dict[str, Any] = {
    "error": "",
    "idle": span(21.5, 0, {"812": 702 * MIB}),
    "busy": span(74.0, 61, {"812": 702 * MIB}),
    "completion": COMPLETION,
    "service": {
        "pids": [812],
        "libraries": ["/opt/e/bin/libggml-cuda.so", "/usr/lib/x86_64-linux-gnu/libcuda.so.550.163.01"],
        "devices": ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"],
        "log": {"error": "", "lines": LOG},
    },
}
WSL: dict[str, Any] = {**GPU, "wsl": True, "functions": [], "module": "", "module_cards": {}}
"""The same card where Windows' driver hands it in; the libraries lie in ``/usr/lib/wsl/lib``."""


def question(joules: float) -> dict[str, Any]:
    """512 tokens read in 0.1 s and 100 written in 0.5 s."""
    return {
        "error": "",
        "prompt_n": 512,
        "prompt_per_second": 5120.0,
        "predicted_n": 100,
        "predicted_per_second": 200.0,
        "first_token_s": 0.1,
        "decode_s": 0.5,
        "prefill_j": {UUID: 20.0},
        "decode_j": {UUID: joules},
    }


BENCH: dict[str, Any] = {
    "error": "",
    "nvml_error": "",
    "methods": {UUID: "energy counter"},
    "idle": {**span(20.0, 0, {"812": 702 * MIB}), "seconds": 3.0},
    "windows": [[question(60.0), question(60.0)], [question(70.0)], [question(80.0)]],
    "service": WORK["service"],
    "resident": {"anonymous_bytes": 300 * MIB, "file_bytes": 95 * MIB, "shared_bytes": 0},
}
