"""VMs of one node: look first, change, read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.pve.ownership import POOL, OwnershipBlock, owned_block
from localai_deploy.domain.pve.vm import differences, disk_size_gib
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.tasks import TaskWaiter

CREATE_TIMEOUT_S = 1800
START_TIMEOUT_S = 600
SHUTDOWN_TIMEOUT_S = 120
ID_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class OwnedVm:
    """A VM that is ours, with its config as it was read."""

    vmid: int
    node: str
    block: OwnershipBlock
    config: Mapping[str, Any]


class VmStore:
    """VMs of one node."""

    def __init__(self, client: PveClient, waiter: TaskWaiter) -> None:
        self._client = client
        self._waiter = waiter

    def config(self, vmid: int) -> dict[str, Any]:
        """The VM's config; ``pve-vm-missing`` when it is not there."""
        return dict(self._client.get(f"{self._path(vmid)}/config"))

    def status(self, vmid: int) -> str:
        """``running`` or ``stopped``."""
        return str(self._client.get(f"{self._path(vmid)}/status/current")["status"])

    def ours(self) -> list[OwnedVm]:
        """All VMs of this node that are really ours."""
        found = [self._owned(vmid) for vmid in self._pool_members()]
        return [vm for vm in found if vm is not None]

    def named(self, name: str) -> OwnedVm | None:
        """Our VM of that name.

        :raises LocalaiError: ``vm-name-twice`` when several carry it.
        """
        found = [vm for vm in self.ours() if vm.block.name == name]
        if len(found) > 1:
            ids = ", ".join(str(vm.vmid) for vm in found)
            raise LocalaiError("vm-name-twice", f"several of our VMs are named {name}: {ids}")
        return found[0] if found else None

    def _pool_members(self) -> list[int]:
        try:
            pool = self._client.get(f"pools/{POOL}")
        except LocalaiError as error:
            if "does not exist" in str(error) or "no such pool" in str(error).lower():
                return []
            raise
        return [
            int(member["vmid"])
            for member in pool.get("members", [])
            if member.get("type") == "qemu" and member.get("node") == self._client.node
        ]

    def _owned(self, vmid: int) -> OwnedVm | None:
        try:
            config = self.config(vmid)
        except LocalaiError as error:
            if error.error_id == "pve-vm-missing":
                return None
            raise
        block = owned_block(vmid, config, POOL)
        return OwnedVm(vmid, self._client.node, block, config) if block else None

    def create(self, parameters: Callable[[int], Mapping[str, Any]]) -> int:
        """Create a VM with the next free id; an id that another create takes first is given up.

        :param parameters: makes the parameters for an id.
        :returns: the id.
        :raises LocalaiError: ``pve-vmid-taken`` after several races lost; what the create failed with;
            ``pve-readback-failed``.
        """
        for _ in range(ID_ATTEMPTS):
            vmid = int(self._client.get("cluster/nextid"))
            sent = parameters(vmid)
            try:
                upid = self._client.post(f"nodes/{self._client.node}/qemu", **sent)
            except LocalaiError as error:
                if error.error_id == "pve-vmid-taken":
                    continue
                raise
            self._waiter.wait(str(upid), CREATE_TIMEOUT_S)
            self._compare(vmid, sent)
            return vmid
        raise LocalaiError("pve-vmid-taken", "other creates took every id that was tried", hint="run again")

    def _compare(self, vmid: int, sent: Mapping[str, Any]) -> None:
        wrong = differences(sent, self.config(vmid))
        if wrong:
            listed = "; ".join(f"{key}: sent {pair[0]!r}, found {pair[1]!r}" for key, pair in wrong.items())
            raise LocalaiError(
                "pve-readback-failed",
                f"VM {vmid} is not as it was asked for",
                why=listed,
                exit_code=ExitCode.PARTIAL,
            )

    def grow_disk(self, vmid: int, disk: str, size_gib: int) -> bool:
        """Grow a disk to ``size_gib``; a larger one stays. Returns whether it changed."""
        if disk_size_gib(str(self.config(vmid)[disk])) >= size_gib:
            return False
        upid = self._client.put(f"{self._path(vmid)}/resize", disk=disk, size=f"{size_gib}G")
        if upid:
            self._waiter.wait(str(upid), START_TIMEOUT_S)
        if disk_size_gib(str(self.config(vmid)[disk])) < size_gib:
            raise LocalaiError(
                "pve-readback-failed", f"disk {disk} of VM {vmid} did not grow to {size_gib} GiB"
            )
        return True

    def start(self, vmid: int) -> bool:
        """Start the VM unless it runs. Returns whether it changed."""
        if self.status(vmid) == "running":
            return False
        self._run(vmid, "start", START_TIMEOUT_S)
        return True

    def stop(self, vmid: int) -> bool:
        """Shut the guest down; pull the plug if it does not go. Returns whether it changed."""
        if self.status(vmid) == "stopped":
            return False
        try:
            self._run(vmid, "shutdown", SHUTDOWN_TIMEOUT_S + 30, timeout=SHUTDOWN_TIMEOUT_S)
        except LocalaiError:
            self._run(vmid, "stop", START_TIMEOUT_S)
        return True

    def detach(self, vmid: int, device: str) -> None:
        """Take a drive off the VM."""
        config = self.config(vmid)
        if device in config:
            self._client.put(f"{self._path(vmid)}/config", delete=device, digest=config["digest"])

    def delete(self, vm: OwnedVm) -> None:
        """Delete our VM with its disks; its ownership is read once more right before.

        :raises LocalaiError: ``vm-not-ours``.
        """
        if self._owned(vm.vmid) is None:
            raise LocalaiError("vm-not-ours", f"VM {vm.vmid} is not ours any more", hint="it is left alone")
        self.stop(vm.vmid)
        upid = self._client.delete(self._path(vm.vmid), purge=1, destroy_unreferenced_disks=1)
        self._waiter.wait(str(upid), START_TIMEOUT_S)

    def agent(self, vmid: int, command: str) -> Any:  # noqa: ANN401 - decoded JSON
        """Ask the guest agent (``network-get-interfaces``, …): its ``result``."""
        return self._client.get(f"{self._path(vmid)}/agent/{command}")["result"]

    def read_file(self, vmid: int, path: str) -> str:
        """A small file of the guest, through its agent."""
        return str(self._client.get(f"{self._path(vmid)}/agent/file-read", file=path)["content"])

    def _run(self, vmid: int, action: str, timeout_s: float, **parameters: Any) -> None:  # noqa: ANN401
        upid = self._client.post(f"{self._path(vmid)}/status/{action}", **parameters)
        self._waiter.wait(str(upid), timeout_s)

    def _path(self, vmid: int) -> str:
        return f"nodes/{self._client.node}/qemu/{vmid}"
