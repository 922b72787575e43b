"""Resource mappings of PCI devices, in the cluster's file of them."""

from __future__ import annotations

from collections.abc import Iterable

from localai_deploy.domain.pve.mapping import MappingEntry, ResourceMapping, parse_mapping
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import TRANSIENT, PveClient

_PATH = "cluster/mapping/pci"


class Mappings:
    """Mappings of the cluster; what the server itself finds wrong is asked of the client's node."""

    def __init__(self, client: PveClient) -> None:
        self._client = client

    def all(self) -> tuple[ResourceMapping, ...]:
        """Those that the token may see, by name; without rights there are none."""
        answer = self._client.get(_PATH, check_node=self._client.node)
        return tuple(sorted(map(parse_mapping, answer), key=lambda one: one.name))

    def named(self, name: str) -> ResourceMapping:
        """One of them.

        :raises LocalaiError: ``pve-mapping-missing``, ``pve-forbidden``.
        """
        return parse_mapping(self._client.get(f"{_PATH}/{name}"), name)

    def create(self, name: str, entries: Iterable[MappingEntry], description: str = "") -> ResourceMapping:
        """Make one and read it back.

        :raises LocalaiError: ``pve-mapping-taken``: another run was faster, or it is somebody else's;
            ``pve-forbidden``, ``pve-readback-failed``.
        """
        wanted = [str(entry) for entry in entries]
        try:
            self._client.post(_PATH, id=name, map=wanted, description=description or None)
        except LocalaiError as error:
            if error.error_id not in TRANSIENT or not self._is(name, wanted):
                raise
        if not self._is(name, wanted):
            raise LocalaiError("pve-readback-failed", f"mapping {name} is not as it was asked for")
        return self.named(name)

    def describe(self, mapping: ResourceMapping, description: str) -> None:
        """Write a mapping's description, unless any mapping changed since ``mapping.digest``.

        The server wants the entries with every change: they are sent as they were read.

        :raises LocalaiError: ``pve-config-changed``, ``pve-forbidden``, ``pve-mapping-missing``.
        """
        entries = [str(entry) for entry in mapping.entries]
        change = {"description": description} if description else {"delete": "description"}
        try:
            self._client.put(f"{_PATH}/{mapping.name}", map=entries, digest=mapping.digest, **change)
        except LocalaiError as error:
            if error.error_id not in TRANSIENT or self.named(mapping.name).description != description:
                raise

    def _is(self, name: str, entries: list[str]) -> bool:
        try:
            found = self.named(name)
        except LocalaiError as error:
            if error.error_id == "pve-mapping-missing":
                return False
            raise
        return sorted(map(str, found.entries)) == sorted(entries)
