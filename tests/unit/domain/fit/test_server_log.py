"""The server's own log lines: parts by device, layers, and lines that mean nothing here."""

from __future__ import annotations

import pytest

from localai_deploy.domain.fit.server_log import DeviceMemory, ServerMemory, is_host, server_memory

MIB = 1 << 20


def test_a_cpu_build() -> None:
    found = server_memory(
        [
            "0.00.304.075 I load_tensors:   CPU_Mapped model buffer size =    92.00 MiB",
            "0.00.305.725 I llama_context:        CPU  output buffer size =     0.19 MiB",
            "0.00.305.945 I llama_kv_cache:        CPU KV buffer size =    90.00 MiB",
            "0.00.717.670 I sched_reserve:        CPU compute buffer size =    18.50 MiB",
        ]
    )
    assert found == ServerMemory(DeviceMemory(92 * MIB, 90 * MIB, round(18.5 * MIB)))
    assert found.is_known


def test_windows_have_caches_of_their_own_and_split_models_several_buffers() -> None:
    found = server_memory(
        [
            "load_tensors:   CPU_Mapped model buffer size =   100.00 MiB",
            "load_tensors:   CPU_Mapped model buffer size =    50.00 MiB",
            "load_tensors:   CPU_REPACK model buffer size =    25.00 MiB",
            "llama_kv_cache:        CPU KV buffer size =    64.00 MiB",
            "llama_kv_cache:        CPU KV buffer size =    16.00 MiB",
            "llama_memory_recurrent:        CPU RS buffer size =     4.00 MiB",
            "sched_reserve:        CPU compute buffer size =    10.00 MiB",
            "sched_reserve:        CPU compute buffer size =    12.00 MiB",
        ]
    )
    assert found.host == DeviceMemory(175 * MIB, 84 * MIB, 12 * MIB)


def test_cards_and_what_is_pinned_for_them() -> None:
    found = server_memory(
        [
            "load_tensors: offloaded 25/25 layers to GPU",
            "load_tensors:        CUDA0 model buffer size =   300.00 MiB",
            "load_tensors:        CUDA1 model buffer size =   200.00 MiB",
            "load_tensors:    CUDA_Host model buffer size =    30.00 MiB",
            "llama_kv_cache:      CUDA1 KV buffer size =    40.00 MiB",
        ]
    )
    assert found.offloaded == (25, 25)
    assert found.cards == {"CUDA0": DeviceMemory(300 * MIB), "CUDA1": DeviceMemory(200 * MIB, 40 * MIB)}
    assert found.host == DeviceMemory(30 * MIB)
    assert ServerMemory.from_data(found.to_data()) == found


@pytest.mark.parametrize("name", ["CPU", "CPU_Mapped", "CPU_REPACK", "CUDA_Host", "Vulkan_Host", "Host"])
def test_host_buffers(name: str) -> None:
    assert is_host(name)


def test_other_lines_mean_nothing() -> None:
    assert not server_memory(["main: model loaded", "LoRA buffer size = 3.00 MiB", ""]).is_known
