"""A node, machines that run ``up`` and ``down`` against it, and guests that are only told of."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.plan import HostPlan
from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection, parse_fingerprint
from localai_deploy.domain.pve.ownership import find_block
from localai_deploy.domain.pve.planning import VmPlan, nominal_facts
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.domain.spec import Choices
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.proxmox.node import PveNode, open_node
from localai_deploy.sandbox.body import BareBody, GuestPlan
from localai_deploy.sandbox.server import Sandbox, make_site, new_cluster
from localai_deploy.sandbox.site import Pace, Site
from localai_deploy.sandbox.state import Storage
from localai_deploy.targets import proxmox_vm
from localai_deploy.targets.executor import Completed
from localai_deploy.targets.host_keys import HostKey, known_keys
from localai_deploy.targets.proxmox_vm import ProxmoxVm
from localai_deploy.workflow import provision as provisioning
from localai_deploy.workflow.apply import HostOutcome, new_place
from localai_deploy.workflow.observe import PlannedHost
from localai_deploy.workflow.provision import Rest, provision
from localai_deploy.workflow.removal import plan_removal, remove

NAME = "ai1"
ADDRESS = "192.0.2.10"
HOST_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIBqn7p1f3Jt5o0m1Vt0kQk3Yk0r0sKQyYtqHhE4y7m2V"
IMAGE_BYTES = bytes(1 << 20)
CALL_TIMEOUT_S = 20.0


def quickly(seconds: float) -> None:
    """Stands in for sleep."""
    time.sleep(min(seconds / 20, 0.05))


class Web:
    """A web server with one disk image; ``fetched`` counts downloads."""

    def __init__(self) -> None:
        web = self
        self.fetched = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/debian.raw" else 404)
                self.send_header("Content-Length", str(len(IMAGE_BYTES)))
                self.end_headers()
                if self.command == "GET":
                    web.fetched += 1
                    self.wfile.write(IMAGE_BYTES)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def image(self) -> str:
        """The image's URL with its checksum."""
        digest = hashlib.sha256(IMAGE_BYTES).hexdigest()
        return f"http://127.0.0.1:{self._server.server_address[1]}/debian.raw#sha256={digest}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Guest(BareBody):
    """A guest whose agent answers after ``silent`` questions, for the card that the VM has."""

    silent: int = 0
    mac: str = ""
    powers_off: bool = True
    keeps: tuple[str, ...] = ()

    def start(self, plan: GuestPlan) -> None:
        super().start(plan)
        match = re.match(r"virtio=([^,]+)", plan.config.get("net0", ""))
        self.mac = match[1].lower() if match else ""
        self.answers = {"file-read": f"ssh-ed25519 {HOST_KEY} root@{NAME}\n".encode()}

    def interfaces(self) -> list[dict[str, Any]]:
        if self.silent:
            self.silent -= 1
            self.network = None
            return super().interfaces()
        return [
            {"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": _told("127.0.0.1")},
            {"name": "docker0", "hardware-address": "02:42:00:00:00:01", "ip-addresses": _told("172.17.0.1")},
            {"name": "eth0", "hardware-address": self.mac, "ip-addresses": _told("fe80::1", ADDRESS)},
        ]

    def unplug(self, device: str) -> bool:
        return device not in self.keeps and super().unplug(device)


def _told(*addresses: str) -> list[dict[str, Any]]:
    return [{"ip-address": one, "prefix": 24} for one in addresses]


