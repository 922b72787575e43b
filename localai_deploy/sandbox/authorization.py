"""The checks that the table of calls states, decided for one caller and one request."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localai_deploy.sandbox.answers import ApiError, forbidden
from localai_deploy.sandbox.auth import Identity
from localai_deploy.sandbox.permissions import Permissions, missing_user
from localai_deploy.sandbox.privileges import (
    Check,
    Either,
    Every,
    GroupsOfUser,
    ModifyPermissions,
    On,
    RealmOfUser,
    RootOnly,
    Self,
    of_release,
)

_MODIFIERS = {"storage": "Datastore.Allocate", "vms": "VM.Allocate", "pool": "Pool.Allocate"}


@dataclass(frozen=True)
class Authorization:
    """Decides the stated checks with the values of one request."""

    permissions: Permissions
    who: Identity
    values: dict[str, str]

    def decide(self, check: Check) -> None:
        """Raises the 403 when the check does not hold."""
        self._decide(of_release(check, self.permissions.cluster.release.major))

    def _decide(self, check: Check) -> None:
        match check:
            case RootOnly():
                self._root()
            case On():
                self._on(check)
            case Self() | RealmOfUser() | GroupsOfUser():
                self._about_user(check)
            case ModifyPermissions():
                self._modify(self._filled(check.path))
            case Every():
                for part in check.checks:
                    self._decide(part)
            case Either():
                self._either(check)

    def _root(self) -> None:
        if not self.who.is_root:
            raise forbidden("user != root@pam")

    def _about_user(self, check: Self | RealmOfUser | GroupsOfUser) -> None:
        if isinstance(check, GroupsOfUser):
            self._groups(check)
        elif isinstance(check, RealmOfUser):
            realm = self.values.get("userid", "").rpartition("@")[2]
            self.permissions.need(self.who, f"/access/realm/{realm}", check.privilege)
        elif self.who.name != self.values.get("userid"):
            raise forbidden()

    def _filled(self, template: str) -> str:
        return re.sub(r"\{([^}]+)\}", lambda m: self.values.get(m.group(1), ""), template)

    def _on(self, check: On) -> None:
        if check.if_param is not None and check.if_param not in self.values:
            raise forbidden()
        need = self.permissions.need_any if check.any else self.permissions.need
        need(self.who, self._filled(check.path), *check.privileges)

    def _either(self, check: Either) -> None:
        for part in check.checks:
            try:
                return self._decide(part)
            except ApiError:
                continue
        raise forbidden()

    def _modify(self, path: str) -> None:
        area, _, rest = path.strip("/").partition("/")
        extra = (_MODIFIERS[area],) if rest and area in _MODIFIERS else ()
        self.permissions.need_any(self.who, path, "Permissions.Modify", *extra)

    def _groups(self, check: GroupsOfUser) -> None:
        userid = self.values.get("userid", "")
        cluster = self.permissions.cluster
        if check.groups != "create" and userid not in cluster.users:
            raise missing_user(userid)
        if self.permissions.has_any(self.who, "/access/groups", check.privileges):
            return
        names = "|".join(check.privileges)
        given = [group for group in re.split(r"[,;\s]+", self.values.get("groups", "")) if group]
        if check.groups and not given:
            raise forbidden(f"/access/groups, {names}")
        for group in given if check.groups else ():
            self.permissions.need_any(self.who, f"/access/groups/{group}", *check.privileges)
        mine = [
            g
            for g in cluster.groups
            if self.permissions.has_any(self.who, f"/access/groups/{g}", check.privileges)
        ]
        if check.groups != "create" and not any(userid in cluster.groups[group] for group in mine):
            raise forbidden()
