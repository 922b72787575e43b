"""What the probes saw, typed; the shapes are those that ``probes`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class GatewayAnswers:
    """What the gateway answered.

    :param error: why nothing answers; then the rest is empty.
    :param key_file: of its clients.
    :param completions: one of each model: ``model``, ``status``, ``replica``, ``text``, ``error``.
    """

    error: str
    health_status: int = 0
    key_file: KeyFile | None = None
    replica_keys_mode: str = ""
    without_key: Mapping[str, int] = field(default_factory=dict)
    wrong_key: Mapping[str, int] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    completions: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> GatewayAnswers:
        """Read what the probe printed."""
        keys = data.get("key_file")
        return cls(**{**data, "key_file": KeyFile(**keys) if keys else None})


@dataclass(frozen=True, slots=True)
class RecordFile:
    """``deployment.json``; ``error`` says why ``value`` is None."""

    value: Any
    error: str


@dataclass(frozen=True, slots=True)
class UnitState:
    """The service unit; numbers are 0 when systemd does not tell."""

    load_state: str
    active_state: str
    sub_state: str
    unit_file_state: str
    restarts: int
    user: str
    drop_ins: str


@dataclass(frozen=True, slots=True)
class ProcessState:
    """The service's main process.

    :param executable: target of ``/proc/PID/exe``; ends with ``(deleted)`` when the file was replaced.
    :param arguments: with secrets replaced.
    :param has_key: an API key stands in its arguments or environment.
    :param uids: real, effective, saved, file system.
    """

    pid: int
    executable: str
    executable_sha256: str
    arguments: tuple[str, ...]
    environment_names: tuple[str, ...]
    has_key: bool
    uids: tuple[int, ...]
    user: str


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """One record of ``conda-meta``; ``sha256`` is the archive's."""

    file: str
    name: str
    version: str
    build: str
    sha256: str


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file of the prefix that the process has mapped; empty ``package``: no package recorded it."""

    path: str
    sha256: str
    recorded_sha256: str
    package: str


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A listening TCP socket; ``pid`` 0: its process cannot be seen."""

    address: str
    port: int
    pid: int
    process: str


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The API key's file; ``shortest_key`` is a length in characters, 0 without a key."""

    mode: str
    uid: int
    gid: int
    is_regular: bool
    shortest_key: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """``systemd-analyze security``: 0 (safe) to 10; ``level`` None with the reason in ``error``."""

    tool: bool
    level: float | None
    error: str


@dataclass(frozen=True, slots=True)
class ProgramVersion:
    """What the server program printed to ``--version``."""

    returncode: int
    output: str


@dataclass(frozen=True, slots=True)
class HostState:
    """The host without a question over the network; ``prefix`` is the environment's path without links.

    :param mapped_models: paths in the model store; a replaced file's ends with ``(deleted)``.
    :param pci_devices: vendor and device of everything on the PCI bus, one for each function.
    :param server_log: what the server wrote at its start about memory and layers.
    :param model_records: model's file name → hash that the host recorded when it was pulled.
    """

    record: RecordFile
    unit: UnitState
    unit_has_key: bool
    process: ProcessState | None
    prefix: str
    packages: tuple[PackageRecord, ...]
    files: tuple[MappedFile, ...]
    mapped_models: tuple[str, ...]
    model_records: Mapping[str, str]
    version: ProgramVersion
    listeners: tuple[ListeningSocket, ...]
    key_file: KeyFile | None
    exposure: Exposure
    pci_devices: tuple[str, ...]
    server_log: tuple[str, ...]

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> HostState:
        """Read the ``state`` probe's evidence; KeyError or TypeError on another shape."""
        return cls(
            record=RecordFile(**data["record"]),
            unit=_unit(data["unit"]),
            unit_has_key=data["unit_has_key"],
            process=_process(data["process"]),
            prefix=data["prefix"],
            packages=tuple(PackageRecord(**one) for one in data["packages"]),
            files=tuple(MappedFile(**one) for one in data["files"]),
            mapped_models=tuple(data["mapped_models"]),
            model_records=data["model_records"],
            version=ProgramVersion(**data["version"]),
            listeners=tuple(ListeningSocket(**one) for one in data["listeners"]),
            key_file=KeyFile(**data["key_file"]) if data["key_file"] else None,
            exposure=Exposure(**data["exposure"]),
            pci_devices=tuple(data["pci_devices"]),
            server_log=tuple(data["server_log"]),
        )


@dataclass(frozen=True, slots=True)
class EndpointAnswers:
    """What the API answered; with an ``error`` nothing did, and all else is empty.

    :param without_key: ``"GET /props"`` → status, 0 for no answer; ``wrong_key`` likewise.
    """

    error: str
    has_key: bool
    health: Mapping[str, Any]
    without_key: Mapping[str, int]
    wrong_key: Mapping[str, int]
    models: Mapping[str, Any]
    props: Mapping[str, Any]
    slots: Mapping[str, Any]
    metrics_status: int
    completion: Mapping[str, Any]
    stream: Mapping[str, Any]

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> EndpointAnswers:
        """Read the ``endpoint`` probe's evidence."""
        if data["error"]:
            return cls(data["error"], False, {}, {}, {}, {}, {}, {}, 0, {}, {})  # noqa: FBT003
        return cls(**data)


@dataclass(frozen=True, slots=True)
class ModelDigests:
    """Model's path → SHA-256, or → why it could not be read; ``seconds`` it took the host."""

    sha256: Mapping[str, str]
    errors: Mapping[str, str]
    total_bytes: int
    seconds: float
    questions: int


def _unit(properties: Mapping[str, str]) -> UnitState:
    return UnitState(
        load_state=properties.get("LoadState", ""),
        active_state=properties.get("ActiveState", ""),
        sub_state=properties.get("SubState", ""),
        unit_file_state=properties.get("UnitFileState", ""),
        restarts=int(properties.get("NRestarts") or 0),
        user=properties.get("User", ""),
        drop_ins=properties.get("DropInPaths", ""),
    )


def _process(data: Mapping[str, Any] | None) -> ProcessState | None:
    if data is None:
        return None
    lists = ("arguments", "environment_names", "uids")
    return ProcessState(**{**data, **{name: tuple(data[name]) for name in lists}})