class Ssh:
    """In place of the guest's SSH server: notes who logs in, and which host keys are known by then."""

    logins: ClassVar[list[tuple[Connection, tuple[HostKey, ...]]]] = []
    commands: ClassVar[list[str]] = []

    def __init__(self, name: str, connection: Connection, password: str = "") -> None:
        del password
        self.name, self.connection = name, connection

    def connect(self) -> Ssh:
        alias = next(word for word in self.connection.ssh_args if word.startswith("HostKeyAlias="))
        self.logins.append((self.connection, known_keys(alias.removeprefix("HostKeyAlias="))))
        return self

    def run(self, argv: list[str], **options: object) -> Completed:
        del options
        self.commands.append(" ".join(argv))
        return Completed(0, b"", b"")

    def hold(self) -> Any:
        return nullcontext()

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Ended:
    """How one command ended: exit code, the error's id, what it said of things left over."""

    code: int
    error_id: str = ""
    text: str = ""
    notes: tuple[str, ...] = ()
    plan: VmPlan | None = None

    @property
    def actions(self) -> dict[str, str]:
        return {step.kind.value: step.action.value for step in self.plan.steps} if self.plan else {}


def failed(error: LocalaiError, plan: VmPlan | None = None, notes: tuple[str, ...] = ()) -> Ended:
    return Ended(int(error.exit_code), error.error_id, f"{error}\n{error.hint}", notes, plan)


class Quiet:
    """Follows a run and says nothing."""

    def step_started(self, *arguments: object) -> None: ...
    def task_event(self, *arguments: object) -> None: ...
    def step_ended(self, *arguments: object) -> None: ...


@dataclass
class Machine:
    """A machine with a token; each command starts from nothing but the node."""

    place: Place
    token: ApiToken
    given: dict[str, Any] = field(default_factory=dict)
    patience_s: int = 1
    name: str = NAME
    call_timeout_s: float = CALL_TIMEOUT_S

    def open_node(self, connection: NodeConnection, on_line: Any = lambda _: None) -> PveNode:
        return open_node(connection, on_line, timeout_s=self.call_timeout_s, sleep=quickly)

    def wish(self) -> VmWish:
        spec = VmSpec(self.name, "pve1", cores=2, memory_mib=1024, disk_gib=4, image=self.place.web.image)
        node = NodeConnection("pve1", self.place.host, self.token, fingerprint=self.place.pin)
        return VmWish(
            replace(spec, **self.given),
            node,
            frozenset(self.given),
            authorized_keys=("ssh-ed25519 AAAAC3 me@here",),
            first_boot_timeout_s=self.patience_s,
        )

    def target(self) -> ProxmoxVm:
        return ProxmoxVm(self.name, self.wish(), self.open_node, sleep=quickly)

    def host(self) -> InventoryHost:
        return InventoryHost(self.name, Connection(kind="vm"), {}, vm=self.wish())

    def plan(self) -> VmPlan:
        return self.target().survey()

    def up(self) -> Ended:
        """As the command does, without consent and without the roles."""
        target = self.target()
        try:
            plan = target.survey()
        except LocalaiError as error:
            return failed(error)
        return self.carry_out(target, plan)

    def carry_out(self, target: ProxmoxVm, plan: VmPlan) -> Ended:
        host = HostPlan(self.name, plan.steps, plan.findings)
        if host.blockers:
            first = host.blockers[0]
            return Ended(
                int(first.exit_code), first.finding_id, f"{first.what}\n{first.why}\n{first.hint}", (), plan
            )
        facts = nominal_facts(plan.spec, plan.image)
        planned = PlannedHost(self.host(), target, facts, None, host, plan)
        outcome = HostOutcome()
        with ExitStack() as stack:
            rest = Rest(Choices(), lambda _: None, stack)
            provision([planned], new_place(), {self.name: outcome}, Quiet(), rest)
        target.close()
        if outcome.error is not None:
            return failed(outcome.error, plan, outcome.notes)
        return Ended(0, "", "", outcome.notes, plan)

    def down(self) -> Ended:
        with ExitStack() as stack:
            try:
                removal = plan_removal(self.host(), self.target(), lambda _: None, stack, purge=False)
            except LocalaiError as error:
                return failed(error)
            outcome = remove([removal], Quiet(), forks=1)[self.name] if removal.plan.steps else HostOutcome()
        if outcome.error is not None:
            return failed(outcome.error, removal.seen, outcome.notes)
        return Ended(0, "", "; ".join(removal.kept), outcome.notes, removal.seen)


