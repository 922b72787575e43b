"""Whether KVM can be used for guests: found out by booting a stock kernel, not by looking at a device file.

There are machines whose `/dev/kvm` takes a guest and never gets its kernel to run.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

KERNELS = Path("/boot")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DEVICE = Path("/dev/kvm")
_TIMEOUT_S = 20.0
_ANSWERS_NAME = "kvm.json"


def kvm_boots(cache: Path, kernels: Path = KERNELS, timeout_s: float = _TIMEOUT_S) -> bool:
    """Whether a kernel of `kernels` boots under KVM; tried once per boot of this machine.

    :param cache: folder in which the answer is kept.
    """
    kernel = _newest_kernel(kernels)
    if kernel is None or not os.access(_DEVICE, os.R_OK | os.W_OK):
        return False
    question = {"boot": _BOOT_ID.read_text().strip(), "kernel": str(kernel)}
    kept = _kept(cache)
    if kept is not None and {**kept, "boots": None} == {**question, "boots": None}:
        return bool(kept["boots"])
    answer = _boots(kernel, timeout_s)
    cache.mkdir(parents=True, exist_ok=True)
    (cache / _ANSWERS_NAME).write_text(json.dumps(question | {"boots": answer}))
    return answer


def _newest_kernel(folder: Path) -> Path | None:
    found = [path for path in folder.glob("vmlinuz*") if path.is_file() and os.access(path, os.R_OK)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _kept(cache: Path) -> dict[str, object] | None:
    try:
        return dict(json.loads((cache / _ANSWERS_NAME).read_text()))
    except (OSError, ValueError):
        return None


def _boots(kernel: Path, timeout_s: float) -> bool:
    """A kernel without a root file system says who it is, then panics; that ends the machine."""
    try:
        done = subprocess.run(
            probe_command(kernel),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (subprocess.TimeoutExpired, FileNotFoundError):
        return False
    return done.returncode == 0 and b"Linux version" in done.stdout


def probe_command(kernel: Path) -> Sequence[str]:
    """QEMU with nothing but a kernel, its messages on stdout."""
    return (
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35", "-accel", "kvm", "-cpu", "host", "-m", "512M", "-serial", "stdio"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"),
    )
