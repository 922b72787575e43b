"""VMs that are ours: look first, change, read back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.pve.facts import BegunVm, VmFacts
from localai_deploy.domain.pve.hostpci import cards_in
from localai_deploy.domain.pve.network import first_card, guest_address
from localai_deploy.domain.pve.ownership import POOL, OwnershipBlock, begun_block, owned_block
from localai_deploy.domain.pve.vm import disk_size_gib, disks_of, is_set
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import TRANSIENT, PveClient
from localai_deploy.proxmox.jobs import Jobs
from localai_deploy.proxmox.survey import ask_all
from localai_deploy.proxmox.tasks import TaskWaiter

START_TIMEOUT_S = 600
RESIZE_TIMEOUT_S = 600
SHUTDOWN_TIMEOUT_S = 120
_ABSENT = frozenset({"pve-vm-missing", "pve-forbidden"})
UNKNOWN_END = frozenset({*TRANSIENT, "pve-task-lost", "pve-task-cut-off"})
"""Failures after which a call may have done its work all the same, or be at it still."""
_LOOKS = 5
_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Member:
    """A VM of our pool that carries a block of ours: whole, or only ``begun``."""

    vmid: int
    block: OwnershipBlock
    config: Mapping[str, Any]


class VmStore:
    """VMs of pool ``localai``, on whichever node of the cluster they are."""

    def __init__(self, client: PveClient, waiter: TaskWaiter) -> None:
        self._client = client
        self._jobs = Jobs(client, waiter)
        self._node_of: dict[int, str] = {}

    def ours(self) -> list[VmFacts]:
        """All VMs that are really ours, by vmid."""
        whole = [one for one in self.members() if not one.block.begun]
        return ask_all(*(lambda one=one: self._facts(one) for one in whole))

    def find(self, name: str) -> tuple[VmFacts | None, BegunVm | None]:
        """Our VM of that name, and one that a run began and did not finish.

        :raises LocalaiError: ``vm-name-twice`` when several are ours.
        """
        members = [one for one in self.members() if one.block.name == name]
        whole = [one for one in members if not one.block.begun]
        if len(whole) > 1:
            ids = ", ".join(str(one.vmid) for one in whole)
            raise LocalaiError(
                "vm-name-twice",
                f"several of our VMs are named {name}: {ids}",
                hint="delete or rename all but one (a VM that is not ours any more: take its tag away)",
            )
        begun = [BegunVm(one.vmid, self._node(one.vmid), one.block) for one in members if one.block.begun]
        return (self._facts(whole[0]) if whole else None), (begun[0] if begun else None)

    def named(self, name: str) -> VmFacts | None:
        """Our VM of that name.

        :raises LocalaiError: ``vm-name-twice``.
        """
        return self.find(name)[0]

    def members(self) -> list[Member]:
        """VMs of our pool with a block that names them, by vmid."""
        found = ask_all(*(lambda vmid=vmid: self._member(vmid) for vmid in self._pool_members()))
        return [one for one in found if one]

    def member(self, vmid: int) -> Member | None:
        """One of them; ``None`` when it is not there, not in the pool or not ours."""
        return self._member(vmid) if vmid in self._pool_members() else None

    def _member(self, vmid: int) -> Member | None:
        try:
            config = self.config(vmid)
        except LocalaiError as error:
            if error.error_id in _ABSENT:
                return None
            raise
        block = owned_block(vmid, config, POOL) or begun_block(vmid, config, POOL)
        return Member(vmid, block, config) if block else None

    def _facts(self, member: Member) -> VmFacts:
        vmid, config = member.vmid, member.config
        path = self.path(vmid)
        status, pending = ask_all(
            lambda: self._client.get(f"{path}/status/current"), lambda: self.pending(vmid)
        )
        running = str(status.get("status")) == "running"
        return VmFacts(
            vmid=vmid,
            node=self._node(vmid),
            block=member.block.having(_runs_with(config, pending)) if running else member.block,
            config=config,
            status=str(status.get("qmpstatus") or status.get("status")),
            pending=pending,
            address=self.address(vmid, config) if running else "",
            disks=disks_of(config),
        )

    def config(self, vmid: int) -> dict[str, Any]:
        """The VM's config, pending values included; ``pve-vm-missing`` when it is not there."""
        return dict(self._client.get(f"{self.path(vmid)}/config"))

    def pending(self, vmid: int) -> tuple[str, ...]:
        """Keys of the config whose new value, or removal, waits for a restart."""
        entries = self._client.get(f"{self.path(vmid)}/pending")
        return tuple(str(one["key"]) for one in entries if "pending" in one or "delete" in one)

    def address(self, vmid: int, config: Mapping[str, Any]) -> str:
        """What the guest agent reports for net0; empty while it is silent or has no address."""
        try:
            return guest_address(self.agent(vmid, "network-get-interfaces"), first_card(config).mac)
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

    def change(self, vmid: int, values: Mapping[str, Any], digest: str) -> None:
        """Change config values; refused when somebody else changed the config since ``digest``."""
        try:
            self._client.put(f"{self.path(vmid)}/config", **values, digest=digest)
        except LocalaiError as error:
            if error.error_id not in UNKNOWN_END or not self._holds(vmid, values):
                raise

    def _holds(self, vmid: int, values: Mapping[str, Any]) -> bool:
        found = self.config(vmid)
        gone = str(values.get("delete", "")).split(",")
        kept = {key: value for key, value in values.items() if key != "delete"}
        return not set(gone) & set(found) and all(is_set(key, one, found) for key, one in kept.items())

    def grow_disk(self, vmid: int, disk: str, size_gib: int) -> bool:
        """Grow a disk to ``size_gib``; a larger one stays. Returns whether it changed.

        :raises LocalaiError: ``vm-disk-missing``; what the resize failed with.
        """
        if self._disk_gib(vmid, disk) >= size_gib:
            return False
        path = f"{self.path(vmid)}/resize"
        try:
            self._jobs.run(
                lambda: self._client.put(path, disk=disk, size=f"{size_gib}G"),
                "resize",
                vmid,
                RESIZE_TIMEOUT_S,
            )
        except LocalaiError as error:
            self._expect(lambda: self._disk_gib(vmid, disk) >= size_gib, error)
        if self._disk_gib(vmid, disk) < size_gib:
            raise LocalaiError(
                "pve-readback-failed", f"disk {disk} of VM {vmid} did not grow to {size_gib} GiB"
            )
        return True

    def _disk_gib(self, vmid: int, disk: str) -> int:
        config = self.config(vmid)
        if disk not in config:
            raise LocalaiError(
                "vm-disk-missing",
                f"VM {vmid} has no disk {disk}",
                why="the system is expected on it; of a template it comes from there",
                hint=f"on the node: qm config {vmid}; a template has to have its system on {disk}",
            )
        return disk_size_gib(str(config[disk]))

    def status(self, vmid: int) -> str:
        """``running`` or ``stopped``."""
        return str(self._client.get(f"{self.path(vmid)}/status/current")["status"])

    def start(self, vmid: int) -> bool:
        """Start the VM unless it runs; a start that another run made first is as good."""
        if self.status(vmid) == "running":
            return False
        self._power(vmid, "start", "running", START_TIMEOUT_S)
        return True

    def stop(self, vmid: int) -> bool:
        """Shut the guest down; pull the plug if it does not go. Returns whether it changed."""
        if self.status(vmid) == "stopped":
            return False
        try:
            self.shutdown(vmid, SHUTDOWN_TIMEOUT_S)
        except LocalaiError:
            self._power(vmid, "stop", "stopped", START_TIMEOUT_S)
        if self.status(vmid) != "stopped":
            raise LocalaiError("pve-readback-failed", f"VM {vmid} does not stop")
        return True

    def shutdown(self, vmid: int, timeout_s: int) -> None:
        """Ask the guest to power off, and no more than that.

        :raises LocalaiError: ``pve-shutdown-timeout``: it still runs.
        """
        self._power(vmid, "shutdown", "stopped", timeout_s + 30, timeout=timeout_s)

    def _power(self, vmid: int, action: str, wanted: str, timeout_s: float, **parameters: Any) -> None:  # noqa: ANN401
        """Whatever call or task ended with: the state that is there afterwards decides."""
        path = f"{self.path(vmid)}/status/{action}"
        try:
            self._jobs.run(lambda: self._client.post(path, **parameters), f"qm{action}", vmid, timeout_s)
        except LocalaiError as error:
            self._expect(lambda: self.status(vmid) == wanted, error)

    def _expect(self, is_so: Callable[[], bool], error: LocalaiError) -> None:
        """Raise ``error`` unless its call has done its work; where nobody knows, it gets some time."""
        for _ in range(_LOOKS if error.error_id in UNKNOWN_END else 1):
            if is_so():
                return
            self._jobs.sleep(_PAUSE_S)
        raise error

    def detach(self, vmid: int, device: str) -> bool:
        """Take a drive off the VM. Returns whether the guest let it go already."""
        for is_last in (False, False, True):
            try:
                self._ask_to_detach(vmid, device)
                break
            except LocalaiError as error:
                if error.error_id == "pve-hotplug-refused":
                    break
                if error.error_id != "pve-config-changed" or is_last:
                    raise
        return device not in self.pending(vmid)

    def _ask_to_detach(self, vmid: int, device: str) -> None:
        config = self.config(vmid)
        if device in config:
            self.change(vmid, {"delete": device}, str(config["digest"]))

    def delete(self, vmid: int) -> None:
        """Delete our VM with its disks; its ownership is read once more right before.

        :raises LocalaiError: ``vm-not-ours``.
        """
        if self.member(vmid) is None:
            raise LocalaiError("vm-not-ours", f"VM {vmid} is not ours any more", hint="it is left alone")
        self.stop(vmid)
        path = self.path(vmid)
        try:
            self._jobs.run(lambda: self._client.delete(path, purge=1), "qmdestroy", vmid, START_TIMEOUT_S)
        except LocalaiError as error:
            self._expect(lambda: not self.is_there(vmid), error)
        self._node_of.pop(vmid, None)

    def is_there(self, vmid: int) -> bool:
        """Whether the token sees such a VM."""
        try:
            self.config(vmid)
        except LocalaiError as error:
            if error.error_id in _ABSENT:
                return False
            raise
        return True

    def agent(self, vmid: int, command: str) -> Any:  # noqa: ANN401 - decoded JSON
        """Ask the guest agent (``network-get-interfaces``, …): its ``result``."""
        return self._client.get(f"{self.path(vmid)}/agent/{command}")["result"]

    def read_file(self, vmid: int, path: str) -> str:
        """A small file of the guest, through its agent."""
        return str(self._client.get(f"{self.path(vmid)}/agent/file-read", file=path)["content"])

    def path(self, vmid: int) -> str:
        """The VM's path on the node where it is."""
        return f"nodes/{self._node(vmid)}/qemu/{vmid}"

    def _node(self, vmid: int) -> str:
        return self._node_of.get(vmid, self._client.node)


def _runs_with(config: Mapping[str, Any], pending: Collection[str]) -> set[str]:
    """Mappings of the cards that a VM was started with; one that came since waits for its next start."""
    return {card.mapping for slot, card in cards_in(config).items() if slot not in pending}
