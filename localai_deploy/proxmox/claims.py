"""Make a VM: the create that the server grants once is what claims the name (docs/adr/0005)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from localai_deploy.domain.pve.ownership import POOL
from localai_deploy.domain.pve.vm import Creation, differences
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.client import TRANSIENT, PveClient
from localai_deploy.proxmox.jobs import Jobs
from localai_deploy.proxmox.survey import pool_exists
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.proxmox.vms import UNKNOWN_END, Member, VmStore

CREATE_TIMEOUT_S = 1800
_KINDS = ("qmcreate", "qmclone")
_PASSES = 2
"""A drive that is set may put itself into the boot order, which is then set once more."""
_LOOKS = 5
_PAUSE_S = 1.0

Create = Callable[[int], Creation]
"""Makes the call for a vmid."""


class Claims:
    """Creates of one node."""

    def __init__(self, client: PveClient, waiter: TaskWaiter, vms: VmStore) -> None:
        self._client = client
        self._jobs = Jobs(client, waiter)
        self._vms = vms

    def ensure_pool(self) -> None:
        """Make our pool unless it is there."""
        if pool_exists(self._client):
            return
        try:
            self._client.post("pools", poolid=POOL, comment="VMs of localai-deploy")
        except LocalaiError as error:
            lost = error.error_id in TRANSIENT and pool_exists(self._client)
            if "already exists" not in str(error) and not lost:
                raise

    def claim(self, name: str, uuid: str, candidates: Iterable[int], create: Create) -> int:
        """Create the VM under the first candidate that is free, and make it whole.

        :param uuid: of this very run; the call's description holds it.
        :returns: its vmid.
        :raises LocalaiError: ``vm-held``: another run is making a VM of that name; ``pve-vmid-taken``;
            what the create failed with; ``pve-readback-failed``.
        """
        order, taken = tuple(candidates), []
        for vmid in order:
            call = create(vmid)
            if self._begin(vmid, uuid, call):
                self._await_others(vmid, order, call)
                self._give_way(vmid, name)
                self.finish(vmid, name, call)
                return vmid
            self._look_at_rival(vmid, name, call)
            taken.append(str(vmid))
        raise LocalaiError(
            "pve-vmid-taken",
            f"no vmid is left for {name}",
            why=f"other VMs have {', '.join(taken)}",
            hint="choose one with localai_vmid, or another name",
        )

    def finish(self, vmid: int, name: str, call: Creation) -> None:
        """Make a VM whole that was begun, by this run or by one that was cut off.

        :raises LocalaiError: ``vm-held``: another run did so at the same moment; ``vm-half-made``;
            ``pve-readback-failed``.
        """
        self._refuse_started(vmid)
        for _ in range(_PASSES):
            found = self._vms.config(vmid)
            missing = call.missing(found)
            if missing:
                self._set(vmid, name, missing, str(found["digest"]))
        self._compare(vmid, call)

    def _set(self, vmid: int, name: str, values: Mapping[str, Any], digest: str) -> None:
        try:
            self._vms.change(vmid, values, digest)
        except LocalaiError as error:
            if error.error_id == "pve-config-changed":
                raise held_by_another_run(vmid, name) from error
            raise

    def await_running(self, candidates: Iterable[int]) -> None:
        """Wait for creates that an earlier run of ours left at work; how they end is seen afterwards.

        :param candidates: vmids, and the id of a template that is cloned.
        """
        self._jobs.await_running(_KINDS, {str(one) for one in candidates}, CREATE_TIMEOUT_S)

    def _begin(self, vmid: int, uuid: str, call: Creation) -> bool:
        """Whether the VM is there and begun by this run; ``False`` when the id is taken."""
        kind = _KINDS[call.about != vmid]
        path = f"nodes/{self._client.node}/{call.path}"
        try:
            self._jobs.run(lambda: self._client.post(path, **call.sent), kind, call.about, CREATE_TIMEOUT_S)
        except LocalaiError as error:
            if error.error_id == "pve-vmid-taken":
                return False
            if error.error_id not in UNKNOWN_END or not self._is_begun(vmid, uuid):
                raise
        return True

    def _is_begun(self, vmid: int, uuid: str) -> bool:
        """What became of a create whose answer or task was lost; one that is at work is waited for."""
        member = self._settled(vmid)
        return member is not None and member.block.uuid == uuid

    def _settled(self, vmid: int) -> Member | None:
        """The VM once nobody is making it any more.

        While it is made its config holds only a lock, and it is in no pool: a token of the pool alone
        cannot see it then.
        """
        for _ in range(_LOOKS):
            member = self._vms.member(vmid)
            if member is not None or not self._may_be_in_the_making(vmid):
                return member
            self._jobs.sleep(_PAUSE_S)
        return None

    def _may_be_in_the_making(self, vmid: int) -> bool:
        try:
            return self._vms.config(vmid).get("lock") in {"create", "clone"}
        except LocalaiError as error:
            if error.error_id not in {"pve-forbidden", "pve-vm-missing"}:
                raise
            return error.error_id == "pve-forbidden"

    def _look_at_rival(self, vmid: int, name: str, call: Creation) -> None:
        """Somebody has the id: another run that makes this very VM, or anybody else."""
        self.await_running([vmid, call.about])
        member = self._settled(vmid)
        if member is not None and member.block.name == name:
            raise held_by_another_run(vmid, name)

    def _await_others(self, vmid: int, candidates: Sequence[int], call: Creation) -> None:
        """Creates of this name under other ids end first, so that all see each other."""
        others = {*candidates, call.about} - {vmid}
        if others:
            self.await_running(others)

    def _give_way(self, vmid: int, name: str) -> None:
        """Two runs may get different ids when somebody deletes a VM between them, or when they ask for such.

        One that is whole has won; of two that are begun, the lower id.
        """
        for rival in self._vms.members():
            is_other = rival.block.name == name and rival.vmid != vmid
            if is_other and (not rival.block.begun or rival.vmid < vmid):
                self._vms.delete(vmid)
                raise held_by_another_run(rival.vmid, name)

    def _refuse_started(self, vmid: int) -> None:
        if self._vms.status(vmid) != "stopped":
            raise LocalaiError(
                "vm-half-made",
                f"VM {vmid} was begun by a run that was cut off, and somebody started it since",
                why="it would get another identity while it runs",
                hint=f"shut it down and run again; if nobody needs it: qm destroy {vmid}",
            )

    def _compare(self, vmid: int, call: Creation) -> None:
        found: dict[str, Any] = self._vms.config(vmid)
        wrong = [
            f"{key}: sent {sent!r}, found {now!r}"
            for key, (sent, now) in differences(call.config, found).items()
        ]
        if self._vms.member(vmid) is None:
            wrong.append("pool, tag and description do not name it as ours")
        if wrong:
            raise LocalaiError(
                "pve-readback-failed",
                f"VM {vmid} is not as it was asked for",
                why="; ".join(wrong),
                exit_code=ExitCode.PARTIAL,
            )


def held_by_another_run(vmid: int, name: str) -> LocalaiError:
    """``vm-held``: the run that made the VM goes on with it, not this one."""
    return LocalaiError(
        "vm-held",
        f"another run has just made VM {vmid} ({name})",
        hint="wait for it, then run again: it goes on with that VM",
        exit_code=ExitCode.HELD,
    )
