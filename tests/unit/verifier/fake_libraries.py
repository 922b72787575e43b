"""NVIDIA's libraries as small C programs with the same interface, so that the probes' ctypes code runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

VERSION = "550.163.01"
HERE = Path(__file__).parent


def build(folder: Path, source: str, name: str) -> Path:
    """The library ``name`` in ``folder``, reached by the link that programs use."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make stand-ins of NVIDIA's libraries with")
    file, link = folder / f"{name}.{VERSION}", folder / f"{name}.1"
    subprocess.run(
        [compiler, "-O2", "-shared", "-fPIC", "-Wall", "-Werror", "-o", file, HERE / source], check=True
    )
    link.symlink_to(file.name)
    return link
