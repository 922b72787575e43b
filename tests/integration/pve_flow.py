"""All that the product does at a node's API for one VM, step by step, with a token of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from localai_deploy.domain.pve.access import changes_to
from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection, parse_fingerprint
from localai_deploy.domain.pve.images import CloudImage
from localai_deploy.domain.pve.roles import Access
from localai_deploy.domain.pve.vm import Acceleration, Creation, VmSpec, candidate_ids, creation, new_identity
from localai_deploy.proxmox.access import apply_changes, read_state, require_administrator
from localai_deploy.proxmox.claims import Claims
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.images import ImageStore
from localai_deploy.proxmox.survey import survey_node
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.proxmox.vms import VmStore
from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.server import Sandbox, make_site, new_cluster
from localai_deploy.sandbox.site import Pace
from localai_deploy.sandbox.state import Storage, Vm, Volume
from tests.unit.sandbox.talking import DIGEST, device, fetch

IMAGE = CloudImage("http://mirror.example.org/debian.qcow2", "debian.qcow2", DIGEST, "sha256")
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHxJ root@guest\n"
TEMPLATE = 900


@contextmanager
def serving(major: int) -> Iterator[Sandbox]:
    """A node with storages for everything and for one thing each, a template outside our pool, and a card."""
    cluster = new_cluster(major)
    for name, content in (("disks", "images"), ("pictures", "import"), ("seeds", "iso")):
        cluster.storages[name] = Storage(name, content=[content])
    cluster.nodes["pve1"].pci_devices = [device("0000:01:00.0", 14)]
    volid = f"local:{TEMPLATE}/base-{TEMPLATE}-disk-0.qcow2"
    cluster.volumes[volid] = Volume(volid, "images", "qcow2", 2 << 30, int(time.time()), vmid=TEMPLATE)
    config = {"name": "template", "template": 1, "scsi0": f"{volid},size=2G", "memory": "512"}
    cluster.vms[TEMPLATE] = Vm(TEMPLATE, "pve1", config, BareBody())
    site = make_site(cluster, Pace(scale=0.001, import_s=0, status_round_s=0), fetch)
    site.make_body = lambda vmid: BareBody(
        answers={"file-read": HOST_KEY.encode()},
        network=[{"name": "eth0", "hardware-address": "bc:24:11:00:00:01"}],
        powers_off=True,
    )
    with Sandbox(site) as sandbox:
        yield sandbox


def connection(sandbox: Sandbox, user: str = "root@pam", name: str = "sandbox") -> NodeConnection:
    """Of a token that is there."""
    secret = sandbox.site.cluster.users[user].tokens[name].secret
    pin = parse_fingerprint(sandbox.certificate.fingerprint)
    return NodeConnection(
        "pve1", f"127.0.0.1:{sandbox.address[1]}", ApiToken(user, name, secret), fingerprint=pin
    )


def node_environment(sandbox: Sandbox) -> dict[str, str]:
    """Variables by which the command finds a sandbox that runs in this process."""
    made = connection(sandbox)
    return {
        "PROXMOX_HOST": made.host,
        "PROXMOX_USER": made.token.user,
        "PROXMOX_TOKEN_ID": made.token.name,
        "PROXMOX_TOKEN_SECRET": made.token.secret,
        "PROXMOX_FINGERPRINT": made.fingerprint,
    }


def grant(sandbox: Sandbox, access: Access) -> PveClient:
    """Apply rights as an administrator; a client with the token that was made."""
    administrator = PveClient(connection(sandbox))
    require_administrator(administrator, access)
    changes = changes_to(access, read_state(administrator, access))
    secrets: list[str] = []
    apply_changes(administrator, access, changes, on_change=lambda _: None, on_secret=secrets.append)
    made = connection(sandbox, access.user, "localai")
    assert [made.token.secret] == secrets
    return PveClient(made)


@dataclass
class Flow:
    """One VM from first look to removal; ``done`` holds the steps that went well."""

    client: PveClient
    spec: VmSpec
    deletes_seeds: bool = False
    done: list[str] = field(default_factory=list)
    vmid: int = 0
    seed: str = ""

    def __post_init__(self) -> None:
        waiter = TaskWaiter(self.client, sleep=lambda seconds: time.sleep(min(seconds, 0.01)))
        self.images, self.vms = ImageStore(self.client, waiter), VmStore(self.client, waiter)
        self.claims = Claims(self.client, waiter, self.vms)
        self.identity = new_identity("seed of a test")

    def steps(self) -> dict[str, Callable[[], Any]]:
        """By name, in order."""
        return {
            "look": self.look,
            **({} if self.spec.template else {"image": self.fetch_image}),
            "seed": self.upload_seed,
            "create": self.create,
            "resize": lambda: self.vms.grow_disk(self.vmid, "scsi0", self.spec.disk_gib),
            "start": lambda: self.vms.start(self.vmid),
            "agent": lambda: self.vms.agent(self.vmid, "network-get-interfaces"),
            "host key": self.read_host_key,
            "detach": lambda: self.vms.detach(self.vmid, "scsi1"),
            **({"remove seed": self.remove_seed} if self.deletes_seeds else {}),
            "change": self.change,
            "list": self.list_own,
            "delete": lambda: self.vms.delete(self.vmid),
        }

    def run(self) -> None:
        """Until the first error."""
        for name, step in self.steps().items():
            step()
            self.done.append(name)

    def look(self) -> None:
        survey_node(self.client)
        assert self.client.get("nodes/pve1/status")["memory"]
        assert self.vms.named(self.spec.name) is None

    def fetch_image(self) -> None:
        self.images.require_reachable(IMAGE)
        self.images.ensure_image(self.spec.image_storage, IMAGE)

    def upload_seed(self) -> None:
        self.seed = self.images.upload_seed(self.spec.seed_storage, "localai-vm-a.iso", b"seed")

    def create(self) -> None:
        self.claims.ensure_pool()
        candidates = candidate_ids(self.spec)
        self.vmid = self.claims.claim(self.spec.name, self.identity.uuid, candidates, self.creation)

    def creation(self, vmid: int) -> Creation:
        image = f"{self.spec.image_storage}:import/{IMAGE.file_name}"
        has_kvm = Acceleration(has_kvm=True)
        return creation(self.spec, vmid, self.identity, image=image, seed=self.seed, acceleration=has_kvm)

    def read_host_key(self) -> None:
        assert self.vms.read_file(self.vmid, "/etc/ssh/ssh_host_ed25519_key.pub") == HOST_KEY

    def remove_seed(self) -> None:
        self.images.remove(self.spec.seed_storage, self.seed)

    def change(self) -> None:
        """What a re-run changes, each under its own privilege."""
        config = self.vms.config(self.vmid)
        values = {"cores": 2, "memory": 1024, "net0": config["net0"], "description": config["description"]}
        self.vms.change(self.vmid, values, str(config["digest"]))

    def list_own(self) -> None:
        assert [vm.vmid for vm in self.vms.ours()] == [self.vmid]


def take_away(sandbox: Sandbox, path: str, privilege: str) -> None:
    """Take one privilege on one path from all who hold it there."""
    cluster = sandbox.site.cluster
    for entry in [one for one in cluster.acl if one.path == path and privilege in cluster.roles[one.role]]:
        reduced = f"{entry.role}-reduced"
        cluster.roles[reduced] = cluster.roles[entry.role] - {privilege}
        cluster.acl = [replace(one, role=reduced) if one == entry else one for one in cluster.acl]
