"""The guests' network: a namespace with a bridge and a DHCP server; ports of guests are made inside it.

Nothing is made in the machine's own network namespace. All can be found and removed by the namespace's name.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from localai_deploy.sandbox import relay
from localai_deploy.sandbox.command import MachineError, kill, run

_END_TIMEOUT_S = 10.0
_POLL_S = 0.02
_LEASE_TIME = "12h"
_BRIDGE_KIND = "type bridge forward_delay 0 stp_state 0 mcast_snooping 0"
_BRIDGE_MAC = "02:00:00:00:00:01"
"""Fixed: a bridge without one takes over a guest's, and the others' tables go stale when that guest goes."""
_SUBNET = ipaddress.IPv4Network("192.168.213.0/24")


@dataclass(frozen=True, slots=True)
class GuestNetwork:
    """The network of one sandbox; addresses up to .49 are left to guests with a static one.

    :param folder: where the DHCP server keeps its leases, its log and the number of its process.
    """

    namespace: str
    folder: Path
    subnet: ipaddress.IPv4Network = _SUBNET
    bridge: str = "vmbr0"

    @property
    def gateway(self) -> str:
        """The bridge's own address."""
        return str(self.subnet[1])

    @property
    def leases(self) -> Path:
        """The DHCP server's record: expiry, MAC, address, name, client id."""
        return self.folder / "leases"

    @property
    def ssh_args(self) -> tuple[str, str]:
        """What ssh needs to reach a guest from outside."""
        words = (sys.executable, "-I", "-S", relay.__file__, self.namespace)
        program = " ".join(quote(word).replace("%", "%%") for word in words)
        return ("-o", f"ProxyCommand={program} %h %p")

    def create(self) -> None:
        """Make it and serve DHCP; a half-made one of this name is removed first."""
        self.remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        run("ip", "netns", "add", self.namespace)
        _configure(
            self.namespace,
            "link set lo up",
            f"link add {self.bridge} address {_BRIDGE_MAC} {_BRIDGE_KIND}",
            f"address add {self.gateway}/{self.subnet.prefixlen} dev {self.bridge}",
            f"link set {self.bridge} up",
        )
        run(*self.inside(*self._dhcp_server()))

    def _dhcp_server(self) -> list[str]:
        if shutil.which("dnsmasq") is None:
            raise MachineError("dnsmasq is missing (apt package dnsmasq-base)")
        return [
            *("dnsmasq", "--conf-file=/dev/null", "--port=0", "--no-ping", "--dhcp-authoritative"),
            *(f"--interface={self.bridge}", "--bind-interfaces", "--user=root"),
            f"--dhcp-range={self.subnet[50]},{self.subnet[-2]},{self.subnet.netmask},{_LEASE_TIME}",
            f"--dhcp-option=option:router,{self.gateway}",
            *(f"--dhcp-leasefile={self.leases}", f"--pid-file={self.folder / 'dnsmasq.pid'}"),
            *(f"--log-facility={self.folder / 'dnsmasq.log'}", "--log-dhcp"),
        ]

    def remove(self) -> None:
        """End what runs in it and take it away with all guests' ports; fine when there is nothing."""
        for namespace in self._namespaces():
            end_processes(namespace)
            run("ip", "netns", "delete", namespace)

    def _namespaces(self) -> list[str]:
        """The guests' namespaces, then its own."""
        guests = [name for name in namespaces() if name.startswith(f"{self.namespace}-")]
        return [*guests, *(name for name in namespaces() if name == self.namespace)]

    def inside(self, *argv: str) -> list[str]:
        """The words of a command that is to run in the network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *argv]

    def answer_for(self, address: str) -> None:
        """Take packets for one more address, so that guests find here what has it outside."""
        run("ip", "-n", self.namespace, "address", "replace", f"{address}/32", "dev", "lo")

    def guest_namespace(self, vmid: int) -> str:
        """The namespace of a guest that is a container."""
        return f"{self.namespace}-{vmid}"

    def add_container(self, vmid: int, macs: dict[int, str]) -> str:
        """A guest's namespace with one interface a MAC (by its number: eth0, …); returns its name."""
        guest = self.guest_namespace(vmid)
        self.remove_guest(vmid)
        run("ip", "netns", "add", guest)
        _configure(guest, "link set lo up")
        for number, mac in macs.items():
            port = _port(vmid, number)
            peer = f"peer name eth{number} address {mac} netns {guest}"
            _configure(
                self.namespace,
                f"link add {port} type veth {peer}",
                f"link set {port} master {self.bridge} up",
            )
        return guest

    def add_tap(self, vmid: int, number: int) -> str:
        """A tap device for one card of a QEMU guest that runs inside the network; returns its name."""
        tap = _port(vmid, number)
        self._delete_port(tap)
        _configure(
            self.namespace,
            f"tuntap add dev {tap} mode tap",
            f"link set {tap} master {self.bridge} up",
        )
        return tap

    def remove_port(self, vmid: int, number: int) -> None:
        """Take one card away from a guest; fine when there is none."""
        self._delete_port(_port(vmid, number))

    def remove_guest(self, vmid: int) -> None:
        """Take all ports of a guest away; what runs in its namespace is ended."""
        for port in self._ports():
            if port.startswith(_port(vmid)):
                self._delete_port(port)
        guest = self.guest_namespace(vmid)
        if guest in namespaces():
            end_processes(guest)
            run("ip", "netns", "delete", guest)

    def _delete_port(self, port: str) -> None:
        run("ip", "-n", self.namespace, "link", "delete", port, check=False)

    def _ports(self) -> list[str]:
        found = run("ip", "-n", self.namespace, "-json", "link", "show", check=False)
        return [link["ifname"] for link in json.loads(found or "[]")]


def _port(vmid: int, number: int | str = "") -> str:
    """The name of a guest's port at the bridge, short enough for every VM."""
    return f"tap{vmid}i{number}"


def namespaces() -> list[str]:
    """The network namespaces of this machine that have a name."""
    return [entry["name"] for entry in json.loads(run("ip", "-json", "netns", "list") or "[]")]


def end_processes(namespace: str) -> None:
    """Kill what runs in a namespace and wait until it has gone."""
    deadline = time.monotonic() + _END_TIMEOUT_S
    while pids := run("ip", "netns", "pids", namespace, check=False).split():
        if time.monotonic() > deadline:
            raise MachineError(f"processes in namespace {namespace} do not end: {' '.join(pids)}")
        for pid in pids:
            kill(int(pid))
        time.sleep(_POLL_S)


def _configure(namespace: str, *commands: str) -> None:
    run("ip", "-n", namespace, "-batch", "-", input_text="\n".join(commands))
