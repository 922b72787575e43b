"""The probes of cards against stand-ins of NVIDIA's libraries, and against files as the kernel shows them."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fake_libraries import VERSION, build
from gpu_samples import CARD, MIB, MODULE, NAME, UUID
from verifier_doubles import run_command

from localai_deploy.verifier.gpu_evidence import GpuState, GpuWork
from localai_deploy.verifier.probes import cuda_driver, gpu, gpu_work, isolated, kernel_state, nvml, service
from localai_deploy.verifier.program import remote_command

NOWHERE = ["/nowhere/libnvidia.so.1"]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("libraries")
    return {
        "nvml": [str(build(folder, "fake_nvml.c", "libnvidia-ml.so"))],
        "cuda": [str(build(folder, "fake_cuda.c", "libcuda.so"))],
    }


def file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host's ``/proc`` and ``/sys`` with one card and its sound function."""
    for address, device, kind in (
        ("0000:01:00.0", "0x2684", "0x030000"),
        ("0000:01:00.1", "0x22ba", "0x040300"),
    ):
        folder = tmp_path / "sys/bus/pci/devices" / address
        file(folder / "vendor", "0x10de\n")
        file(folder / "device", f"{device}\n")
        file(folder / "class", f"{kind}\n")
    file(tmp_path / "sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n")
    file(tmp_path / "sys/bus/pci/drivers/nvidia/uevent", "")
    (tmp_path / "sys/bus/pci/devices/0000:01:00.0/driver").symlink_to(tmp_path / "sys/bus/pci/drivers/nvidia")
    file(tmp_path / "proc/driver/nvidia/version", f"{MODULE}\nGCC version:  gcc version 14.2.0\n")
    file(
        tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information",
        f"Model: \t\t {NAME}\nIRQ:   \t\t 58\nGPU UUID: \t {UUID}\nVideo BIOS: \t 95.02\n",
    )
    return tmp_path


def test_a_card_is_read_by_ctypes(libraries: dict[str, list[str]]) -> None:
    found = isolated.call(nvml.read, libraries["nvml"], 30)
    assert found["error"] == ""
    assert found["library_version"] == f"12.{VERSION}"
    assert found["file"].endswith(f"libnvidia-ml.so.{VERSION}")
    assert found["cards"] == [{**CARD, "used_bytes": 702 * MIB}]


