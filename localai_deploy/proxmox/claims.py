"""Make a VM: the create that the server grants once is what claims the name (docs/adr/0005)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from localai_deploy.domain.pve.ownership import POOL, find_block
from localai_deploy.domain.pve.vm import Creation, differences
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.client import TRANSIENT, PveClient
from localai_deploy.proxmox.survey import pool_exists
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.proxmox.vms import VmStore

CREATE_TIMEOUT_S = 1800
_CREATE_TASKS = frozenset({"qmcreate", "qmclone"})

Create = Callable[[int], Creation]
"""Makes the call for a vmid."""


class Claims:
    """Creates of one node."""

    def __init__(self, client: PveClient, waiter: TaskWaiter, vms: VmStore) -> None:
        self._client = client
        self._waiter = waiter
        self._vms = vms

    def ensure_pool(self) -> None:
        """Make our pool unless it is there."""
        if pool_exists(self._client):
            return
        try:
            self._client.post("pools", poolid=POOL, comment="VMs of localai-deploy")
        except LocalaiError as error:
            if "already exists" not in str(error):
                raise

    def claim(self, name: str, uuid: str, candidates: Iterable[int], create: Create) -> int:
        """Create the VM under the first candidate that is free.

        :returns: its vmid.
        :raises LocalaiError: ``vm-held``: another run is making a VM of that name; ``pve-vmid-taken``;
            what the create failed with; ``pve-readback-failed``.
        """
        taken = []
        for vmid in candidates:
            call = create(vmid)
            if self._create(vmid, uuid, call):
                self._configure(vmid, call)
                self._compare(vmid, call.wanted)
                self._yield_to_rival(vmid, name)
                return vmid
            self._look_at_rival(vmid, name)
            taken.append(vmid)
        raise LocalaiError(
            "pve-vmid-taken",
            f"no vmid is left for {name}",
            why=f"other VMs have {', '.join(map(str, taken))}",
            hint="choose one with localai_vmid, or another name",
        )

    def await_running_create(self, candidates: Iterable[int]) -> None:
        """Wait for creates that an earlier run of ours left at work; how they end is seen afterwards."""
        wanted = {str(vmid) for vmid in candidates}
        for task in self._tasks("active"):
            if task["type"] in _CREATE_TASKS and str(task["id"]) in wanted:
                self._wait_quietly(str(task["upid"]))

    def _create(self, vmid: int, uuid: str, call: Creation) -> bool:
        """Whether the VM is made; ``False`` when the id is taken."""
        try:
            upid = str(self._client.post(f"nodes/{self._client.node}/{call.path}", **call.sent))
        except LocalaiError as error:
            if error.error_id == "pve-vmid-taken":
                return self._is_mine(vmid, uuid)
            if error.error_id not in TRANSIENT:
                raise
            return self._recover(vmid, uuid, error)
        self._wait_for_create(vmid, uuid, upid)
        return True

    def _configure(self, vmid: int, call: Creation) -> None:
        """Set what the create could not; what a clone has of its template's disks stays."""
        found = self._vms.config(vmid)
        values = {key: value for key, value in call.config.items() if key != "efidisk0" or key not in found}
        self._vms.change(vmid, values, str(found["digest"]))

    def _wait_for_create(self, vmid: int, uuid: str, upid: str) -> None:
        """A task that the server forgot may have done its work: what is there decides."""
        try:
            self._waiter.wait(upid, CREATE_TIMEOUT_S)
        except LocalaiError as error:
            if error.error_id != "pve-task-lost" or not self._is_mine(vmid, uuid):
                raise

    def _recover(self, vmid: int, uuid: str, error: LocalaiError) -> bool:
        """The answer was lost: the create may be at work, done, or never have begun."""
        for task in self._tasks("all"):
            if task["type"] in _CREATE_TASKS and str(task["id"]) == str(vmid):
                self._wait_quietly(str(task["upid"]))
                break
        if self._is_mine(vmid, uuid):
            return True
        raise error

    def _is_mine(self, vmid: int, uuid: str) -> bool:
        vm = self._vms.look(vmid)
        return vm is not None and vm.block.uuid == uuid

    def _look_at_rival(self, vmid: int, name: str) -> None:
        """Somebody has the id: another run that makes this very VM, or anybody else."""
        self.await_running_create([vmid])
        vm = self._vms.look(vmid)
        if vm is not None and vm.block.name == name:
            raise _held(vmid, name)
        self._refuse_half_made(vmid, name)

    def _refuse_half_made(self, vmid: int, name: str) -> None:
        """A clone that was cut off before it got its own identity."""
        try:
            config = self._vms.config(vmid)
        except LocalaiError:
            return
        block = find_block(str(config.get("description", "")))
        if block is not None and (block.name, block.vmid) == (name, vmid):
            raise LocalaiError(
                "vm-half-made",
                f"VM {vmid} was begun for {name} and never became whole",
                why="its identity is not the one that its description names, so it is not touched",
                hint=f"look at it, then delete it on the node: qm destroy {vmid}",
            )

    def _yield_to_rival(self, vmid: int, name: str) -> None:
        """Two runs may get different ids when somebody deletes a VM between them: the later one gives way."""
        rivals = [vm.vmid for vm in self._vms.ours() if vm.block.name == name and vm.vmid != vmid]
        if rivals:
            self._vms.delete(vmid)
            raise _held(rivals[0], name)

    def _wait_quietly(self, upid: str) -> None:
        try:
            self._waiter.wait(upid, CREATE_TIMEOUT_S)
        except LocalaiError as error:
            if error.error_id == "pve-task-timeout":
                raise

    def _tasks(self, source: str) -> list[dict[str, Any]]:
        return list(self._client.get(f"nodes/{self._client.node}/tasks", source=source, limit=200))

    def _compare(self, vmid: int, sent: Mapping[str, Any]) -> None:
        wrong = differences(sent, self._vms.config(vmid))
        if wrong:
            listed = "; ".join(f"{key}: sent {pair[0]!r}, found {pair[1]!r}" for key, pair in wrong.items())
            raise LocalaiError(
                "pve-readback-failed",
                f"VM {vmid} is not as it was asked for",
                why=listed,
                exit_code=ExitCode.PARTIAL,
            )


def _held(vmid: int, name: str) -> LocalaiError:
    return LocalaiError(
        "vm-held",
        f"another run has just made VM {vmid} ({name})",
        hint="wait for it, then run again: it goes on with that VM",
        exit_code=ExitCode.HELD,
    )
