"""The privilege engine: roles on paths, inheritance, groups, pools, tokens of their own right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from localai_deploy.sandbox.answers import ApiError, bad_parameters, died, forbidden
from localai_deploy.sandbox.auth import Identity
from localai_deploy.sandbox.state import AclEntry, Cluster

STANDARD_PATHS = ("/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms")
_NAME = r"[A-Za-z0-9._-]+"
_KNOWN = re.compile(
    rf"/|/access(/groups(/{_NAME})?|/realm(/{_NAME})?)?|/nodes(/{_NAME})?|/pool(/{_NAME}){{0,3}}"
    rf"|/mapping(/{_NAME}){{0,2}}|/sdn(/(zones|vnets|fabrics|controllers|dns|ipams)(/{_NAME}){{0,3}})?"
    rf"|/storage(/{_NAME})?|/vms(/[1-9][0-9]{{2,}})?"
)
_CAPABILITIES = {
    "access": r"(User|Group)\.|Permissions\.Modify",
    "dc": r"Sys\.Audit|Sys\.Modify|SDN\.",
    "mapping": r"Mapping\.|Permissions\.Modify",
    "nodes": r"Sys\.|Permissions\.Modify",
    "sdn": r"SDN\.|Permissions\.Modify",
    "storage": r"Datastore\.|Permissions\.Modify",
    "vms": r"VM\.|Permissions\.Modify",
}


def normal_path(path: str) -> str | None:
    """The path in its one form; None for characters that no path has."""
    short = "/" + re.sub(r"/+", "/", path).strip("/")
    return short if re.fullmatch(r"[A-Za-z0-9._/-]+", short) else None


def is_known_path(path: str, major: int) -> bool:
    """Whether access rules can be set there."""
    return bool(_KNOWN.fullmatch(path)) and (major > 7 or not path.startswith("/mapping"))


def _prefixes(path: str) -> Iterator[str]:
    yield "/"
    parts = path.strip("/").split("/") if path != "/" else []
    for count in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:count])


@dataclass(frozen=True)
class Permissions:
    """Privileges of callers in a cluster. A privilege's value is 1 where it is passed on to sub-paths."""

    cluster: Cluster

    def roles(self, name: str, path: str) -> dict[str, int]:
        """Roles of a user or token on a path, pools left aside."""
        user, _, token = name.partition("!")
        if token:
            found = self.cluster.users.get(user)
            entry = found.tokens.get(token) if found else None
            if entry is None:
                return {}
            if not entry.privsep:
                return self.roles(user, path)
        elif name == "root@pam":
            return {"Administrator": 1}
        roles: dict[str, int] = {}
        for prefix in _prefixes(path):
            found_here = self._roles_at(name, prefix, final=prefix == path)
            roles = found_here if found_here is not None else roles
        return {"NoAccess": roles["NoAccess"]} if "NoAccess" in roles else roles

    def _roles_at(self, name: str, path: str, *, final: bool) -> dict[str, int] | None:
        here = [entry for entry in self.cluster.acl if entry.path == path and (final or entry.propagate)]
        own = [entry for entry in here if entry.kind in {"user", "token"} and entry.who == name]
        groups = [e for e in here if e.kind == "group" and name in self.cluster.groups.get(e.who, ())]
        chosen: list[AclEntry] = own or groups
        return {entry.role: entry.propagate for entry in chosen} if chosen else None

    def _pool_roles(self, name: str, path: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for pool in self.cluster.pools.values():
            paths = {f"/vms/{vmid}" for vmid in pool.vms} | {f"/storage/{store}" for store in pool.storages}
            if path in paths:
                found |= dict.fromkeys(self.roles(name, f"/pool/{pool.name}"), 1)
        return found

    def of(self, name: str, path: str) -> dict[str, int]:
        """Privileges of a user or token on a path."""
        roles = self.roles(name, path) | self._pool_roles(name, path)
        privileges: dict[str, int] = {}
        for role, propagate in roles.items():
            for privilege in self.cluster.roles.get(role, frozenset()):
                privileges[privilege] = privileges.get(privilege) or propagate
        user, _, token = name.partition("!")
        owner = self.cluster.users.get(user)
        if token and owner is not None and token in owner.tokens and owner.tokens[token].privsep:
            limit = self.of(user, path)
            return {p: min(value, limit[p]) for p, value in privileges.items() if p in limit}
        return privileges

    def has_any(self, who: Identity, path: str, privileges: Iterable[str]) -> bool:
        """Whether the caller has one of the privileges there."""
        normal = normal_path(path)
        if normal is None:
            return False
        held = self.of(who.name, normal)
        return any(privilege in held for privilege in privileges)

    def need(self, who: Identity, path: str, *privileges: str) -> None:
        """All of the privileges, or the 403 that names the first one missing."""
        for privilege in privileges:
            if not self.has_any(who, path, (privilege,)):
                raise forbidden(f"{normal_path(path) or ''}, {privilege}")

    def need_any(self, who: Identity, path: str, *privileges: str) -> None:
        """One of the privileges, or the 403 that names them all."""
        if not self.has_any(who, path, privileges):
            raise forbidden(f"{normal_path(path) or ''}, {'|'.join(privileges)}")

    def need_on_vm(
        self, who: Identity, vmid: int, pool: str | None, *privileges: str, any_of: bool = False
    ) -> None:
        """The privileges on a VM, or on the pool that it is created in."""
        if pool is not None and self._held(who, f"/pool/{pool}", privileges, any_of=any_of):
            return
        (self.need_any if any_of else self.need)(who, f"/vms/{vmid}", *privileges)

    def _held(self, who: Identity, path: str, privileges: tuple[str, ...], *, any_of: bool) -> bool:
        chosen = any if any_of else all
        return chosen(self.has_any(who, path, (privilege,)) for privilege in privileges)

    def effective(self, name: str) -> dict[str, dict[str, int]]:
        """Privileges by path, for every standard path and those that rules and pools mention."""
        paths = {prefix for entry in self.cluster.acl for prefix in _prefixes(entry.path)} | {*STANDARD_PATHS}
        for pool in self.cluster.pools.values():
            paths |= {
                f"/pool/{pool.name}",
                *(f"/vms/{v}" for v in pool.vms),
                *(f"/storage/{s}" for s in pool.storages),
            }
        found = {path: self.of(name, path) for path in sorted(paths)}
        return {path: privileges for path, privileges in found.items() if privileges}

    def capabilities(self, name: str) -> dict[str, dict[str, int]]:
        """What the web page may offer, by area."""
        areas = [area for area in _CAPABILITIES if area != "mapping" or self.cluster.release.major > 7]
        found: dict[str, dict[str, int]] = {area: {} for area in areas}
        paths = ["/", "/nodes", "/access/groups", "/vms", "/storage", "/sdn", "/mapping"]
        for path in [*paths, *(entry.path for entry in self.cluster.acl)]:
            area = path.split("/")[1] or "dc"
            if area in found:
                wanted = re.compile(_CAPABILITIES[area])
                found[area] |= {
                    p: 1 for p in self.of(name, path) if wanted.match(p) and self._counts(area, p)
                }
        return found

    def _counts(self, area: str, privilege: str) -> bool:
        return self.cluster.release.major > 7 or (area, privilege) != ("dc", "Sys.Modify")


def check_acl_path(path: str, major: int) -> str:
    """The path in its one form; raises the 400 for one that the server does not know."""
    normal = normal_path(path)
    if normal is None or not is_known_path(normal, major):
        raise bad_parameters({"path": f"invalid ACL path '{path}'"})
    return normal


def missing_user(userid: str) -> ApiError:
    """The error for a user that does not exist."""
    return died(f"no such user ('{userid}')")
