"""A sandbox with guests: the machine's network stays as it is, and nothing outlives it. Needs root."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.sandbox.bodies import check_prerequisites
from localai_deploy.sandbox.settings import places_of
from tests.integration.sandbox_user import DEADLINE_S, Sandboxed, new_user, wait_until_ended
from tests.lab.layout import Lab
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_daemon import ensure_authority

pytestmark = pytest.mark.host

FETCH = "import sys, urllib.request as r; sys.stdout.write(str(r.urlopen(sys.argv[1], timeout=10).status))"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"


def skip_unless_possible(body: str) -> None:
    try:
        check_prerequisites(body)
    except LocalaiError as error:
        pytest.skip(f"{error}")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Sandboxed]:
    skip_unless_possible("container")
    user = new_user(tmp_path)
    yield user
    assert user.sandbox("stop").code == 0
    assert left_of(user) == []


@pytest.fixture
def words(lab: Lab) -> tuple[str, ...]:
    """Start with the Debian root that all tests share."""
    return ("--body", "container", "--cache", str(lab.directory / "sandbox"))


def prefix_of(user: Sandboxed) -> str:
    environment = {**user.environment, "XDG_STATE_HOME": str(user.home / ".local/state")}
    return f"localai-{places_of(environment).token}"


def left_of(user: Sandboxed) -> list[str]:
    """Whatever a sandbox may leave: cgroups, namespaces, mounts, files, processes that know its folders."""
    prefix = prefix_of(user)
    found = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{prefix}*")]
    found += [str(path) for path in Path("/run/netns").glob(f"{prefix}*")]
    found += [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(user.home) in line
    ]
    found += [str(path) for path in (user.runtime, *user.state.glob("*")) if path.exists()]
    return found + [
        f"{pid}: {words}" for pid, words in processes() if str(user.home) in words or prefix in words
    ]


def processes() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(path.parent.name), path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def boot(client: PveClient, vmid: int = 100) -> None:
    """A VM with a disk, switched on."""
    waiter = TaskWaiter(client)
    values: dict[str, Any] = {
        "name": f"guest-{vmid}",
        "memory": 128,
        "kvm": 0,
        "net0": "virtio,bridge=vmbr0",
        "scsi0": "local:1",
    }
    waiter.wait(client.post("nodes/sandbox/qemu", vmid=vmid, **values), DEADLINE_S)
    waiter.wait(client.post(f"nodes/sandbox/qemu/{vmid}/status/start"), DEADLINE_S)
    assert client.get(f"nodes/sandbox/qemu/{vmid}/status/current")["status"] == "running"


def output(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def network_state() -> dict[str, object]:
    """Interfaces, addresses, routes, rules and settings of this machine, less those of labs."""

    def ask(*words: str) -> list[dict[str, Any]]:
        return list(json.loads(output("ip", "-json", *words) or "[]"))

    links = [one for one in ask("-details", "link") if one.get("linkinfo", {}).get("info_kind") != "veth"]
    names = {one["ifname"] for one in links}
    addresses = [
        (one["ifname"], address["local"], address["prefixlen"])
        for one in ask("address")
        for address in one["addr_info"]
        if one["ifname"] in names and not is_of_a_lab(address["local"])
    ]
    routes = [
        one
        for one in ask("route", "show", "table", "all")
        if one.get("dev", "lo") in names and not is_of_a_lab(one["dst"])
    ]
    settings = output("sysctl", "-a", "-r", r"^net\.(ipv[46]\.(ip_forward|conf\.(all|default|lo))|bridge)")
    return {
        "links": links,
        "addresses": addresses,
        "routes": routes,
        "rules": ask("rule"),
        "settings": settings,
    }


def is_of_a_lab(address: str) -> bool:
    return address.startswith(("198.18.", "198.19."))


def test_the_machines_network_stays_as_it_is(user: Sandboxed, words: tuple[str, ...]) -> None:
    user.started(*words)
    user.sandbox("stop")
    before = network_state()
    user.started(*words)
    boot(user.client())
    assert network_state() == before
    user.sandbox("stop")
    assert network_state() == before


def test_guests_cannot_reach_the_api(user: Sandboxed, words: tuple[str, ...]) -> None:
    started = user.started(*words)
    boot(user.client())
    port = started["api"].rpartition(":")[2]
    others = output("hostname", "-I").split()
    for namespace in (prefix_of(user), f"{prefix_of(user)}-100"):
        inside = ("ip", "netns", "exec", namespace, sys.executable, "-c", CONNECT)
        for address in ("127.0.0.1", *others):
            done = subprocess.run([*inside, address, port], capture_output=True, text=True, check=False)
            assert done.returncode != 0, address
    for address in others:
        with pytest.raises(OSError), socket.create_connection((address, int(port)), timeout=2):
            pass


def test_guests_reach_what_is_forwarded(
    user: Sandboxed, words: tuple[str, ...], lab: Lab, mirror: MirrorClient
) -> None:
    address = mirror.base_url.removeprefix("http://")
    authority = ensure_authority(lab).certificate
    user.started(
        *words,
        "--forward",
        f"mirror.lab={address}",
        "--guest-ca",
        str(authority),
        "--debian-mirror",
        mirror.url("debian"),
    )
    boot(user.client())
    inside = ("ip", "netns", "exec", f"{prefix_of(user)}-100")
    root = next((user.state).glob("sandbox-*/bodies/guests/100/rootfs"))
    host = address.partition(":")[0]
    assert f"{host}\tmirror.lab\n" in (root / "etc/hosts").read_text()
    assert f"URIs: {mirror.url('debian')}\n" in (root / "etc/apt/sources.list.d/debian.sources").read_text()
    assert authority.read_text() in (root / "etc/ssl/certs/ca-certificates.crt").read_text()
    subprocess.run([*inside, "ip", "address", "add", "192.168.213.9/24", "dev", "eth0"], check=True)
    subprocess.run([*inside, "ip", "link", "set", "eth0", "up"], check=True)
    subprocess.run([*inside, "ip", "route", "replace", "default", "via", "192.168.213.1"], check=True)
    url = mirror.url("debian/dists/trixie/InRelease")
    done = subprocess.run(
        [*inside, sys.executable, "-c", FETCH, url], capture_output=True, text=True, check=False
    )
    assert done.stdout == "200", done.stderr


@pytest.mark.parametrize("body", ["container", "qemu"])
def test_nothing_survives_a_killed_process_and_stop(
    user: Sandboxed, words: tuple[str, ...], body: str
) -> None:
    skip_unless_possible(body)
    pid = int(user.started(*words, "--body", body)["pid"])
    boot(user.client())
    os.kill(pid, signal.SIGKILL)
    wait_until_ended(pid)
    groups = Path("/sys/fs/cgroup").glob(f"**/{prefix_of(user)}*/cgroup.procs")
    assert [group for group in groups if group.read_text()]
    seen = user.sandbox("status").data
    assert seen["state"] == "remains"
    assert any(prefix_of(user) in line for line in seen["trouble"])
    assert user.sandbox("stop").data["was"] == "remains"
    assert left_of(user) == []


def test_starting_anew_after_the_process_was_killed(user: Sandboxed, words: tuple[str, ...]) -> None:
    pid = int(user.started(*words)["pid"])
    boot(user.client())
    os.kill(pid, signal.SIGKILL)
    wait_until_ended(pid)
    user.started(*words)
    assert user.client().get("nodes/sandbox/qemu") == []
    boot(user.client())


def test_a_reset_ends_the_guests(user: Sandboxed, words: tuple[str, ...]) -> None:
    user.started(*words)
    boot(user.client())
    assert user.sandbox("reset").data["vms"] == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/{prefix_of(user)}-100")) == []
    boot(user.client())
    assert user.sandbox("status").data["vms"] == [{"vmid": 100, "name": "guest-100", "status": "running"}]


def end_process(process: subprocess.Popen[str]) -> None:
    """Ctrl-C."""
    process.send_signal(signal.SIGINT)


def kill_command(process: subprocess.Popen[str]) -> None:
    """The command dies; the process that it began does not know yet."""
    process.kill()


def kill_daemon(process: subprocess.Popen[str]) -> None:
    """The sandbox's process dies under the command's eyes."""
    daemon = next(pid for pid, _ in processes() if is_daemon_of(pid, process))
    os.kill(daemon, signal.SIGKILL)


def is_daemon_of(pid: int, command: subprocess.Popen[str]) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        words = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
    return f"PPid:\t{command.pid}\n" in status and "localai_deploy.sandbox.daemon" in words


@pytest.mark.parametrize("end", [end_process, kill_command, kill_daemon], ids=["ctrl-c", "command", "daemon"])
def test_a_start_that_is_cut_off_leaves_nothing(
    user: Sandboxed, mirror: MirrorClient, end: Callable[[subprocess.Popen[str]], None]
) -> None:
    """While the Debian root is being built, into an empty cache."""
    process = user.start("sandbox", "start", "--body", "container", "--debian-mirror", mirror.url("debian"))
    assert process.stderr is not None
    assert "building the guests' Debian system" in process.stderr.readline()
    time.sleep(2)
    assert any("mmdebstrap" in words and str(user.home) in words for _, words in processes())
    end(process)
    _, told = process.communicate(timeout=DEADLINE_S)
    if end is kill_daemon:
        assert process.returncode == 1
        assert "[sandbox-start-failed]" in told
    if end is kill_command:
        assert user.sandbox("status").data["state"] == "unwell"
        assert user.sandbox("stop").code == 0
    assert left_of(user) == []
