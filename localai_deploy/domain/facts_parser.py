"""Parse what ``targets/observe.sh`` prints: pure, and robust against whatever a host's files hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from localai_deploy.domain.facts import (
    CorruptRecord,
    FileFact,
    HostFacts,
    InstalledPackage,
    Record,
    UnitFact,
    record_from_data,
)
from localai_deploy.domain.gpu.nvidia_facts import nvidia_facts
from localai_deploy.domain.listeners import kernel_listeners, socket_listeners
from localai_deploy.domain.model_facts import model_facts
from localai_deploy.domain.observation_sections import decode_sections, decode_text, printable
from localai_deploy.domain.other_runtimes import Process, other_runtimes
from localai_deploy.domain.wsl.facts import WslFacts, wsl_facts

CPU_FLAGS = frozenset({"avx", "avx2", "avx512f", "f16c", "fma", "sse4_2", "asimd", "sve"})
_PACKAGE_LINE = re.compile(r'(?:\./)?(.+\.json):( +)"(name|version|build|sha256)": "([^"\\]*)",?')
_ARGUMENT_END = "\x1f"


def parse_facts(output: str) -> HostFacts:
    """Make facts out of the script's output.

    :raises LocalaiError: ``host-unreadable`` when the output is cut short.
    """
    sections = decode_sections(output)
    release = _key_values(sections.get("os_release", ""))
    return HostFacts(
        hostname=_line(sections, "hostname"),
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_pretty_name=release.get("PRETTY_NAME", ""),
        architecture=_line(sections, "architecture"),
        kernel=_line(sections, "kernel"),
        virtualization=_virtualization(sections),
        systemd_version=_integer(_line(sections, "systemd").partition(" ")[2]),
        systemd_running=_line(sections, "systemd_running") == "yes",
        python_version=_after("Python ", _line(sections, "python")),
        is_root=_line(sections, "uid") == "0",
        memory_bytes=_memory(sections.get("meminfo", "")),
        cpu_count=_integer(_line(sections, "cpu_count")),
        libc_version=_after("glibc ", _line(sections, "libc")),
        cpu_flags=tuple(sorted(CPU_FLAGS & set(sections.get("cpu_flags", "").split()))),
        free_bytes=_free(sections.get("free", "")),
        listening=(
            socket_listeners(sections.get("sockets", ""), sections.get("cgroups", ""))
            or kernel_listeners(sections.get("proc_net", ""), sections.get("unit_sockets", ""))
        ),
        runtimes=other_runtimes(
            sections.get("units", "").split(),
            _processes(sections),
            f"{sections.get('binaries', '')}\n{sections.get('directories', '')}".splitlines(),
        ),
        deployment=_record(sections.get("deployment")),
        lock=_record(sections.get("lock")),
        runtime=_record(sections.get("runtime")),
        fit=_record(sections.get("fit")),
        files=_files(sections.get("files", "")),
        unit=_unit(sections, "unit"),
        gateway=_unit(sections, "gateway") if "gateway" in sections else None,
        installed_packages=_packages(sections.get("packages", "")),
        models=model_facts(sections.get("models", ""), sections.get("records", "")),
        apt_locked=bool(sections.get("apt_locks", "").strip()),
        nvidia=nvidia_facts(sections),
        driver=_record(sections.get("driver")),
        packages_broken=_line(sections, "packages_broken"),
        wsl=_wsl(sections),
    )


def _line(sections: Mapping[str, str], name: str) -> str:
    return printable(sections.get(name, "").strip().partition("\n")[0])


def _integer(text: str) -> int:
    match = re.match(r"\s*([0-9]{1,18})(?![0-9])", text)
    return int(match[1]) if match else 0


def _after(prefix: str, text: str) -> str:
    return text.removeprefix(prefix).strip() if text.startswith(prefix) else ""


def _key_values(text: str) -> dict[str, str]:
    """``KEY=value`` lines of os-release and systemctl; quotes around a value are taken off."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): printable(value.strip().strip("\"'")) for key, _, value in pairs}


def _virtualization(sections: Mapping[str, str]) -> str:
    told = _line(sections, "virtualization")
    if told not in {"", "none", "microsoft"}:
        return told
    has_card = sections.get("dxg", "").strip() and sections.get("wsl_libraries", "").strip()
    return "wsl" if "microsoft" in sections.get("kernel_version", "").lower() or has_card else told


def _wsl(sections: Mapping[str, str]) -> WslFacts:
    if _virtualization(sections) != "wsl":
        return WslFacts()
    return wsl_facts(sections, _line(sections, "kernel"))


def _memory(text: str) -> int:
    line = next((line for line in text.splitlines() if line.startswith("MemTotal:")), "")
    return _integer(line.partition(":")[2]) * 1024


def _free(text: str) -> dict[str, int]:
    """Lines of an asked path and ``df -Pk``'s: device, size, used, free, percent, mount point.

    The device may hold spaces, so the figures are counted from the percent sign.
    """
    found = {}
    for line in text.splitlines():
        match = re.match(r"(\S+) .*?\s\d+\s+\d+\s+(\d{1,15})\s+\d+%\s", line)
        if match:
            found[match[1]] = int(match[2]) * 1024
    return found


def _processes(sections: Mapping[str, str]) -> Iterator[Process]:
    for line in sections.get("processes", "").splitlines():
        pid, _, rest = line.partition("\t")
        executable, _, arguments = rest.partition("\t")
        words = tuple(word for word in arguments.split(_ARGUMENT_END) if word)
        yield Process(_integer(pid), executable, words)


def _record(text: str | None) -> Record:
    if text is None:
        return None
    if not text.strip():
        return CorruptRecord("empty, or not to be read by this user")
    try:
        value = json.loads(text)
    except RecursionError:
        return CorruptRecord("nested too deeply")
    except ValueError as error:
        return CorruptRecord(str(error))
    return CorruptRecord("not a JSON object but null") if value is None else record_from_data(value)


def _files(text: str) -> dict[str, FileFact]:
    found = {}
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) == 4 and fields[2].isdecimal():
            digest, mode, size, path = fields
            found[decode_text(path)] = FileFact("" if digest == "-" else digest, mode, int(size))
    return found


def _unit(sections: Mapping[str, str], name: str) -> UnitFact:
    properties = _key_values(sections.get(name, ""))
    if "LoadState" not in properties:
        return UnitFact()
    return UnitFact(
        load_state=properties["LoadState"],
        active_state=properties.get("ActiveState", "inactive"),
        sub_state=properties.get("SubState", "dead"),
        exec_path=_line(sections, f"{name}_executable"),
        main_pid=_integer(properties.get("MainPID", "0")),
        n_restarts=_integer(properties.get("NRestarts", "0")),
        command=tuple(sections.get(f"{name}_command", "").splitlines()),
    )


def _packages(text: str) -> tuple[InstalledPackage, ...]:
    """Records of conda-meta by their outermost keys; what lies deeper in them is indented more."""
    records: dict[str, dict[str, str]] = {}
    indents: dict[str, int] = {}
    for match in filter(None, map(_PACKAGE_LINE.fullmatch, text.splitlines())):
        file, indent, key, value = match[1], len(match[2]), match[3], match[4]
        if indent < indents.get(file, indent + 1):
            indents[file], records[file] = indent, {}
        if indent == indents[file]:
            records[file].setdefault(key, value)
    return tuple(
        InstalledPackage(one["name"], one.get("version", ""), one.get("build", ""), one.get("sha256", ""))
        for _, one in sorted(records.items())
        if "name" in one
    )
