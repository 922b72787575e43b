"""What a host is and holds, as pure values; :mod:`.facts_parser` makes them out of one script's output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from localai_deploy.domain.gpu.nvidia_facts import NvidiaFacts
from localai_deploy.domain.wsl.facts import WslFacts

_CORRUPT_KEY = "$corrupt"


@dataclass(frozen=True, slots=True)
class CorruptRecord:
    """A record that is on the host but is no JSON object; ``reason`` says why it cannot be read."""

    reason: str


Record = Mapping[str, Any] | CorruptRecord | None
"""A JSON object kept on the host; ``None`` when the file is absent."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket; ``process`` and ``unit`` are empty when they cannot be seen."""

    address: str
    port: int
    process: str = ""
    pid: int = 0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class OtherRuntime:
    """An inference runtime that is not ours.

    :param kind: ``ollama``, ``vllm``, ``llama-server``, ``lmstudio``, ``koboldcpp``, ….
    :param evidence: what shows it: ``unit ollama.service``, ``binary /usr/bin/ollama``,
        ``process 812 ollama``.
    """

    kind: str
    evidence: str


@dataclass(frozen=True, slots=True)
class FileFact:
    """A managed file; ``sha256`` is empty for secrets and when it could not be read; ``mode`` is ``0644``."""

    sha256: str
    mode: str
    size: int


@dataclass(frozen=True, slots=True)
class UnitFact:
    """``systemctl show`` of our unit; ``exec_path`` and ``command`` are the running process'."""

    load_state: str = "not-found"
    active_state: str = "inactive"
    sub_state: str = "dead"
    exec_path: str = ""
    main_pid: int = 0
    n_restarts: int = 0
    command: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """The service's main process is up."""
        return self.active_state == "active" and self.sub_state == "running"


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """A package that the conda prefix records; ``sha256`` is the archive's, empty when not recorded."""

    name: str
    version: str
    build: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelFact:
    """A file of the model store.

    :param size_bytes: of the complete file; 0 when it is not there.
    :param sha256: as recorded when it was pulled; empty without a record.
    :param partial_bytes: how much of an unfinished pull lies there.
    :param reference: as recorded, like ``url``, ``revision`` and ``trusted_first_download``.
    """

    file_name: str
    size_bytes: int = 0
    sha256: str = ""
    partial_bytes: int = 0
    reference: str = ""
    url: str = ""
    revision: str = ""
    trusted_first_download: bool = False


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One look at a host.

    :param os_id: ``ID`` of os-release (``debian``); ``os_version`` its ``VERSION_ID`` (``13``).
    :param architecture: as ``uname -m`` says (``x86_64``).
    :param virtualization: as ``systemd-detect-virt`` says; ``none`` on metal, empty when unknown.
    :param systemd_version: 0 without systemd.
    :param python_version: of ``python3``, empty without one.
    :param is_root: the look was taken as root, so root can be had (root itself, or sudo).
    :param libc_version: of glibc (``2.41``), empty elsewhere.
    :param cpu_flags: those of interest that the CPU has, sorted.
    :param free_bytes: asked path → bytes free for it, at its nearest existing parent.
    :param files: path → fact, of the managed files that are there.
    :param gateway: the gateway's unit; ``None`` where nothing of a gateway is.
    :param apt_locked: another process holds a lock of apt or dpkg.
    :param fit: what we recorded of how its model lies in memory.
    :param driver: what our role wrote down of the card's driver.
    :param packages_broken: what dpkg says of packages that are half installed; empty: there are none.
    """

    hostname: str
    os_id: str
    os_version: str
    os_pretty_name: str
    architecture: str
    kernel: str
    virtualization: str
    systemd_version: int
    systemd_running: bool
    python_version: str
    is_root: bool
    memory_bytes: int
    cpu_count: int
    libc_version: str = ""
    cpu_flags: tuple[str, ...] = ()
    free_bytes: Mapping[str, int] = field(default_factory=dict)
    listening: tuple[Listener, ...] = ()
    runtimes: tuple[OtherRuntime, ...] = ()
    deployment: Record = None
    lock: Record = None
    runtime: Record = None
    fit: Record = None
    files: Mapping[str, FileFact] = field(default_factory=dict)
    unit: UnitFact = UnitFact()
    installed_packages: tuple[InstalledPackage, ...] = ()
    models: tuple[ModelFact, ...] = ()
    apt_locked: bool = False
    gateway: UnitFact | None = None
    nvidia: NvidiaFacts = field(default_factory=NvidiaFacts)
    driver: Record = None
    packages_broken: str = ""
    wsl: WslFacts = field(default_factory=WslFacts)

    def listener(self, port: int) -> Listener | None:
        """Find who listens on ``port``, on any address."""
        return next((one for one in self.listening if one.port == port), None)

    def model(self, file_name: str) -> ModelFact | None:
        """Look up what the store holds under that name."""
        return next((one for one in self.models if one.file_name == file_name), None)

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON; a corrupt record becomes ``{"$corrupt": reason}``."""
        data = {name: _plain(getattr(self, name)) for name in _FIELD_NAMES}
        data |= {name: _record_to_data(getattr(self, name)) for name in _RECORDS}
        if self.gateway is None:
            del data["gateway"]
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> HostFacts:
        """Inverse of :meth:`to_data`; fields with a default may be absent.

        :raises TypeError: a field is unknown or missing.
        """
        values = dict(data)
        for name, item in _ITEM_TYPES.items():
            if name in values:
                values[name] = tuple(item(**one) for one in values[name])
        for name in _RECORDS:
            values[name] = record_from_data(values.get(name))
        if "files" in values:
            values["files"] = {path: FileFact(**one) for path, one in values["files"].items()}
        values["cpu_flags"] = tuple(values.get("cpu_flags", ()))
        values["nvidia"] = NvidiaFacts.from_data(values.get("nvidia", {}))
        values["wsl"] = WslFacts.from_data(values.get("wsl", {}))
        values["unit"] = _unit_from_data(values.get("unit", {}))
        if "gateway" in values:
            values["gateway"] = _unit_from_data(values["gateway"])
        return cls(**values)


def _unit_from_data(unit: Mapping[str, Any]) -> UnitFact:
    return UnitFact(**{**unit, "command": tuple(unit.get("command", ()))})


_RECORDS = ("deployment", "lock", "runtime", "fit", "driver")
_FIELD_NAMES = tuple(one.name for one in fields(HostFacts))
_ITEM_TYPES: Mapping[str, Any] = {
    "listening": Listener,
    "runtimes": OtherRuntime,
    "installed_packages": InstalledPackage,
    "models": ModelFact,
}


def record_from_data(value: Any) -> Record:  # noqa: ANN401 - decoded JSON of any shape
    """Take decoded JSON as a record: anything but an object is corrupt."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return CorruptRecord(f"not a JSON object but {type(value).__name__}")
    if _CORRUPT_KEY in value:
        return CorruptRecord(str(value[_CORRUPT_KEY]))
    return dict(value)


def _record_to_data(record: Record) -> Any:  # noqa: ANN401 - encoded JSON
    return {_CORRUPT_KEY: record.reason} if isinstance(record, CorruptRecord) else record


def _plain(value: Any) -> Any:  # noqa: ANN401 - any field's value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return _plain(asdict(value)) if hasattr(value, "__dataclass_fields__") else value
