"""A node with cards, and VMs that have them in their config: ours and others'."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from localai_deploy.domain.pve.lease import Holder
from localai_deploy.domain.pve.ownership import POOL, TAG, OwnershipBlock
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.leases import Leases
from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.server import Sandbox, make_site, new_cluster
from localai_deploy.sandbox.site import Pace
from localai_deploy.sandbox.state import AclEntry, Cluster, Mapping, Node, Pool, Token, User, Vm
from tests.integration.pve_flow import connection
from tests.unit.sandbox.talking import GPU0, GPU1, device

CARD = GPU0.replace("01:00.0", "01:00")
OTHER_CARD = GPU1.replace("02:00.0", "02:00").replace("2684", "2204")
VM_RIGHTS = frozenset(
    {"VM.Audit", "VM.PowerMgmt", "VM.Config.HWType", "VM.Config.Options", "VM.GuestAgent.Audit"}
)


def soon(seconds: float) -> None:
    """Stands in for sleep."""
    time.sleep(min(seconds / 20, 0.02))


@dataclass
class CardPlace:
    """One cluster of two nodes, of which ``pve1`` has two cards; mapping ``gpu0`` is of the first."""

    sandbox: Sandbox

    @property
    def cluster(self) -> Cluster:
        return self.sandbox.site.cluster

    def add_vm(
        self,
        vmid: int,
        name: str,
        *cards: str,
        running: bool = False,
        ours: bool = True,
        onboot: int = 1,
        node: str = "pve1",
    ) -> Holder:
        """A VM with these mappings; as a lease names it."""
        identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{vmid}"))
        config = {
            "name": name,
            "machine": "q35",
            "kvm": 0,
            "memory": "512",
            "smbios1": f"uuid={identity}",
            "onboot": onboot,
            **{f"hostpci{number}": f"mapping={card},pcie=1" for number, card in enumerate(cards)},
        }
        if ours:
            block = OwnershipBlock(name, vmid, identity, {"name": name, "node": node, "gpus": list(cards)})
            config |= {"tags": TAG, "description": block.render()}
            self.cluster.pools.setdefault(POOL, Pool(POOL)).vms.add(vmid)
        self.cluster.vms[vmid] = Vm(vmid, node, config, BareBody(powers_off=True))
        if running:
            self.switch_on(vmid)
        return Holder(name, vmid, identity, foreign=not ours)

    def switch_on(self, vmid: int) -> None:
        """As the node's own start would, without its checks."""
        vm = self.cluster.vms[vmid]
        vm.body.power = "running"
        vm.devices = ["0000:01:00.0", "0000:01:00.1"]

    def power(self, vmid: int) -> str:
        return self.cluster.vms[vmid].body.state()

    def client(self, user: str = "root@pam", token: str = "sandbox") -> PveClient:
        return PveClient(connection(self.sandbox, user, token), sleep=soon)

    def leases(self, run: str = "run-1", client: PveClient | None = None, later_s: float = 0) -> Leases:
        return Leases(client or self.client(), run, clock=lambda: time.time() + later_s, sleep=soon)

    def token_without(self, *privileges: str) -> PveClient:
        """A token that may do all that takes to run VMs with cards, but for some privileges on mappings."""
        rights = {
            f"/pool/{POOL}": VM_RIGHTS | {"Pool.Audit"},
            "/mapping/pci": {"Mapping.Use", "Mapping.Audit", "Mapping.Modify"} - set(privileges),
            "/nodes/pve1": {"Sys.Audit"},
            "/": {"Sys.Audit"},
        }
        self.cluster.pools.setdefault(POOL, Pool(POOL))
        self.cluster.users["small@pve"] = User(
            "small@pve", tokens={"tool": Token(str(uuid.uuid4()), privsep=0)}
        )
        for number, (path, held) in enumerate(rights.items()):
            self.cluster.roles[f"Small{number}"] = frozenset(held)
            entry = AclEntry(path, "user", "small@pve", f"Small{number}", propagate=int(path != "/"))
            self.cluster.acl.append(entry)
        return self.client("small@pve", "tool")


@contextmanager
def card_place(major: int = 9) -> Iterator[CardPlace]:
    cluster = new_cluster(major)
    cluster.nodes["pve1"].pci_devices = [
        device("0000:01:00.0", 14),
        device("0000:01:00.1", 14, "0x040300", "0x22ba"),
        device("0000:02:00.0", 15, model="0x2204"),
        device("0000:02:00.1", 15, "0x040300", "0x1aef"),
    ]
    cluster.nodes["pve2"] = Node("pve2", "127.0.0.1")
    cluster.mappings["gpu0"] = Mapping("gpu0", [CARD], "the left slot")
    cluster.mappings["both"] = Mapping("both", [CARD, OTHER_CARD])
    with Sandbox(make_site(cluster, Pace(scale=0.001, import_s=0, status_round_s=0))) as sandbox:
        yield CardPlace(sandbox)
