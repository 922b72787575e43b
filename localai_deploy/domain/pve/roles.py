"""The rights that a node's administrator is asked for: ``run`` day to day, ``setup`` once.

A PVE role holds with all of its privileges on every path it is granted on. So that no path gets more
than it needs, each of the two is a set of PVE roles, one for a kind of path: what is in them is what
:mod:`.permissions` asks for, no more (each privilege taken away breaks something).

Left out on purpose:

- ``Datastore.Allocate``. The server wants it to delete the first boot's ISO, but on that storage it also
  lets a token delete every backup, ISO and disk of anybody. The seed holds no secret and has less than
  1 MiB, so it is named as left over instead. Who has a storage for seeds alone can grant it there
  (``deletes_seeds``); that storage also keeps ``Datastore.AllocateTemplate``, which lets a token write over
  ISOs, away from everybody else's.
- Anything on ``/vms``. A leaked token reaches VMs of the pool only.
- ``PUT /storage`` (a storage's content types): it takes ``Datastore.Allocate`` on all storages at once.
- ``Mapping.Modify`` day to day: it lets a token map any device of any node, the disk controller too.
- Rights to hand rights out (``Permissions.Modify``, ``Sys.Modify``, ``User.Modify``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from localai_deploy.domain.pve.ownership import POOL
from localai_deploy.domain.pve.permissions import (
    MAPPINGS_PATH,
    POOL_PATH,
    Need,
    VmPlace,
    card_needs,
    needs_of,
)
from localai_deploy.domain.pve.version import PveVersion

USER = "localai@pve"
TOKEN_NAME = "localai"  # noqa: S105 - a name, no secret

_RUN_ROLES = {
    frozenset({"Datastore.AllocateSpace"}): "LocalaiRunDisks",
    frozenset({"Datastore.AllocateTemplate", "Datastore.Audit"}): "LocalaiRunImages",
    frozenset({"Datastore.AllocateSpace", "Datastore.AllocateTemplate"}): "LocalaiRunStorage",
    frozenset({"Sys.AccessNetwork", "Sys.Audit"}): "LocalaiRunNode",
    frozenset({"Sys.Audit"}): "LocalaiRunNodeLook",
    frozenset({"SDN.Use"}): "LocalaiRunBridge",
    frozenset({"VM.Clone"}): "LocalaiRunTemplate",
    frozenset({"Mapping.Use"}): "LocalaiRunCard",
}
_POOL_ROLE = "LocalaiRunVms"
_SEEDS_ROLE = "LocalaiRunSeeds"


class Part(StrEnum):
    """What rights are for."""

    SETUP = "setup"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class PveRole:
    """A role as Proxmox has it; its name always stands for the same privileges of one version."""

    name: str
    privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """A role on a path, for a user and its token: with privilege separation a token has what both have.

    :param propagate: whether it reaches below the path.
    """

    path: str
    role: PveRole
    propagate: bool = True


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that one part needs on a cluster.

    :param user: ``name@realm``; of its own, for an access list entry on a path replaces what its user has
        from further up.
    :param pool: to be made with it; empty: none.
    """

    part: Part
    user: str
    grants: tuple[Grant, ...]
    pool: str = ""

    @property
    def token_id(self) -> str:
        """``user@realm!name``."""
        return f"{self.user}!{TOKEN_NAME}"

    @property
    def roles(self) -> tuple[PveRole, ...]:
        """Each role once."""
        return tuple(dict.fromkeys(grant.role for grant in self.grants))

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the token must hold in the end."""
        return tuple(Need(grant.path, one) for grant in self.grants for one in grant.role.privileges)


def run_access(
    place: VmPlace,
    version: PveVersion,
    user: str = USER,
    *,
    deletes_seeds: bool = False,
    mappings: Iterable[str] = (),
) -> Access:
    """Rights to make, run and delete VMs in our pool at one place.

    :param deletes_seeds: grant ``Datastore.Allocate`` on the storage of the seeds.
    :param mappings: resource mappings of the cards that VMs may be given.
    """
    names = tuple(mappings)
    cards = card_needs(names) if names else ()
    found: dict[str, set[str]] = defaultdict(set)
    for need in (*needs_of(place, version, downloads_image=not place.template), *cards):
        found[need.path].add(need.privilege)
    grants = [
        Grant(path, _run_role(path, frozenset(held)), propagate=path != "/")
        for path, held in sorted(found.items())
    ]
    if deletes_seeds:
        seeds = PveRole(_SEEDS_ROLE, ("Datastore.Allocate",))
        grants.append(Grant(f"/storage/{place.seed_storage}", seeds))
    return Access(Part.RUN, user, tuple(grants), POOL)


def _run_role(path: str, privileges: frozenset[str]) -> PveRole:
    name = _POOL_ROLE if path == POOL_PATH else _RUN_ROLES[privileges]
    return PveRole(name, tuple(sorted(privileges)))


def setup_access(user: str = USER) -> Access:
    """Rights to make our pool, and resource mappings of the hardware that a node has.

    Its user is ``user`` with ``-setup`` behind the name.
    """
    name, _, realm = user.partition("@")
    return Access(Part.SETUP, f"{name}-setup@{realm}", tuple(_setup_grants()))


def _setup_grants() -> Iterator[Grant]:
    yield Grant("/", PveRole("LocalaiSetupHardware", ("Sys.Audit",)), propagate=False)
    yield Grant(MAPPINGS_PATH, PveRole("LocalaiSetupMappings", ("Mapping.Modify",)))
    yield Grant(POOL_PATH, PveRole("LocalaiSetupPool", ("Pool.Allocate",)))
