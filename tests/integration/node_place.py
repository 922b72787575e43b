"""An embedded node as its own process, with somebody who uses it, and its VMs as its API shows them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localai_deploy.domain.pve.network import guest_address
from localai_deploy.domain.pve.vm import VmSpec, candidate_ids
from localai_deploy.errors import LocalaiError
from localai_deploy.sandbox.settings import places_of
from localai_deploy.sandbox.sweeping import kernel_prefix
from localai_deploy.sandbox_record import DIRECTORY_VARIABLE, NODE
from tests.integration.controller import end_process, wait_for
from tests.integration.product import DEADLINE_S
from tests.integration.sandbox_user import Sandboxed, new_user, wait_until_ended
from tests.integration.vm_user import VmUser, new_vm_user
from tests.lab.offer import make_offer

if TYPE_CHECKING:
    from tests.lab.layout import Lab

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
BOOT_S = 120.0
FIRST_BOOT_S = 1800
"""For a guest whose CPU is emulated, on a machine that has much else to do."""
_DEADLINES_S = {"container": DEADLINE_S, "qemu": 2000.0, "resume": 2000.0}
"""No command takes longer, by the kind of guests."""


@dataclass(frozen=True)
class NodePlace:
    """A sandbox that runs.

    :param data: its folder.
    :param user: somebody who makes VMs there.
    """

    sandbox: Sandboxed
    data: Path
    pid: int
    user: VmUser

    def requests(self) -> list[str]:
        """``METHOD PATH STATUS`` of all that the node answered so far."""
        log = self.data / "requests.log"
        return log.read_text().splitlines() if log.exists() else []

    def vm(self, name: str) -> NodeVm:
        """The VM of that name; the ids of VMs follow from their names."""
        return NodeVm(self.sandbox, next(candidate_ids(VmSpec(name, NODE))))

    @contextmanager
    def silent(self) -> Iterator[None]:
        """The node's process stands still: nothing is refused, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def move_lease(self, mac: str, address: str) -> None:
        """Let the DHCP server give another address to a card."""
        folder = self.data / "bodies" / "network"
        pid = int((folder / "dnsmasq.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        end_process(pid)
        wait_until_ended(pid)
        leases = (folder / "leases").read_text()
        moved = re.sub(rf"(?m)^(\d+ {mac.lower()}) \S+", rf"\1 {address}", leases)
        assert moved != leases
        (folder / "leases").write_text(moved)
        namespace = kernel_prefix(places_of(self.sandbox.environment).token)
        subprocess.run(["nsenter", f"--net=/run/netns/{namespace}", "--", *words], check=True)


@dataclass(frozen=True)
class NodeVm:
    """A VM as the node's API shows it."""

    sandbox: Sandboxed
    vmid: int

    @property
    def path(self) -> str:
        return f"nodes/{NODE}/qemu/{self.vmid}"

    def config(self) -> dict[str, Any]:
        return dict(self.sandbox.client().get(f"{self.path}/config"))

    def status(self) -> str:
        return str(self.sandbox.client().get(f"{self.path}/status/current")["status"])

    def shut_down(self) -> None:
        """As somebody does by hand."""
        self.sandbox.client().post(f"{self.path}/status/shutdown")
        wait_for(lambda: self.status() == "stopped", "shutdown", BOOT_S)

    @property
    def mac(self) -> str:
        match = re.match(r"virtio=([0-9A-F:]{17})", str(self.config()["net0"]))
        assert match
        return match[1]

    def address(self) -> str:
        """What the guest's agent says; empty while it has none."""
        told = self.sandbox.client().get(f"{self.path}/agent/network-get-interfaces")["result"]
        return guest_address(told, self.mac)

    def is_up(self) -> bool:
        """Its agent answers and knows an address."""
        try:
            return self.address() != ""
        except LocalaiError:
            return False

    def waiting(self) -> list[str]:
        """Keys of the config whose new value holds only after a restart."""
        found = self.sandbox.client().get(f"{self.path}/pending")
        return [one["key"] for one in found if "pending" in one or "delete" in one]

    def host_key(self) -> str:
        """The guest's own, in base64."""
        return self.file(HOST_KEY).split()[1]

    def file(self, path: str) -> str:
        """A file of the guest, read by its agent."""
        return str(self.sandbox.client().get(f"{self.path}/agent/file-read", file=path)["content"])

    def begin(self, *words: str) -> None:
        """Run a command in the guest as root, without waiting."""
        self.sandbox.client().post(f"{self.path}/agent/exec", command=list(words))


@contextmanager
def node_place(lab: Lab, directory: Path, body: str = "container", hardware: str = "") -> Iterator[NodePlace]:
    """A node whose guests reach the lab's mirror, and somebody new; nothing stays.

    :param body: kind of the guests.
    :param hardware: cards of the node, by the name of a preset; empty: none.
    """
    offer = make_offer(lab, bootable=body != "container")
    sandbox = new_user(directory / "owner")
    cache = ("--cache", str(lab.directory / "sandbox"))
    equipped = ("--hardware", hardware) if hardware else ()
    started = sandbox.started("--body", body, *cache, *equipped, *offer["options"])
    node = {DIRECTORY_VARIABLE: str(sandbox.runtime)}
    variables = offer["variables"] | {"localai_first_boot_timeout_s": FIRST_BOOT_S}
    user = new_vm_user(directory / "home", node, variables, deadline_s=_DEADLINES_S[body])
    try:
        yield NodePlace(sandbox, Path(started["data"]), int(started["pid"]), user)
    finally:
        user.close()
        assert sandbox.sandbox("stop").code == 0
    assert sandbox.data == []
