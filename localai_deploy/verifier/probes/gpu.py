"""The host's cards by the PCI bus, the kernel's module and log, NVML, and CUDA, where each must compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from localai_deploy.verifier.probes import cuda_driver, kernel_state, nvml
from localai_deploy.verifier.probes.isolated import call

LIBRARY_TIMEOUT_S = 120.0
"""For a first CUDA call on a cold host: module load and compilation of the kernel."""


def gather(request: dict[str, Any]) -> dict[str, Any]:
    """Evidence about all cards; no service is needed.

    :param request: ``root`` (``/``), ``nvml`` and ``cuda`` (names of the libraries, the first that loads).
    """
    root = Path(request["root"])
    return {
        "wsl": kernel_state.is_wsl(root),
        "functions": kernel_state.pci_functions(root),
        "module": kernel_state.module_text(root),
        "module_cards": kernel_state.module_cards(root),
        "nvml": {**NO_NVML, **call(nvml.read, request["nvml"], LIBRARY_TIMEOUT_S)},
        "cuda": {**NO_CUDA, **call(cuda_driver.read, request["cuda"], LIBRARY_TIMEOUT_S)},
        "log": kernel_state.xid_errors(),
    }


NO_NVML: dict[str, Any] = {"library_version": "", "driver_version": "", "file": "", "cards": []}
NO_CUDA: dict[str, Any] = {"version": "", "file": "", "devices": []}