@dataclass
class Place:
    """A sandbox that is up, and the web server from which its node fetches."""

    sandbox: Sandbox
    web: Web

    @property
    def site(self) -> Site:
        return self.sandbox.site

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.sandbox.address[1]}"

    @property
    def pin(self) -> str:
        return parse_fingerprint(self.sandbox.certificate.fingerprint)

    def machine(self, token: str = "root@pam!sandbox", **given: Any) -> Machine:
        user, _, name = token.partition("!")
        secret = self.site.cluster.users[user].tokens[name].secret
        return Machine(self, ApiToken(user, name, secret), given)

    def changes(self) -> list[str]:
        """Requests since :meth:`forget` that are more than a look."""
        return [f"{method} {path}" for method, path, _ in self.site.requests if method != "GET"]

    def forget(self) -> None:
        self.site.requests.clear()

    def state(self) -> dict[str, Any]:
        """All that there is, without what is random or a time."""
        cluster = self.site.cluster
        return {
            "vms": {
                vmid: _shown(vm.config) | {"power": vm.body.state()}
                for vmid, vm in sorted(cluster.vms.items())
            },
            "pending": {vmid: (vm.pending, vm.pending_delete) for vmid, vm in sorted(cluster.vms.items())},
            "volumes": {
                one.volid: one.size for one in sorted(cluster.volumes.values(), key=lambda one: one.volid)
            },
            "pools": {pool.name: sorted(pool.vms) for pool in cluster.pools.values()},
            "used": {name: store.used for name, store in cluster.storages.items()},
        }


_RANDOM = {"smbios1", "vmgenid", "meta", "net0"}


def _shown(config: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in config.items() if key not in _RANDOM}
    block = find_block(str(config.get("description", "")))
    if block is not None:
        shown["description"] = [block.name, block.vmid, dict(block.spec), block.begun]
    shown["net0"] = re.sub(r"=[0-9A-F:]{17}", "=MAC", str(config.get("net0", "")))
    return json.loads(json.dumps(shown))


def new_site(major: int = 9) -> Site:
    """A node on which nothing takes time."""
    cluster = new_cluster(major)
    for name, content in (("disks", "images"), ("seeds", "iso")):
        cluster.storages[name] = Storage(name, content=[content], avail=100 << 30)
    site = make_site(cluster, Pace(scale=0.001, import_s=0, status_round_s=0))
    site.make_body = lambda vmid: Guest()
    return site


def give_cards(site: Site, *, iommu: bool = True) -> None:
    """Two equal cards, each with its audio function, and the display of the node itself."""
    ids = ["0000:00:02.0", "0000:01:00.0", "0000:01:00.1", "0000:02:00.0", "0000:02:00.1"]
    kinds = {"2.0": ("8086", "4680", "0x030000"), "0.0": ("10de", "2684", "0x030000")}
    sound = ("10de", "22ba", "0x040300")
    site.cluster.nodes["pve1"].pci_devices = [
        {
            "id": address,
            "class": class_id,
            "vendor": f"0x{vendor}",
            "device": f"0x{device}",
            "subsystem_vendor": "0x1043",
            "subsystem_device": "0x889c",
            "iommugroup": 10 + int(address[5:7]) if iommu else -1,
        }
        for address in ids
        for vendor, device, class_id in [kinds.get(address[-3:], sound)]
    ]
    site.cluster.nodes["pve1"].iommu = iommu


@contextmanager
def serving(site: Site, web: Web | None = None) -> Iterator[Place]:
    own = web or Web()
    with Sandbox(site) as sandbox:
        yield Place(sandbox, own)
    if web is None:
        own.stop()


def isolate(directory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and known hosts of the test's own, guests without SSH, nothing after a VM is up."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(directory / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(directory / "state"))
    monkeypatch.setattr(proxmox_vm, "SshHost", Ssh)
    monkeypatch.setattr(provisioning, "_seen_anew", lambda planned, outcome, rest: planned)
    monkeypatch.setattr(Ssh, "logins", [])
    monkeypatch.setattr(Ssh, "commands", [])
