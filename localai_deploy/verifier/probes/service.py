"""The service as systemd runs it: all of its processes, what they hold open, and what it logged."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from localai_deploy.verifier.probes.commands import run
from localai_deploy.verifier.probes.process import mapped_files

PROPERTIES = ("MainPID", "InvocationID", "ExecMainStartTimestampMonotonic")
GPU_LIBRARIES = ("libcuda.so", "libggml-cuda", "libggml-vulkan", "libvulkan", "libggml-hip", "libcudart")
GPU_DEVICES = ("/dev/nvidia", "/dev/dxg", "/dev/dri", "/dev/kfd")
TOLD = (
    "offload",
    "buffer size",
    "using device",
    "compute capability",
    "ggml_cuda",
    "ggml_vulkan",
    "no usable GPU",
    "model loaded",
    "without GPU support",
)
"""What is told of the log: words of lines about devices, memory and loading; nothing that a user typed."""
MOST_LINES = 400
_STAMP = re.compile(r"^\[\s*(\d+\.\d+)\]\s+\S+?:\s?(.*)$")


def read(unit: str) -> dict[str, Any]:
    """Processes (``pids``, the main one first), ``libraries``, ``devices`` and the log of this start."""
    properties = _properties(unit)
    main = int(properties.get("MainPID") or 0)
    pids = tree(main) if main else []
    return {
        "pids": pids,
        "libraries": sorted({path for pid in pids for path in mapped_files(pid) if _is_gpu_library(path)}),
        "devices": sorted({path for pid in pids for path in open_files(pid) if path.startswith(GPU_DEVICES)}),
        "log": read_log(properties),
    }


def tree(main: int) -> list[int]:
    """``main`` and everything that it started."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        parents.setdefault(_parent(folder), []).append(int(folder.name))
    found = [main]
    for pid in found:
        found.extend(sorted(parents.get(pid, [])))
    return found


def open_files(pid: int) -> list[str]:
    """Targets of the process' descriptors."""
    found = []
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.append(os.readlink(link))  # noqa: PTH115
        except OSError:
            continue
    return found


def read_log(properties: dict[str, str]) -> dict[str, Any]:
    """Lines of this start that tell of devices, each with seconds since the start; ``error`` without any."""
    invocation = properties.get("InvocationID", "")
    if not invocation:
        return {"error": "systemd knows no start of the service", "lines": []}
    returncode, text = run(
        *("journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", "--no-pager", "--quiet"),
        *("--no-hostname", "--output=short-monotonic"),
    )
    if returncode != 0:
        return {"error": text.strip()[-300:] or "journalctl failed", "lines": []}
    started_s = int(properties.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    return {"error": "", "lines": told_lines(text, started_s)}


def told_lines(text: str, started_s: float) -> list[list[Any]]:
    """``[[seconds since the start, line]]`` out of ``journalctl -o short-monotonic --no-hostname``."""
    found: list[list[Any]] = []
    for line in text.splitlines():
        stamp = _STAMP.match(line)
        if stamp and any(word in stamp.group(2) for word in TOLD):
            found.append([round(float(stamp.group(1)) - started_s, 3), stamp.group(2)[:300]])
    return found[:MOST_LINES]


def _properties(unit: str) -> dict[str, str]:
    _, text = run("systemctl", "show", unit, f"--property={','.join(PROPERTIES)}")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _is_gpu_library(path: str) -> bool:
    return os.path.basename(path).startswith(GPU_LIBRARIES)  # noqa: PTH119


def _parent(folder: Path) -> int:
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[1])
