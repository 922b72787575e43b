"""Which privileges a plan needs, and which of them a token lacks. By version: 9 split VM.Monitor up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from localai_deploy.domain.pve.ownership import POOL
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec

POOL_PATH = f"/pool/{POOL}"
_VM = (
    "VM.Allocate",
    "VM.Audit",
    "VM.PowerMgmt",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
)


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """One privilege on one path."""

    path: str
    privilege: str

    def __str__(self) -> str:
        return f"{self.privilege} on {self.path}"


def needs_of(spec: VmSpec, version: PveVersion, *, downloads_image: bool) -> tuple[Need, ...]:
    """What making and running this VM needs.

    VM privileges are asked for on the pool, so that a leaked token reaches only VMs of the pool.

    :param downloads_image: whether the node has to fetch the image first.
    """
    return tuple(sorted(set(_needs(spec, version, downloads_image=downloads_image))))


def _needs(spec: VmSpec, version: PveVersion, *, downloads_image: bool) -> Iterator[Need]:
    for privilege in (*_VM, *version.agent_privileges):
        yield Need(POOL_PATH, privilege)
    yield Need(POOL_PATH, "Pool.Audit")
    yield Need(f"/storage/{spec.vm_storage}", "Datastore.AllocateSpace")
    yield Need(f"/storage/{spec.image_storage}", "Datastore.Audit")
    for privilege in ("Datastore.Audit", "Datastore.AllocateTemplate"):
        yield Need(f"/storage/{spec.seed_storage}", privilege)
    if downloads_image:
        yield Need(f"/storage/{spec.image_storage}", "Datastore.AllocateTemplate")
        yield Need(f"/nodes/{spec.node}", "Sys.AccessNetwork")
    yield Need(f"/nodes/{spec.node}", "Sys.Audit")
    yield Need(f"/sdn/zones/localnetwork/{spec.bridge}", "SDN.Use")


def missing_needs(needs: Iterable[Need], permissions: Mapping[str, Mapping[str, int]]) -> tuple[Need, ...]:
    """Needs that ``permissions`` do not cover.

    :param permissions: what ``GET /access/permissions`` answers: path → privilege → 1 if it reaches
        below the path, 0 if it holds on the path alone.
    """
    return tuple(need for need in needs if not _covered(need, permissions))


def _covered(need: Need, permissions: Mapping[str, Mapping[str, int]]) -> bool:
    """The nearest path with an entry decides, as on the server."""
    for path in _ancestors(need.path):
        if path in permissions:
            propagate = permissions[path].get(need.privilege)
            return propagate is not None and (path == need.path or bool(propagate))
    return False


def _ancestors(path: str) -> Iterator[str]:
    yield path
    while path != "/":
        path = path.rsplit("/", 1)[0] or "/"
        yield path
