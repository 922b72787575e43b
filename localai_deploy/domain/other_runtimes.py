"""Recognise inference runtimes that are not ours by units, processes and programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from localai_deploy.domain import paths
from localai_deploy.domain.facts import OtherRuntime
from localai_deploy.domain.observation_sections import printable

KINDS = {
    "ollama": "ollama",
    "vllm": "vllm",
    "llama-server": "llama-server",
    "llama.cpp": "llama-server",
    "llama_cpp": "llama-server",
    "llama-cpp": "llama-server",
    "llamafile": "llamafile",
    "koboldcpp": "koboldcpp",
    "lms": "lmstudio",
    "lm-studio": "lmstudio",
    "lmstudio": "lmstudio",
    "llmster": "lmstudio",
    "local-ai": "localai",
    "localai": "localai",
    "tabbyapi": "tabbyapi",
    "aphrodite": "aphrodite",
    "sglang": "sglang",
    "text-generation-launcher": "text-generation-inference",
    "text-generation-server": "text-generation-inference",
    "text_generation_server": "text-generation-inference",
    "text-generation-webui": "text-generation-webui",
}
"""Name of a unit, program, Python module or directory, in lower case → the runtime it belongs to."""

_INTERPRETERS = ("python", "pypy", "node", "bash", "sh")


@dataclass(frozen=True, slots=True)
class Process:
    """A running process: ``arguments`` are the first few of its command line.

    :param executable: empty when it is another user's and the look was not taken as root.
    """

    pid: int
    executable: str
    arguments: tuple[str, ...]


def other_runtimes(
    units: Iterable[str], processes: Iterable[Process], programs: Iterable[str]
) -> tuple[OtherRuntime, ...]:
    """Every runtime once, with the strongest evidence: a unit, else a process, else a program."""
    evidence: dict[str, str] = {}
    for kind, text in (*_of_units(units), *_of_processes(processes), *_of_programs(programs)):
        evidence.setdefault(kind, text)
    return tuple(OtherRuntime(kind, text) for kind, text in sorted(evidence.items()))


def _of_units(units: Iterable[str]) -> Iterator[tuple[str, str]]:
    for unit in units:
        if kind := _kind(unit.removesuffix(".service").partition("@")[0]):
            yield kind, f"unit {unit}"


def _of_processes(processes: Iterable[Process]) -> Iterator[tuple[str, str]]:
    for process in processes:
        program = process.executable or "".join(process.arguments[:1])
        if not program.startswith(f"{paths.PREFIX_DIR}/"):
            for word in _telling_words(process.arguments):
                if kind := _kind(word):
                    yield kind, f"process {process.pid} {word}"


def _of_programs(programs: Iterable[str]) -> Iterator[tuple[str, str]]:
    for program in programs:
        if not program.startswith(f"{paths.PREFIX_DIR}/") and (kind := _kind(program.rpartition("/")[2])):
            yield kind, f"program {printable(program)}"


def _telling_words(arguments: tuple[str, ...]) -> Iterator[str]:
    """Give the program's name and, of an interpreter, its script's or module's."""
    if not arguments:
        return
    name = _base_name(arguments[0]).partition(":")[0]
    yield name
    if name.startswith(_INTERPRETERS):
        rest = arguments[1:]
        module = rest[1].partition(".")[0] if rest[:1] == ("-m",) and rest[1:] else ""
        script = next((word for word in rest if not word.startswith("-")), "")
        yield module or _base_name(script)


def _base_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2].removesuffix(".py")


def _kind(name: str) -> str:
    return KINDS.get(name.lower().lstrip("."), "")
