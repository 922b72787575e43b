"""Container guests behind the node's API: real cloud-init and agent, DHCP, SSH by the relay, no traces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from localai_deploy.domain.pve.network import guest_address
from localai_deploy.domain.pve.seed import Seed
from localai_deploy.sandbox.container_body import PACKAGES, ContainerBodies
from localai_deploy.sandbox.debian_root import apt_date_settings, debian_sources, ensure_root
from localai_deploy.sandbox.gateway import Gateway
from localai_deploy.sandbox.guest_root import SUITE, guest_recipe
from localai_deploy.sandbox.network import GuestNetwork
from localai_deploy.sandbox.server import Sandbox, make_site, new_cluster
from localai_deploy.sandbox.state import Volume
from localai_deploy.targets.seed_iso import seed_iso
from tests.integration.dhcp_leases import address_given
from tests.lab.layout import Lab
from tests.lab.mirror_client import MirrorClient
from tests.unit.sandbox.talking import Talk

pytestmark = pytest.mark.host

ROOT = Path(__file__).parents[2]
IMAGE = "local:import/debian.raw"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
FIRST_BOOT_S = 100
LATER_BOOT_S = 20
"""Four times what they take on a quiet machine (25 and 5 s)."""
OWNER = """
import sys, time
from pathlib import Path
from localai_deploy.sandbox.body import GuestPlan
from localai_deploy.sandbox.container_body import ContainerBodies
from localai_deploy.sandbox.gateway import Gateway
from localai_deploy.sandbox.network import GuestNetwork
network = GuestNetwork(sys.argv[1], Path(sys.argv[2], "network"))
network.create()
Gateway(network.namespace, (network.gateway, 80), ("127.0.0.1", 80)).start()
body = ContainerBodies(Path(sys.argv[2], "guests"), network, Path(sys.argv[3]))(101)
body.start(GuestPlan(101, "box", {"net0": "virtio=BC:24:11:00:01:01,bridge=vmbr0"}))
network.add_tap(102, 0)
print(body.state(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def debian(lab: Lab, mirror: MirrorClient) -> Path:
    """The root of all guests, kept with the lab's images."""
    recipe = guest_recipe(apt_date_settings())
    cache = lab.directory / "sandbox" / "container"
    return ensure_root(cache, recipe, lambda: debian_sources(mirror.url("debian"), SUITE))


@dataclass
class Guest:
    """One VM, spoken to as the product does."""

    talk: Talk
    network: GuestNetwork
    folder: Path
    vmid: int
    mac: str
    address: str = ""

    @property
    def path(self) -> str:
        return f"/nodes/pve1/qemu/{self.vmid}"

    @property
    def key(self) -> Path:
        return self.folder / f"key-{self.vmid}"

    @property
    def name(self) -> str:
        return f"box{self.vmid}"

    def create(self) -> None:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", str(self.key)]
        subprocess.run(argv, check=True)
        public = self.key.with_suffix(".pub").read_text().strip()
        seed = seed_iso(Seed(f"uuid-{self.vmid}", self.name, "ops", self.mac, (public,)))
        storage = "/nodes/pve1/storage/local/upload"
        assert self.talk.upload(storage, {"content": "iso"}, f"{self.name}.iso", seed).exitstatus == "OK"
        made = self.talk(
            "POST",
            "/nodes/pve1/qemu",
            vmid=self.vmid,
            name=self.name,
            agent="1",
            net0=f"virtio={self.mac},bridge=vmbr0",
            scsi0=f"local:0,import-from={IMAGE}",
            scsi1=f"local:iso/{self.name}.iso,media=cdrom",
        )
        assert made.exitstatus == "OK", made

    def power(self, verb: str) -> None:
        done = self.talk("POST", f"{self.path}/status/{verb}")
        assert done.exitstatus == "OK", done

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.talk("GET", f"{self.path}/status/current").data
        return found

    def wait_for_address(self, timeout_s: float) -> float:
        """Poll the agent as the product does; seconds that it took."""
        began = time.monotonic()
        self.address = ""
        while not self.address:
            assert time.monotonic() - began < timeout_s, self.console()
            assert self.status()["status"] == "running", self.console()
            time.sleep(0.2)
            reply = self.talk("GET", f"{self.path}/agent/network-get-interfaces")
            if reply.status == 200:
                self.address = guest_address(reply.data["result"], self.mac)
        return time.monotonic() - began

    def console(self) -> str:
        return Path(self.folder, "guests", str(self.vmid), "console.log").read_text(errors="replace")[-3000:]

    def read(self, file: str) -> Any:
        return self.talk("GET", f"{self.path}/agent/file-read", file=file)

    def pin(self) -> None:
        key = self.read(HOST_KEY).data["content"]
        assert key.startswith("ssh-ed25519 ")
        known = f"{self.address} {' '.join(key.split()[:2])}\n"
        (self.folder / f"known-{self.vmid}").write_text(known)

    def ssh(self, command: str, key: Path | None = None) -> subprocess.CompletedProcess[str]:
        argv = [
            *("ssh", "-F", "none", "-i", str(key or self.key), *self.network.ssh_args),
            *("-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"),
            *("-o", f"UserKnownHostsFile={self.folder / f'known-{self.vmid}'}", "-o", "ConnectTimeout=20"),
            *("-o", "GlobalKnownHostsFile=none", f"ops@{self.address}", command),
        ]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    def output(self, command: str) -> str:
        done = self.ssh(command)
        assert done.returncode == 0, done
        return done.stdout.strip()


@dataclass
class Place:
    """A sandbox with container guests that reach the lab's mirror."""

    talk: Talk
    network: GuestNetwork
    folder: Path

    def guest(self, vmid: int) -> Guest:
        guest = Guest(self.talk, self.network, self.folder, vmid, f"BC:24:11:00:00:{vmid - 100:02X}")
        guest.create()
        return guest


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, debian: Path, mirror: MirrorClient) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("containers")
    url = urlsplit(mirror.base_url)
    address = (str(url.hostname), int(url.port or 80))
    network = GuestNetwork(f"localai-test-{os.getpid()}", folder / "network")
    files = {"etc/apt/sources.list.d/debian.sources": debian_sources(mirror.url("debian"), SUITE)}
    bodies = ContainerBodies(folder / "guests", network, debian, files)
    site = make_site(new_cluster())
    site.make_body = bodies
    site.cluster.nodes["pve1"].kvm = True
    image = folder / "debian.raw"
    image.write_bytes(bytes(1 << 20))
    site.cluster.volumes[IMAGE] = Volume(IMAGE, "import", "raw", 1 << 20, 0, file=str(image))
    sandbox = Sandbox(site)
    network.create()
    try:
        network.answer_for(address[0])
        with Gateway(network.namespace, address, address):
            yield Place(Talk(sandbox, sandbox.start()), network, folder)
    finally:
        sandbox.stop()
        bodies.close()
        network.remove()
    assert traces(network.namespace, folder) == []


def traces(prefix: str, folder: Path) -> list[str]:
    """All that guests show on the machine: mounts, cgroups, namespaces, nspawn's own, processes."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{prefix}*")]
    spaces = [str(path) for path in Path("/run/netns").glob(f"{prefix}*")]
    nspawn = [str(path) for path in Path("/run/systemd/nspawn").glob(f"**/{prefix}*")]
    marks = (prefix.encode(), os.fsencode(folder))
    alive = [path.name for path in Path("/proc").glob("[0-9]*") if path.name != str(os.getpid())]
    processes = [pid for pid in alive if any(mark in command_line(pid) for mark in marks)]
    return [*mounts, *groups, *spaces, *nspawn, *processes]


def command_line(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def pair(place: Place) -> tuple[Guest, Guest]:
    """Two guests, booted for the first time side by side, each with its host key pinned."""
    first, second = place.guest(101), place.guest(102)
    for guest in (first, second):
        guest.power("start")
    for guest in (first, second):
        took = guest.wait_for_address(FIRST_BOOT_S)
        print(f"{guest.name}: agent and address {took:.1f} s")
        guest.pin()
        assert guest.output("cloud-init status --wait") == "status: done"
    return first, second


def test_each_guest_has_the_address_of_its_card(place: Place, pair: tuple[Guest, Guest]) -> None:
    first, second = pair
    assert first.address != second.address
    for guest in pair:
        assert address_given(place.network, guest.mac) == guest.address
        assert guest.output("ls /sys/class/net").split() == ["eth0", "lo"]
        assert guest.output("cat /sys/class/net/eth0/address").upper() == guest.mac


def test_cloud_init_has_done_what_the_seed_says(pair: tuple[Guest, Guest]) -> None:
    first, _ = pair
    assert [guest.output("hostname") for guest in pair] == ["box101", "box102"]
    assert first.output("id -un; sudo -n id -un").split() == ["ops", "root"]
    status = json.loads(first.output("cloud-init status --format json"))
    assert (status["status"], status["errors"], status["recoverable_errors"]) == ("done", [], {})
    assert status["detail"].startswith("DataSourceNoCloud")
    assert first.output("systemctl is-system-running") == "running"
    assert first.output("dpkg-query -W -f '${Status}' qemu-guest-agent") == "install ok installed"
    keys = [guest.read(HOST_KEY).data["content"].split()[1] for guest in pair]
    assert keys[0] != keys[1]
    machine_ids = {guest.output("cat /etc/machine-id") for guest in pair}
    assert len(machine_ids) == 2 and "" not in machine_ids


def test_only_its_own_key_opens_a_guest(pair: tuple[Guest, Guest]) -> None:
    first, second = pair
    refused = first.ssh("true", key=second.key)
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr


def test_the_agent_answers_as_the_api_words_it(pair: tuple[Guest, Guest]) -> None:
    guest, _ = pair
    agent = f"{guest.path}/agent"
    assert guest.talk("POST", f"{agent}/ping").status == 200
    assert guest.talk("GET", f"{agent}/get-host-name").data["result"]["host-name"] == "box101"
    assert guest.talk("GET", f"{agent}/get-osinfo").data["result"]["id"] == "debian"
    pid = guest.talk(
        "POST", f"{agent}/exec", [("command", "sh"), ("command", "-c"), ("command", "id; exit 3")]
    )
    status: dict[str, Any] = {}
    while not status.get("exited"):
        status = guest.talk("GET", f"{agent}/exec-status", pid=pid.data["pid"]).data
    assert (status["exited"], status["exitcode"]) == (1, 3)
    assert status["out-data"] == "uid=0(root) gid=0(root) groups=0(root)\n"
    assert guest.talk("POST", f"{agent}/file-write", file="/tmp/x", content="hällo").status == 200
    assert guest.output("cat /tmp/x") == "hällo"
    missing = guest.read("/none")
    assert missing.status == 500
    assert missing.reason.startswith("Agent error: failed to open file '/none'")


def test_guests_reach_each_other_and_nothing_else(place: Place, pair: tuple[Guest, Guest]) -> None:
    first, second = pair
    reach = "python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)'"
    assert first.ssh(f"{reach} {second.address} 22").returncode == 0
    elsewhere = first.ssh(f"{reach} 192.0.2.1 80")
    assert elsewhere.returncode == 1
    api = place.talk.sandbox.address[1]
    assert "refused" in first.ssh(f"{reach} {place.network.gateway} {api}").stderr


def test_a_shut_down_guest_comes_back_as_it_was(pair: tuple[Guest, Guest]) -> None:
    guest, _ = pair
    key, address = guest.read(HOST_KEY).data["content"], guest.address
    guest.output("sudo sh -c 'echo kept > /var/lib/kept'; sync")
    assert guest.talk("PUT", f"{guest.path}/config", delete="scsi1").status == 200
    guest.power("shutdown")
    assert guest.status()["status"] == "stopped"
    guest.power("start")
    took = guest.wait_for_address(LATER_BOOT_S)
    print(f"later boot: {took:.1f} s")
    assert guest.address == address
    assert guest.read(HOST_KEY).data["content"] == key
    assert guest.output("cat /var/lib/kept") == "kept"
    assert guest.output("ls -A /var/lib/cloud/seed") == ""
    assert guest.output("hostname") == "box101"


def test_pause_reset_and_a_power_off_from_inside(pair: tuple[Guest, Guest]) -> None:
    _, guest = pair
    guest.power("suspend")
    assert guest.status()["qmpstatus"] == "paused"
    assert guest.read(HOST_KEY).reason == "QEMU guest agent is not running"
    guest.power("resume")
    assert guest.read(HOST_KEY).status == 200
    guest.output("sudo touch /run/until-reset")
    guest.power("reset")
    guest.wait_for_address(LATER_BOOT_S)
    assert guest.ssh("test -e /run/until-reset").returncode == 1
    guest.ssh("sudo systemctl poweroff")
    deadline = time.monotonic() + 30
    while guest.status()["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    guest.power("start")
    guest.wait_for_address(LATER_BOOT_S)


def test_a_guest_without_a_seed_stays_silent(place: Place) -> None:
    guest = place.guest(103)
    assert guest.talk("PUT", f"{guest.path}/config", delete="scsi1").status == 200
    guest.power("start")
    time.sleep(2)
    reply = guest.talk("GET", f"{guest.path}/agent/network-get-interfaces")
    assert (reply.status, reply.reason) == (500, "QEMU guest agent is not running")
    assert guest.status()["status"] == "running"
    guest.power("stop")
    assert guest.talk("DELETE", guest.path).exitstatus == "OK"


def test_a_deleted_guest_leaves_nothing_for_the_next_of_its_number(place: Place) -> None:
    written = place.folder / "guests" / "104" / "rootfs" / "var" / "lib" / "written"
    for _ in range(2):
        guest = place.guest(104)
        guest.power("start")
        assert not written.exists()
        written.touch()
        guest.power("stop")
        guest.power("start")
        assert written.exists()
        guest.power("stop")
        assert guest.talk("DELETE", guest.path).exitstatus == "OK"
        guest.key.unlink()


def test_the_machines_network_is_untouched_and_a_killed_owner_leaves_what_can_be_found(
    tmp_path: Path, debian: Path
) -> None:
    """The owner runs in a network namespace of its own, so that nobody else's changes are seen there."""
    name = f"localai-test-{os.getpid()}-killed"
    argv = ["unshare", "--net", sys.executable, "-c", OWNER, name, str(tmp_path), str(debian)]
    look = "for what in link address route rule; do ip -json $what; ip -json -6 $what; done; sysctl -a 2>&1"
    pristine = subprocess.run(
        ["unshare", "--net", "sh", "-c", look], capture_output=True, text=True, check=True
    ).stdout
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "running\n"
            inside = ["nsenter", "--target", str(owner.pid), "--net", "--", "sh", "-c", look]
            assert without_counters(subprocess.check_output(inside, text=True)) == without_counters(pristine)
        finally:
            owner.send_signal(signal.SIGKILL)
    network = GuestNetwork(name, tmp_path / "network")
    assert traces(name, tmp_path) != []
    ContainerBodies(tmp_path / "guests", network, debian).close()
    network.remove()
    assert traces(name, tmp_path) == []
    assert list((tmp_path / "guests").iterdir()) == []


def without_counters(text: str) -> str:
    """Without the settings that are figures of the moment or of the whole machine."""
    ours = [line for line in text.splitlines() if line.startswith(("[", "net."))]
    return "\n".join(line for line in ours if "conntrack_count" not in line and "netns_" not in line)


def test_the_packages_are_here() -> None:
    """The tests above are not to be skipped unseen where a package is missing."""
    from localai_deploy.sandbox.bodies import check_prerequisites

    assert PACKAGES
    check_prerequisites("container")
