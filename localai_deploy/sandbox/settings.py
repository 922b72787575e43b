"""What a sandbox was asked to be, and where it keeps its things."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from localai_deploy.errors import InputError
from localai_deploy.sandbox_record import remove_record, runtime_directory, write_private

_SETTINGS_NAME = "settings.json"
_FORWARD = re.compile(r"(?:(?P<name>[a-z0-9.-]+)=)?(?P<host>[0-9.]+):(?P<port>[0-9]{1,5})")
_PORTS = 65536


@dataclass(frozen=True, slots=True)
class Forward:
    """A TCP port of a host that guests reach; ``name`` is what they may call an address."""

    host: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.host}:{self.port}" if self.name else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that decides what a sandbox is.

    :param pve: main number of the release that it behaves as.
    :param cache: the directory of what is built once and kept.
    :param debian_mirror: base URL of a Debian archive for guests and their root; empty: this machine's own.
    :param forwards: ``[NAME=]ADDR:PORT`` of this machine that guests reach under the same address.
    :param guest_ca: file of a certificate authority that container guests trust; empty: none.
    :param hardware: name of a shipped hardware file, or the path of another; empty: no cards.
    """

    body: str
    pve: int
    cache: str
    debian_mirror: str = ""
    forwards: tuple[str, ...] = ()
    guest_ca: str = ""
    hardware: str = ""

    def parsed_forwards(self) -> list[Forward]:
        """The forwards as values."""
        return [parse_forward(text) for text in self.forwards]


@dataclass(frozen=True, slots=True)
class Places:
    """Directories of one sandbox.

    :param runtime: small private files: the record, the lock, the settings.
    :param data: all else that it makes, possibly large.
    """

    runtime: Path
    data: Path

    @property
    def token(self) -> str:
        """Eight hex digits that mark this sandbox's namespaces and cgroups in the kernel."""
        return hashlib.sha256(str(self.runtime).encode()).hexdigest()[:8]

    @property
    def log(self) -> Path:
        """What the sandbox's process says."""
        return self.runtime / "daemon.log"

    @property
    def requests(self) -> Path:
        """`METHOD PATH STATUS` of every request that was answered, a line each."""
        return self.data / "requests.log"

    @property
    def generation(self) -> Path:
        """How often the sandbox was reset, with the error of the last time."""
        return self.runtime / "generation.json"


def places_of(environment: Mapping[str, str] = os.environ) -> Places:
    """Where the sandbox of this user lies, whether it runs or not."""
    runtime = runtime_directory(environment).resolve()
    kept = _read(runtime)
    if "data" in kept:
        return Places(runtime, Path(kept["data"]))
    base = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    unnamed = Places(runtime, Path())
    return Places(runtime, Path(base, "localai-deploy", f"sandbox-{unnamed.token}").absolute())


def default_cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Where what is built once is kept when nobody says otherwise."""
    base = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "localai-deploy", "sandbox").absolute()


def default_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """What a sandbox is when nobody says otherwise."""
    return Settings(body="container", pve=9, cache=str(default_cache(environment)))


def write_settings(places: Places, settings: Settings) -> None:
    """Keep what this sandbox is, for its process and for whoever ends it."""
    data = asdict(settings) | {"data": str(places.data)}
    write_private(places.runtime / _SETTINGS_NAME, json.dumps(data, indent=1))


def read_settings(places: Places) -> Settings | None:
    """What the sandbox in these places is; None when nothing says so."""
    data = _read(places.runtime)
    try:
        del data["data"]
        return Settings(**data | {"forwards": tuple(data["forwards"])})
    except (KeyError, TypeError):
        return None


def remove_private_files(places: Places) -> None:
    """Remove the record, the settings and the like; fine when nothing is there. The lock stays."""
    remove_record(places.runtime)
    for path in (places.runtime / _SETTINGS_NAME, places.log, places.generation):
        path.unlink(missing_ok=True)
    for partial in places.runtime.glob(".*.partial"):
        partial.unlink(missing_ok=True)


def _read(runtime: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((runtime / _SETTINGS_NAME).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}


def parse_forward(text: str) -> Forward:
    """Read ``[NAME=]ADDR:PORT``.

    :raises InputError: ``sandbox-forward-invalid``.
    """
    match = _FORWARD.fullmatch(text)
    try:
        address = ipaddress.IPv4Address(match["host"]) if match else None
    except ValueError:
        address = None
    if match is None or address is None or not 0 < int(match["port"]) < _PORTS:
        raise InputError(
            "sandbox-forward-invalid",
            f"{text!r} is no address with a port",
            hint="write it like 192.0.2.10:8080, or mirror.example.org=192.0.2.10:8080 to give it a name",
        )
    if address.is_loopback:
        raise _own_loopback("sandbox-forward-invalid", text)
    return Forward(str(address), int(match["port"]), match["name"] or "")


def _own_loopback(error_id: str, text: str) -> InputError:
    return InputError(
        error_id,
        f"guests cannot reach {text!r}",
        why="their loopback addresses are their own",
        hint="let the server listen on another address of this machine",
    )


def parse_archive(url: str) -> str:
    """Read the URL of a Debian archive.

    :raises InputError: ``sandbox-mirror-invalid``.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise InputError(
            "sandbox-mirror-invalid",
            f"{url!r} is no base URL of a Debian archive",
            hint="write it like http://deb.debian.org/debian",
        )
    if parts.hostname == "localhost" or parts.hostname.startswith("127."):
        raise _own_loopback("sandbox-mirror-invalid", url)
    return url.rstrip("/")
