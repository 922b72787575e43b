"""What a sandbox cluster consists of: nodes, storages, volumes, VMs, users, privileges, mappings."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.sandbox.body import GuestBody, SourceImage
from localai_deploy.sandbox.release import Release

Config = dict[str, Any]


@dataclass
class Token:
    """An API token of a user; `expire` in seconds since 1970, 0 for never."""

    secret: str
    privsep: int = 1
    expire: int = 0
    comment: str | None = None


@dataclass
class User:
    """A user by its full id; `password` is None where no login by password exists."""

    userid: str
    password: str | None = None
    enable: int = 1
    tokens: dict[str, Token] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AclEntry:
    """One role of one user, group or token on one path."""

    path: str
    kind: str
    who: str
    role: str
    propagate: int = 1


@dataclass
class Storage:
    """A storage by its configuration; sizes in bytes."""

    name: str
    type: str = "dir"
    path: str = "/var/lib/vz"
    content: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    disable: bool = False
    shared: bool = False
    is_mountpoint: str | None = None
    mounted: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    total: int = 200 << 30
    used: int = 10 << 30
    avail: int = 190 << 30


@dataclass
class Volume:
    """A file of a storage; `size` is virtual for disks, else the file's; `file` is its real path.

    `image` is what a disk was made from, until a guest may have written to it.
    """

    volid: str
    content: str
    format: str
    size: int
    ctime: int
    used: int = 0
    vmid: int | None = None
    parent: str | None = None
    file: str | None = None
    digests: dict[str, str] = field(default_factory=dict)
    virtual_size: int | None = None
    image: SourceImage | None = None

    @property
    def store(self) -> str:
        """The name of the storage."""
        return self.volid.partition(":")[0]


@dataclass
class Snapshot:
    """A VM's configuration at one moment."""

    config: Config
    snaptime: int
    description: str = ""
    parent: str | None = None
    vmstate: int = 0


@dataclass
class Vm:
    """A VM: its configuration as last applied, what waits for a stop, and its body.

    `devices` are reserved for it while it runs, or is being `starting`.
    """

    vmid: int
    node: str
    config: Config
    body: GuestBody
    pending: Config = field(default_factory=dict)
    pending_delete: list[str] = field(default_factory=list)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    started_at: float = 0.0
    pid: int = 0
    created_at: float = 0.0
    devices: list[str] = field(default_factory=list)
    starting: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)


@dataclass
class Mapping:
    """A resource mapping: entries are property strings."""

    name: str
    map: list[str]
    description: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Pool:
    """A pool and what is in it."""

    name: str
    comment: str = ""
    vms: set[int] = field(default_factory=set)
    storages: set[str] = field(default_factory=set)


@dataclass
class Node:
    """A node; `reachable` is a proxy error's text for one that does not answer.

    `measure_used` tells how much memory is taken; without it, an eighth is. `drivers` hold functions on the
    node; `models` are QEMU's devices that guests get for functions. Slots in `bad_resets` are good for one
    start (`used_slots` had it), a VM with one in `slow_starts` does not come up.
    """

    name: str
    address: str = "127.0.0.1"
    reachable: str | None = None
    kvm: bool = True
    iommu: bool = True
    bridges: list[str] = field(default_factory=lambda: ["vmbr0"])
    pci_devices: list[dict[str, Any]] = field(default_factory=list)
    drivers: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    bad_resets: frozenset[str] = frozenset()
    slow_starts: frozenset[str] = frozenset()
    used_slots: set[str] = field(default_factory=set)
    memory_bytes: int = 32 << 30
    cpus: int = 8
    measure_used: Callable[[], int] | None = None

    @property
    def memory_used_bytes(self) -> int:
        """Memory that is taken now."""
        return self.measure_used() if self.measure_used else self.memory_bytes // 8


@dataclass
class Cluster:
    """The whole state; every change of it happens under `lock`."""

    release: Release
    nodes: dict[str, Node]
    local: str
    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)
    roles: dict[str, frozenset[str]] = field(default_factory=dict)
    custom_roles: set[str] = field(default_factory=set)
    acl: list[AclEntry] = field(default_factory=list)
    pools: dict[str, Pool] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    vms: dict[int, Vm] = field(default_factory=dict)
    mappings: dict[str, Mapping] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def volumes_of(self, vmid: int) -> Iterator[Volume]:
        """The disks that belong to a VM."""
        return (volume for volume in list(self.volumes.values()) if volume.vmid == vmid)


def digest_of(value: object) -> str:
    """SHA-1 over a canonical form, as the server's digests of configurations."""
    return hashlib.sha1(
        json.dumps(value, sort_keys=True, default=str).encode(), usedforsecurity=False
    ).hexdigest()
