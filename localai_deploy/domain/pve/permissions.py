"""Which privileges a plan needs, and which of them a token lacks. By version: 9 split VM.Monitor up.

The source of each need is the server's own API schema (``permissions`` of the calls that we make) and
what it checks in code when a VM is written (one right per option of its config).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.pve.ownership import POOL
from localai_deploy.domain.pve.version import PveVersion

POOL_PATH = f"/pool/{POOL}"
MAPPINGS_PATH = "/mapping/pci"
Permissions = Mapping[str, Mapping[str, int]]
"""What ``GET /access/permissions`` answers: path → privilege → 1 if it reaches below the path, else 0."""

_EVERY_VM = "/vms/*"
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


class VmPlace(Protocol):
    """What of a VM's wishes decides which rights it takes; empty storages are not used."""

    @property
    def node(self) -> str: ...  # noqa: D102
    @property
    def vm_storage(self) -> str: ...  # noqa: D102
    @property
    def image_storage(self) -> str: ...  # noqa: D102
    @property
    def seed_storage(self) -> str: ...  # noqa: D102
    @property
    def bridge(self) -> str: ...  # noqa: D102
    @property
    def vlan(self) -> int: ...  # noqa: D102
    @property
    def template(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """One privilege on one path.

    :param instead: others of which any one does as well.
    """

    path: str
    privilege: str
    instead: tuple[Need, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.privilege} on {self.path}"


def needs_of(place: VmPlace, version: PveVersion, *, downloads_image: bool) -> tuple[Need, ...]:
    """What making and running this VM needs.

    VM privileges are asked for on the pool, so that a leaked token reaches only VMs of the pool; they
    count as well where a token has them on all VMs.

    :param downloads_image: whether the node has to fetch the image first.
    """
    found = (
        *_vm_needs(version),
        *_storage_needs(place, downloads_image=downloads_image),
        *_node_needs(place, downloads_image=downloads_image),
    )
    return tuple(sorted(set(found)))


def _vm_needs(version: PveVersion) -> Iterator[Need]:
    for privilege in _VM:
        yield Need(POOL_PATH, privilege, _on_vms(privilege))
    for privilege in version.agent_privileges:
        stronger = ("VM.GuestAgent.Unrestricted",) if privilege.startswith("VM.GuestAgent.") else ()
        yield Need(POOL_PATH, privilege, (*_on_vms(privilege, *stronger), *_on(POOL_PATH, *stronger)))
    yield Need(POOL_PATH, "Pool.Audit")


def _storage_needs(place: VmPlace, *, downloads_image: bool) -> Iterator[Need]:
    """Where ``Datastore.AllocateSpace`` is asked for, it lets the token see the storage, too."""
    if place.vm_storage:
        yield Need(f"/storage/{place.vm_storage}", "Datastore.AllocateSpace")
    image = "" if place.template else place.image_storage
    filled = {place.seed_storage, image} if downloads_image else {place.seed_storage}
    for storage in {place.seed_storage, image} - {""}:
        path = f"/storage/{storage}"
        if storage != place.vm_storage:
            yield Need(path, "Datastore.Audit", _on(path, "Datastore.AllocateSpace"))
        if storage in filled:
            yield Need(path, "Datastore.AllocateTemplate")


def _node_needs(place: VmPlace, *, downloads_image: bool) -> Iterator[Need]:
    yield Need(f"/nodes/{place.node}", "Sys.Audit")
    if downloads_image:
        yield Need(f"/nodes/{place.node}", "Sys.AccessNetwork")
    bridge = f"/sdn/zones/localnetwork/{place.bridge}"
    yield Need(f"{bridge}/{place.vlan}" if place.vlan else bridge, "SDN.Use")
    if place.template:
        yield Need(f"/vms/{place.template}", "VM.Clone")


def card_needs(mappings: Iterable[str]) -> tuple[Need, ...]:
    """What giving a VM the cards of these mappings needs; the hardware is listed to find them.

    ``Mapping.Modify`` is not among them: it lets a token map any device of any node. Without it a card's
    lease is not written, and the node's own reservation at the start decides (docs/adr/0009).
    """
    hardware = Need("/", "Sys.Audit", _on("/", "Sys.Modify"))
    return (hardware, *(Need(f"{MAPPINGS_PATH}/{name}", "Mapping.Use") for name in mappings))


def _on(path: str, *privileges: str) -> tuple[Need, ...]:
    return tuple(Need(path, privilege) for privilege in privileges)


def _on_vms(*privileges: str) -> tuple[Need, ...]:
    return _on(_EVERY_VM, *privileges)


def missing_needs(needs: Iterable[Need], permissions: Permissions) -> tuple[Need, ...]:
    """Needs that ``permissions`` do not cover."""
    return tuple(need for need in needs if not any(_holds(one, permissions) for one in (need, *need.instead)))


def _holds(need: Need, permissions: Permissions) -> bool:
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


def _of_cards(missing: Iterable[Need]) -> str:
    """The option that adds rights to cards, if any of those is missing."""
    paths = {need.path for need in missing}
    names = sorted(path.rpartition("/")[2] for path in paths if path.startswith(f"{MAPPINGS_PATH}/"))
    if "/" in paths and not names:
        names = ["NAME"]
    return "".join(f" --mapping {name}" for name in names)


def rights_findings(needs: Iterable[Need], permissions: Permissions, node: str) -> tuple[Finding, ...]:
    """One blocker that names every privilege that is missing, with its path; none when nothing is."""
    missing = missing_needs(needs, permissions)
    if not missing:
        return ()
    bare = "it has none at all: a token has only what is granted to it and to its user as well\n"
    return (
        Finding(
            "pve-rights-missing",
            Severity.BLOCKER,
            f"the API token lacks rights on node {node}",
            ("" if permissions else bare) + "\n".join(f"missing: {need}" for need in missing),
            f"localai-deploy node permissions {node} --role run{_of_cards(missing)}",
        ),
    )
