"""VMs of a node that get a card or give it away, ours or not; and what their guests see."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.pve.ownership import NotedCards, strip_block
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.proxmox.vms import VmStore

_TRIES = 5
_AGENT_PAUSE_S = 2.0
_BUS = "/proc/bus/pci/devices"
_DEVICE = re.compile(r"^[0-9a-f]{4}\t([0-9a-f]{4})([0-9a-f]{4})\t", re.MULTILINE)
_NOT_TOLD = frozenset({"pve-forbidden", "pve-failed"})
"""The token may not read files of this guest, or its agent cannot."""

_Lacking = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Values that a VM's config lacks, and that config."""


@dataclass(frozen=True, slots=True)
class CardVms:
    """VMs of one node, by vmid; each has to be of that node."""

    client: PveClient
    waiter: TaskWaiter

    @property
    def _vms(self) -> VmStore:
        return VmStore(self.client, self.waiter)

    def set(self, vmid: int, values: Mapping[str, Any]) -> None:
        """Set values of a VM's config that it does not have; ``delete`` takes keys away.

        :raises LocalaiError: ``pve-config-changed`` when somebody else writes it all the time.
        """

        def lacking() -> _Lacking:
            config = self._vms.config(vmid)
            return _missing(values, config), config

        self._write(vmid, lacking)

    def note(self, vmid: int, names: Collection[str], noted: NotedCards) -> None:
        """Have the block of a VM of ours say that of the cards by these mappings; others have no block.

        :raises LocalaiError: ``pve-config-changed`` as :meth:`set`.
        """

        def lacking() -> _Lacking:
            member = self._vms.member(vmid)
            if member is None or member.block.with_noted(names, noted) == member.block:
                return {}, {}
            note = strip_block(str(member.config.get("description", "")))
            return {"description": member.block.with_noted(names, noted).render(note)}, member.config

        self._write(vmid, lacking)

    def _write(self, vmid: int, lacking: Callable[[], _Lacking]) -> None:
        for is_last in (*(False for _ in range(_TRIES)), True):
            missing, config = lacking()
            if not missing:
                return
            try:
                self._vms.change(vmid, missing, str(config["digest"]))
            except LocalaiError as error:
                if error.error_id != "pve-config-changed" or is_last:
                    raise

    def is_running(self, vmid: int) -> bool:
        """Whether the VM is switched on."""
        return self._vms.status(vmid) == "running"

    def start(self, vmid: int) -> None:
        """Start it unless it runs.

        :raises LocalaiError: ``pve-card-in-use``; what else the start failed with.
        """
        self._vms.start(vmid)

    def shut_down(self, vmid: int, timeout_s: int) -> None:
        """Ask its guest to power off.

        :raises LocalaiError: ``pve-shutdown-timeout``.
        """
        if self.is_running(vmid):
            self._vms.shutdown(vmid, timeout_s)

    def stop(self, vmid: int) -> None:
        """Shut it down, or pull the plug."""
        self._vms.stop(vmid)

    def require_seen(self, vmid: int, ids: Iterable[str], patience_s: float) -> bool:
        """See that the guest has the card's functions, by vendor and device, as often as the card does.

        :param ids: ``10de:2684``, of each function.
        :param patience_s: for an agent that the VM is said to have.
        :returns: ``False``: its agent does not tell.
        :raises LocalaiError: ``card-not-there``.
        """
        found = self._guest_ids(vmid, patience_s)
        if found is None:
            return False
        lacking = Counter(ids) - found
        if lacking:
            raise LocalaiError(
                "card-not-there",
                f"the guest of VM {vmid} does not see the card",
                why=f"it has no PCI device {', '.join(sorted(lacking))}",
            )
        return True

    def _guest_ids(self, vmid: int, patience_s: float) -> Counter[str] | None:
        if not str(self._vms.config(vmid).get("agent", "0")).startswith(("1", "enabled=1")):
            return None
        for _ in range(1 + int(patience_s / _AGENT_PAUSE_S)):
            try:
                text = self._vms.read_file(vmid, _BUS)
            except LocalaiError as error:
                if error.error_id in _NOT_TOLD:
                    return None
                if error.error_id != "pve-agent-silent":
                    raise
                self.waiter.sleep(_AGENT_PAUSE_S)
            else:
                return Counter(f"{vendor}:{device}" for vendor, device in _DEVICE.findall(text))
        return None


def _missing(values: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``values`` the config does not have yet; a VM that says nothing of ``onboot`` has 0."""
    found = {"onboot": 0, **config}
    gone = [key for key in str(values.get("delete", "")).split(",") if key in config]
    kept = {
        key: one for key, one in values.items() if key != "delete" and str(found.get(key, "")) != str(one)
    }
    return kept | ({"delete": ",".join(gone)} if gone else {})
