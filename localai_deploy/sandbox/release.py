"""What differs between the releases of Proxmox VE that the node can play."""

from __future__ import annotations

from dataclasses import dataclass

_SINCE_7 = """
Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit Group.Allocate
Permissions.Modify Pool.Allocate Pool.Audit Realm.Allocate Realm.AllocateUser SDN.Allocate SDN.Audit SDN.Use
Sys.Audit Sys.Console Sys.Incoming Sys.Modify Sys.PowerMgmt Sys.Syslog User.Modify VM.Allocate VM.Audit
VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk VM.Config.HWType
VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.Migrate VM.PowerMgmt VM.Snapshot
VM.Snapshot.Rollback
"""
_SINCE_8 = "Mapping.Audit Mapping.Modify Mapping.Use Sys.AccessNetwork"
_UNTIL_8 = "VM.Monitor"
_SINCE_9 = """
VM.GuestAgent.Audit VM.GuestAgent.FileRead VM.GuestAgent.FileSystemMgmt VM.GuestAgent.FileWrite
VM.GuestAgent.Unrestricted VM.Replicate
"""


@dataclass(frozen=True)
class Release:
    """One version of the server software, by its own version text."""

    version: str
    repoid: str
    privileges: frozenset[str]

    @property
    def major(self) -> int:
        """The main number of the release."""
        return int(self.version.split(".", maxsplit=1)[0])

    @property
    def short(self) -> str:
        """As `release` in GET /version: 9.2 of 9.2.11, 7.4 of 7.4-20."""
        return ".".join(self.version.replace("-", ".").split(".")[:2])


def _privileges(*groups: str) -> frozenset[str]:
    return frozenset(name for group in groups for name in group.split())


RELEASES = {
    7: Release("7.4-20", "lab", _privileges(_SINCE_7, _UNTIL_8)),
    8: Release("8.4.21", "lab", _privileges(_SINCE_7, _SINCE_8, _UNTIL_8)),
    9: Release("9.2.11", "14a22df35955d97d", _privileges(_SINCE_7, _SINCE_8, _SINCE_9)),
}


def builtin_roles(release: Release) -> dict[str, frozenset[str]]:
    """The roles that every installation has, by name."""
    every = release.privileges

    def starting(*prefixes: str, without: tuple[str, ...] = ()) -> frozenset[str]:
        return frozenset(p for p in every if p.startswith(prefixes) and p not in without)

    users = starting("VM.Config.", without=()) & frozenset({"VM.Config.CDROM", "VM.Config.Cloudinit"})
    audits = frozenset(p for p in every if p.endswith(".Audit") and not p.startswith("VM.GuestAgent"))
    roles = {
        "Administrator": every,
        "NoAccess": frozenset[str](),
        "PVEAdmin": every - {"Permissions.Modify", "Sys.PowerMgmt", "Realm.Allocate"},
        "PVEAuditor": audits,
        "PVEDatastoreAdmin": starting("Datastore."),
        "PVEDatastoreUser": frozenset({"Datastore.AllocateSpace", "Datastore.Audit"}),
        "PVEPoolAdmin": starting("Pool."),
        "PVEPoolUser": frozenset({"Pool.Audit"}),
        "PVESDNAdmin": starting("SDN."),
        "PVESDNUser": frozenset({"SDN.Audit", "SDN.Use"}),
        "PVESysAdmin": frozenset({"Sys.Audit", "Sys.Console", "Sys.Syslog"}),
        "PVETemplateUser": frozenset({"VM.Audit", "VM.Clone"}),
        "PVEUserAdmin": frozenset({"Realm.AllocateUser", "User.Modify", "Group.Allocate"}),
        "PVEVMAdmin": starting("VM."),
        "PVEVMUser": users | frozenset({"VM.Audit", "VM.Backup", "VM.Console", "VM.PowerMgmt"}),
    }
    if release.major > 7:
        roles |= {
            "PVEMappingAdmin": starting("Mapping."),
            "PVEMappingAuditor": frozenset({"Mapping.Audit"}),
            "PVEMappingUser": frozenset({"Mapping.Audit", "Mapping.Use"}),
        }
    return roles
