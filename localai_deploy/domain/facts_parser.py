"""Parse what ``targets/observe.sh`` prints: pure, and robust against whatever a host's files hold."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from localai_deploy.domain.facts import (
    CorruptRecord,
    FileFact,
    HostFacts,
    InstalledPackage,
    Listener,
    ModelFact,
    OtherRuntime,
    Record,
    UnitFact,
    record_from_data,
)
from localai_deploy.errors import LocalaiError

INTERESTING_FLAGS = frozenset({"avx", "avx2", "avx512f", "f16c", "fma", "sse4_2", "asimd", "sve"})
RUNTIMES = {
    "ollama": "ollama",
    "vllm": "vllm",
    "llama-server": "llama-server",
    "koboldcpp": "koboldcpp",
    "lmstudio": "lmstudio",
    "lms": "lmstudio",
    "local-ai": "localai",
    "localai": "localai",
    "tabbyapi": "tabbyapi",
    "aphrodite": "aphrodite",
}
"""Name of a unit, process or binary → the runtime it belongs to."""

_PID = re.compile(r"pid=(\d+)")
_PROCESS = re.compile(r'\(\("([^"]*)"')


def parse_facts(output: str) -> HostFacts:
    """Make facts out of the script's output.

    :raises LocalaiError: ``host-unreadable`` when the output is cut short.
    """
    sections = _sections(output)
    if "end" not in sections:
        raise LocalaiError(
            "host-unreadable",
            "the look at the host was cut short",
            why=output.strip()[-200:] or "it printed nothing",
            hint="run it again; if it stays, look at the host's own shell",
        )
    release = _key_values(sections.get("os_release", ""))
    units = _pid_units(sections.get("cgroups", ""))
    store = _json_object(sections.get("store", ""))
    return HostFacts(
        hostname=_line(sections, "hostname"),
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_pretty_name=release.get("PRETTY_NAME", ""),
        architecture=_line(sections, "architecture"),
        kernel=_line(sections, "kernel"),
        virtualization=_line(sections, "virtualization"),
        systemd_version=_integer(_line(sections, "systemd").partition(" ")[2]),
        systemd_running=_line(sections, "systemd_running") == "yes",
        python_version=_version(_line(sections, "python"), "Python "),
        is_root=_line(sections, "uid") == "0",
        memory_bytes=_memory(sections.get("meminfo", "")),
        cpu_count=_integer(_line(sections, "cpu_count")),
        libc_version=_version(_line(sections, "libc"), "glibc "),
        cpu_flags=tuple(sorted(INTERESTING_FLAGS & set(sections.get("cpu_flags", "").split()))),
        free_bytes=_free(sections.get("free", "")),
        listening=_listeners(sections.get("sockets", ""), units),
        runtimes=_runtimes(sections),
        deployment=_record(sections.get("deployment")),
        lock=_record(sections.get("lock")),
        runtime=_record(sections.get("runtime")),
        files=_files(sections.get("files", "")),
        unit=_unit(sections),
        installed_packages=tuple(InstalledPackage(**one) for one in store.get("packages", [])),
        models=tuple(ModelFact(**one) for one in store.get("models", [])),
        apt_locked=bool(store.get("apt_locked")),
    )


def _sections(output: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in output.splitlines():
        name, _, encoded = line.partition(" ")
        try:
            content = base64.b64decode(encoded.encode("ascii", "strict"), validate=True)
        except (binascii.Error, ValueError):
            continue
        if re.fullmatch(r"[a-z_]+", name):
            found.setdefault(name, content.decode("utf-8", "replace"))
    return found


def _line(sections: Mapping[str, str], name: str) -> str:
    return sections.get(name, "").strip().partition("\n")[0]


def _integer(text: str) -> int:
    match = re.match(r"\s*(\d+)", text)
    return int(match[1]) if match else 0


def _version(text: str, before: str) -> str:
    return text.removeprefix(before).strip() if text.startswith(before) else ""


def _key_values(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _memory(text: str) -> int:
    line = next((line for line in text.splitlines() if line.startswith("MemTotal:")), "")
    return _integer(line.partition(":")[2]) * 1024


def _free(text: str) -> dict[str, int]:
    found = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 7 and fields[4].isdecimal():
            found[fields[0]] = int(fields[4]) * 1024
    return found


def _pid_units(text: str) -> dict[int, str]:
    found = {}
    for line in text.splitlines():
        pid, _, cgroups = line.partition(" ")
        names = re.findall(r"/([^/\s]+\.service)(?=[/\s]|$)", cgroups)
        if names and pid.isdecimal():
            found[int(pid)] = names[-1]
    return found


def _listeners(text: str, units: Mapping[int, str]) -> tuple[Listener, ...]:
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        address, _, port = fields[3].rpartition(":")
        pid = _PID.search(line)
        process = _PROCESS.search(line)
        number = int(pid[1]) if pid else 0
        if port.isdecimal():
            found.append(
                Listener(
                    address.strip("[]").partition("%")[0],
                    int(port),
                    process[1] if process else "",
                    number,
                    units.get(number, ""),
                )
            )
    return tuple(found)


def _runtimes(sections: Mapping[str, str]) -> tuple[OtherRuntime, ...]:
    """Running units and processes, and installed binaries; each kind once, ours left out."""
    evidence: dict[str, str] = {}
    for line in sections.get("units", "").splitlines():
        unit, _, _ = line.partition(" ")
        kind = RUNTIMES.get(unit.removesuffix(".service").partition("@")[0])
        if kind:
            evidence.setdefault(kind, f"unit {unit}")
    ours = _integer(_unit_properties(sections).get("MainPID", "0"))
    for line in sections.get("processes", "").splitlines():
        pid, _, name = line.partition(" ")
        if RUNTIMES.get(name) and _integer(pid) != ours:
            evidence.setdefault(RUNTIMES[name], f"process {pid} {name}")
    for line in sections.get("binaries", "").splitlines():
        name, _, path = line.partition(" ")
        if RUNTIMES.get(name):
            evidence.setdefault(RUNTIMES[name], f"binary {path}")
    return tuple(OtherRuntime(kind, text) for kind, text in sorted(evidence.items()))


def _record(text: str | None) -> Record:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        return CorruptRecord(str(error))
    return CorruptRecord("it is null") if value is None else record_from_data(value)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _files(text: str) -> dict[str, FileFact]:
    found = {}
    for line in text.splitlines():
        fields = line.split(" ", 3)
        if len(fields) == 4 and fields[2].isdecimal():
            digest, mode, size, path = fields
            found[path] = FileFact("" if digest == "-" else digest, mode, int(size))
    return found


def _unit_properties(sections: Mapping[str, str]) -> dict[str, str]:
    return _key_values(sections.get("unit", ""))


def _unit(sections: Mapping[str, str]) -> UnitFact:
    properties = _unit_properties(sections)
    if not properties:
        return UnitFact()
    return UnitFact(
        load_state=properties.get("LoadState", "not-found"),
        active_state=properties.get("ActiveState", "inactive"),
        sub_state=properties.get("SubState", "dead"),
        exec_path=_line(sections, "unit_executable"),
        main_pid=_integer(properties.get("MainPID", "0")),
        n_restarts=_integer(properties.get("NRestarts", "0")),
        command=tuple(sections.get("unit_command", "").splitlines()),
    )