def test_a_stale_library_tells_its_own_version(
    libraries: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML", "mismatch")
    found = isolated.call(nvml.read, libraries["nvml"], 30)
    assert found["error"] == "nvmlInit_v2 gives error 18"
    assert found["library_version"] == "12.535.261.03"


def test_the_kernel_computes_and_every_word_is_checked(libraries: dict[str, list[str]]) -> None:
    found = isolated.call(cuda_driver.read, libraries["cuda"], 60)
    assert (found["error"], found["version"]) == ("", "12.4")
    (device,) = found["devices"]
    assert (device["uuid"], device["pci"], device["name"]) == (UUID, "0000:01:00.0", NAME)
    assert device["compute_capability"] == "8.9"
    assert (device["kernel"]["words"], device["kernel"]["wrong"]) == (1 << 20, 0)


def test_the_closed_form_is_the_generators() -> None:
    value, seed = 0, 0xFFFFFFFE
    for index, word in enumerate(cuda_driver.expected_words(seed, 5, 40)):
        value = (seed + index) & 0xFFFFFFFF
        for _ in range(40):
            value = (value * 1664525 + 1013904223) % 2**32
        assert word == value


@pytest.mark.parametrize(
    ("fault", "error", "kernel"),
    [
        ("wrong-words", "", {"error": "", "words": 1 << 20, "wrong": 1 << 20}),
        ("no-kernel", "", {"error": "cuModuleLoadData gives error 209", "words": 0, "wrong": 0}),
        ("no-device", "", None),
        ("init-fails", "cuInit gives error 100", None),
        ("crash", "it was ended by signal 9", None),
        ("hang", "it did not answer within 2 s", None),
    ],
)
def test_a_library_that_fails_is_told(
    libraries: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    error: str,
    kernel: dict[str, Any] | None,
) -> None:
    monkeypatch.setenv("FAKE_CUDA", fault)
    found = isolated.call(cuda_driver.read, libraries["cuda"], 2 if fault == "hang" else 60)
    assert found["error"] == error
    devices = found.get("devices", [])
    assert bool(devices) == (kernel is not None)
    if kernel:
        assert {name: devices[0]["kernel"][name] for name in kernel} == kernel


def test_what_a_function_raises_is_told() -> None:
    assert isolated.call(lambda _: {}["gone"], None, 5) == {"error": "KeyError: 'gone'"}


def test_the_whole_host_by_the_program_that_is_sent(libraries: dict[str, list[str]], root: Path) -> None:
    command = remote_command("gpu", {"root": str(root), **libraries})
    assert len(command) < 64_000
    state = GpuState.from_data(run_command(command))
    assert state.platform == "linux"
    assert state.module_version == state.nvml.driver_version == state.cuda.driver_version == VERSION
    assert state.module_cards == {"0000:01:00.0": UUID}
    assert [(one["ids"], one["class"], one["driver"]) for one in state.functions] == [
        ("10de:2684", "0300", "nvidia"),
        ("10de:22ba", "0403", ""),
    ]
    assert [one.uuid for one in state.cards] == [one.uuid for one in state.devices] == [UUID]


def test_a_host_without_anything(tmp_path: Path) -> None:
    state = GpuState.from_data(gpu.gather({"root": str(tmp_path), "nvml": NOWHERE, "cuda": NOWHERE}))
    assert (state.module, state.functions, state.cards, state.devices) == ("", (), (), ())
    assert "cannot open shared object file" in state.nvml.error
    assert "cannot open shared object file" in state.cuda.error


def test_a_forged_nvidia_smi_is_not_even_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that tells of a card changes nothing: neither module nor libraries are there."""
    forged = tmp_path / "nvidia-smi"
    file(forged, f"#!/bin/sh\ntouch {tmp_path}/asked\necho '{NAME}, {UUID}, 550.163.01'\n")
    forged.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    state = GpuState.from_data(gpu.gather({"root": str(tmp_path), "nvml": NOWHERE, "cuda": NOWHERE}))
    assert (state.module_version, state.cards, state.devices) == ("", (), ())
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("architecture", ["sm_75", "sm_86", "sm_89", "sm_90", "sm_120"])
def test_the_kernel_is_ptx_that_nvidias_assembler_takes(tmp_path: Path, architecture: str) -> None:
    assembler = shutil.which("ptxas")
    if assembler is None:
        pytest.skip("NVIDIA's ptxas is not installed")
    source = tmp_path / "kernel.ptx"
    source.write_bytes(cuda_driver.KERNEL)
    done = subprocess.run(
        [assembler, "-arch", architecture, source, "-o", tmp_path / "kernel.cubin"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_wsl_is_told_by_its_kernel_and_its_device(tmp_path: Path) -> None:
    file(tmp_path / "proc/sys/kernel/osrelease", "5.15.167.4-microsoft-standard-WSL2\n")
    assert not kernel_state.is_wsl(tmp_path)
    file(tmp_path / "dev/dxg", "")
    assert kernel_state.is_wsl(tmp_path)


def test_xid_lines() -> None:
    text = (
        "usb 1-1: new device\n"
        "NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
        "[ 12.3] NVRM: Xid (PCI:0000:0A:00): 31, pid=812, name=llama-server, Ch 00000008\n"
    )
    assert [(one["pci"], one["xid"]) for one in kernel_state.parse_xids(text)] == [
        ("0000:01:00", 79),
        ("0000:0a:00", 31),
    ]


class Answer(BaseHTTPRequestHandler):
    """An API whose completions keep the stand-in's card busy."""

    busy: Path

    def do_POST(self) -> None:
        self.busy.touch()
        time.sleep(0.3)
        body = b'{"choices": [{"message": {"content": "Paris."}}], "usage": {}, "timings": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.busy.unlink()

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    Answer.busy = tmp_path / "busy"
    monkeypatch.setenv("FAKE_NVML_BUSY", str(Answer.busy))
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def work_request(port: int, names: list[str], **other: Any) -> dict[str, Any]:
    return {
        "unit": "localai-no-such.service",
        "nvml": names,
        "host": "127.0.0.1",
        "port": port,
        "api_key_file": "/nowhere/key",
        "alias": "small",
        "answer_timeout_s": 5.0,
        "idle_s": 0.4,
        "busy_s": 0.5,
        **other,
    }


def test_energy_and_utilisation_rise_with_the_work(
    libraries: dict[str, list[str]], api: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML_PID", str(os.getpid()))
    work = GpuWork.from_data(gpu_work.gather(work_request(api, libraries["nvml"])))
    idle, busy = work.idle.cards[UUID], work.busy.cards[UUID]
    assert work.error == ""
    assert work.completion["text"] == "Paris."
    assert (idle["utilisation"], busy["utilisation"]) == (0, 61)
    assert busy["energy_j"] / work.busy.seconds > 2 * idle["energy_j"] / work.idle.seconds
    assert busy["processes"] == {str(os.getpid()): 702 * MIB}


def test_a_card_without_an_energy_counter_is_polled(
    libraries: dict[str, list[str]], api: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NVML", "no-energy")
    work = GpuWork.from_data(gpu_work.gather(work_request(api, libraries["nvml"])))
    assert work.idle.cards[UUID]["energy_j"] is None
    assert work.idle.cards[UUID]["power_w"] == 21.5


@pytest.mark.parametrize(("fault", "held"), [("old", 640 * MIB), ("wsl", None)])
def test_memory_of_processes_on_older_drivers_and_in_wsl(
    libraries: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, fault: str, held: int | None
) -> None:
    monkeypatch.setenv("FAKE_NVML", fault)
    with nvml.Nvml(libraries["nvml"]) as library:
        (handle,) = library.handles()
        assert library.processes(handle) == [{"pid": 4242, "bytes": held}]


def test_without_a_library_the_work_is_done_all_the_same(api: int) -> None:
    work = GpuWork.from_data(gpu_work.gather(work_request(api, NOWHERE)))
    assert "cannot open shared object file" in work.error
    assert work.completion["status"] == 200
    assert work.busy.cards == {}


def test_a_process_tree_has_the_children_of_children() -> None:
    assert service.tree(os.getpid())[0] == os.getpid()
    assert os.getpid() in service.tree(os.getppid())


def test_the_services_log_keeps_lines_about_devices_alone() -> None:
    text = (
        "[  812.500000] llama-server[91]: load_tensors: offloaded 31/31 layers to GPU\n"
        "[  812.600000] llama-server[91]: request: my secret\n"
        "[  813.000000] llama-server[91]: 0.01.030.944 I srv  llama_server: model loaded\n"
        "-- Boot --\n"
    )
    assert service.told_lines(text, 811.5) == [
        [1.0, "load_tensors: offloaded 31/31 layers to GPU"],
        [1.5, "0.01.030.944 I srv  llama_server: model loaded"],
    ]
