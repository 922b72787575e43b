"""NVIDIA's shared libraries by ctypes: the first one that loads, and what its calls say."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any


class CallFailed(Exception):  # noqa: N818 - reads as what happened
    """A library's function is not there or gave an error; the text names both."""


def load(names: list[str]) -> ctypes.CDLL:
    """The first of ``names`` that loads; CallFailed with the loader's words when none does."""
    reason = ""
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            reason = str(error)
    raise CallFailed(reason or "no library is named")


def path_of(name: str) -> str:
    """The file that is mapped for a library of this process, links resolved; empty: none is.

    Its name ends with the driver's version where a package installed it: ``libcuda.so.550.163.01``.
    """
    lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) > 5}
    found = sorted(path for path in paths if os.path.basename(path).startswith(name))  # noqa: PTH119
    return found[0] if found else ""


def call(library: ctypes.CDLL, name: str, *arguments: Any) -> None:  # noqa: ANN401 - ctypes values
    """Call a function that gives 0 on success; CallFailed with its number otherwise."""
    code = code_of(library, name, *arguments)
    if code != 0:
        raise CallFailed(f"{name} gives error {code}")


def code_of(library: ctypes.CDLL, name: str, *arguments: Any) -> int:  # noqa: ANN401 - ctypes values
    """What a function gives; CallFailed when the library has no such function."""
    try:
        function = getattr(library, name)
    except AttributeError:
        raise CallFailed(f"{name} is not in the library") from None
    return int(function(*arguments))


def text_of(library: ctypes.CDLL, name: str, *first: Any, size: int = 96) -> str:  # noqa: ANN401
    """A text that a function writes into a buffer of ``size`` bytes."""
    buffer = ctypes.create_string_buffer(size)
    call(library, name, *first, buffer, ctypes.c_uint(size))
    return buffer.value.decode("utf-8", "replace")
