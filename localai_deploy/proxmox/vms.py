"""VMs that are ours: look first, change, read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localai_deploy.domain.pve.facts import VmFacts
from localai_deploy.domain.pve.network import guest_address, parse_network_device
from localai_deploy.domain.pve.ownership import POOL, OwnershipBlock, owned_block
from localai_deploy.domain.pve.vm import disk_size_gib, disks_of
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.survey import ask_all
from localai_deploy.proxmox.tasks import TaskWaiter

START_TIMEOUT_S = 600
RESIZE_TIMEOUT_S = 600
SHUTDOWN_TIMEOUT_S = 120
_ABSENT = frozenset({"pve-vm-missing", "pve-forbidden"})


class VmStore:
    """VMs of pool ``localai``, on whichever node of the cluster they are."""

    def __init__(self, client: PveClient, waiter: TaskWaiter) -> None:
        self._client = client
        self._waiter = waiter
        self._node_of: dict[int, str] = {}

    def ours(self) -> list[VmFacts]:
        """All VMs that are really ours, by vmid."""
        members = self._pool_members()
        return [vm for vm in ask_all(*(lambda vmid=vmid: self.look(vmid) for vmid in members)) if vm]

    def named(self, name: str) -> VmFacts | None:
        """Our VM of that name.

        :raises LocalaiError: ``vm-name-twice`` when several carry it.
        """
        members = self._pool_members()
        blocks = ask_all(*(lambda vmid=vmid: self._owned(vmid) for vmid in members))
        found = [vmid for vmid, one in zip(members, blocks, strict=True) if one and one[0].name == name]
        if len(found) > 1:
            ids = ", ".join(map(str, found))
            raise LocalaiError(
                "vm-name-twice",
                f"several of our VMs are named {name}: {ids}",
                hint="delete or rename all but one (a VM that is not ours any more: take its tag away)",
            )
        return self.look(found[0]) if found else None

    def look(self, vmid: int) -> VmFacts | None:
        """Everything about one VM; ``None`` when it is not there or not ours."""
        owned = self._owned(vmid)
        if owned is None:
            return None
        block, config = owned
        path = self.path(vmid)
        status, pending = ask_all(
            lambda: self._client.get(f"{path}/status/current"), lambda: self._client.get(f"{path}/pending")
        )
        running = str(status.get("status")) == "running"
        return VmFacts(
            vmid=vmid,
            node=self._node_of.get(vmid, self._client.node),
            block=block,
            config=config,
            status=str(status.get("qmpstatus") or status.get("status")),
            pending=tuple(str(one["key"]) for one in pending if "pending" in one or "delete" in one),
            address=self.address(vmid, config) if running else "",
            disks=disks_of(config),
        )

    def config(self, vmid: int) -> dict[str, Any]:
        """The VM's config, pending values included; ``pve-vm-missing`` when it is not there."""
        return dict(self._client.get(f"{self.path(vmid)}/config"))

    def address(self, vmid: int, config: Mapping[str, Any]) -> str:
        """What the guest agent reports for net0; empty while it is silent or has no address."""
        mac = parse_network_device(str(config.get("net0", ""))).mac
        try:
            return guest_address(self.agent(vmid, "network-get-interfaces"), mac)
        except LocalaiError as error:
            if error.error_id == "pve-agent-silent":
                return ""
            raise

    def _pool_members(self) -> list[int]:
        try:
            pool = self._client.get(f"pools/{POOL}")
        except LocalaiError as error:
            if "does not exist" in str(error):
                return []
            raise
        members = [one for one in pool.get("members", []) if one.get("type") == "qemu"]
        self._node_of = {int(one["vmid"]): str(one["node"]) for one in members}
        return sorted(self._node_of)

    def _owned(self, vmid: int) -> tuple[OwnershipBlock, dict[str, Any]] | None:
        try:
            config = self.config(vmid)
        except LocalaiError as error:
            if error.error_id in _ABSENT:
                return None
            raise
        pool = POOL if vmid in self._node_of or vmid in self._pool_members() else None
        block = owned_block(vmid, config, pool)
        return (block, config) if block else None

    def change(self, vmid: int, values: Mapping[str, Any], digest: str) -> None:
        """Change config values; refused when somebody else changed the config since ``digest``."""
        self._client.put(f"{self.path(vmid)}/config", **values, digest=digest)

    def grow_disk(self, vmid: int, disk: str, size_gib: int) -> bool:
        """Grow a disk to ``size_gib``; a larger one stays. Returns whether it changed."""
        if disk_size_gib(str(self.config(vmid)[disk])) >= size_gib:
            return False
        upid = self._client.put(f"{self.path(vmid)}/resize", disk=disk, size=f"{size_gib}G")
        if upid:
            self._waiter.wait(str(upid), RESIZE_TIMEOUT_S)
        if disk_size_gib(str(self.config(vmid)[disk])) < size_gib:
            raise LocalaiError(
                "pve-readback-failed", f"disk {disk} of VM {vmid} did not grow to {size_gib} GiB"
            )
        return True

    def status(self, vmid: int) -> str:
        """``running`` or ``stopped``."""
        return str(self._client.get(f"{self.path(vmid)}/status/current")["status"])

    def start(self, vmid: int) -> bool:
        """Start the VM unless it runs; a start that another run made first is as good."""
        if self.status(vmid) == "running":
            return False
        try:
            self._run(vmid, "start", START_TIMEOUT_S)
        except LocalaiError:
            if self.status(vmid) != "running":
                raise
        return True

    def stop(self, vmid: int) -> bool:
        """Shut the guest down; pull the plug if it does not go. Returns whether it changed."""
        if self.status(vmid) == "stopped":
            return False
        try:
            self._run(vmid, "shutdown", SHUTDOWN_TIMEOUT_S + 30, timeout=SHUTDOWN_TIMEOUT_S)
        except LocalaiError:
            self._run(vmid, "stop", START_TIMEOUT_S)
        if self.status(vmid) != "stopped":
            raise LocalaiError("pve-readback-failed", f"VM {vmid} does not stop")
        return True

    def detach(self, vmid: int, device: str) -> bool:
        """Take a drive off the VM. Returns whether the guest let it go already."""
        config = self.config(vmid)
        if device in config:
            self.change(vmid, {"delete": device}, str(config["digest"]))
        pending = self._client.get(f"{self.path(vmid)}/pending")
        return not any(str(one["key"]) == device for one in pending)

    def delete(self, vmid: int) -> None:
        """Delete our VM with its disks; its ownership is read once more right before.

        :raises LocalaiError: ``vm-not-ours``.
        """
        if self._owned(vmid) is None:
            raise LocalaiError("vm-not-ours", f"VM {vmid} is not ours any more", hint="it is left alone")
        self.stop(vmid)
        upid = self._client.delete(self.path(vmid), purge=1, destroy_unreferenced_disks=1)
        self._waiter.wait(str(upid), START_TIMEOUT_S)
        self._node_of.pop(vmid, None)

    def agent(self, vmid: int, command: str) -> Any:  # noqa: ANN401 - decoded JSON
        """Ask the guest agent (``network-get-interfaces``, …): its ``result``."""
        return self._client.get(f"{self.path(vmid)}/agent/{command}")["result"]

    def read_file(self, vmid: int, path: str) -> str:
        """A small file of the guest, through its agent."""
        return str(self._client.get(f"{self.path(vmid)}/agent/file-read", file=path)["content"])

    def _run(self, vmid: int, action: str, timeout_s: float, **parameters: Any) -> None:  # noqa: ANN401
        upid = self._client.post(f"{self.path(vmid)}/status/{action}", **parameters)
        self._waiter.wait(str(upid), timeout_s)

    def path(self, vmid: int) -> str:
        """The VM's path on the node where it is."""
        return f"nodes/{self._node_of.get(vmid, self._client.node)}/qemu/{vmid}"
