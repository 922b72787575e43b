"""Addresses, namespaces and veth pairs of the lab.

Hosts get /30s of 198.18.0.0/16 (one per veth pair), the lab's mirror one address of 198.19.0.0/16 on
the loopback interface: both are set aside for benchmarks of network devices (RFC 2544) and routed nowhere.
Which /30 is free is read from the kernel, so that a lost state file cannot lead to a clash.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
from dataclasses import dataclass

from localai_deploy.sandbox.command import run
from tests.lab.layout import Lab, LabError, machine_lock

_HOSTS = ipaddress.IPv4Network("198.18.0.0/16")
_MIRRORS = ipaddress.IPv4Network("198.19.0.0/16")
MIRROR_NAMES = ("mirror.lab", "cdn.lab")
_PAIRS = _HOSTS.num_addresses // 4


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """A namespace with one interface ``eth0``, joined to this machine by a veth pair."""

    namespace: str
    interface: str
    gateway: str
    address: str


def namespace_of(lab: Lab, name: str) -> str:
    """The name that a host's namespace and cgroup have on this machine."""
    return f"{_namespace_prefix(lab)}{name}"


def host_names(lab: Lab) -> list[str]:
    """The hosts of this lab that have a namespace."""
    prefix = _namespace_prefix(lab)
    return sorted(n.removeprefix(prefix) for n in _namespaces() if n.startswith(prefix))


def mirror_address(lab: Lab) -> str:
    """The lab's own fixed address for its mirror."""
    return str(_MIRRORS[1 + int(lab.token, 16) % (_MIRRORS.num_addresses - 2)])


def add_mirror_address(lab: Lab) -> None:
    """Make the mirror's address reachable from this machine and from the hosts' namespaces."""
    run("ip", "address", "replace", f"{mirror_address(lab)}/32", "dev", "lo")


def remove_mirror_address(lab: Lab) -> None:
    """Inverse of :func:`add_mirror_address`; no error when it is not there."""
    run("ip", "address", "delete", f"{mirror_address(lab)}/32", "dev", "lo", check=False)


def create_network(lab: Lab, name: str) -> HostNetwork:
    """Make the namespace and the veth pair of host ``name``."""
    with machine_lock():
        network = _free_network(lab, name)
        run("ip", "netns", "add", network.namespace)
        run(
            *("ip", "link", "add", network.interface, "type", "veth"),
            *("peer", "name", "eth0", "netns", network.namespace),
        )
        run("ip", "address", "add", f"{network.gateway}/30", "dev", network.interface)
    run("ip", "link", "set", network.interface, "up")
    _configure_inside(network)
    return network


def _configure_inside(network: HostNetwork) -> None:
    commands = (
        "link set lo up",
        f"address add {network.address}/30 dev eth0",
        "link set eth0 up",
        f"route add default via {network.gateway}",
    )
    run("ip", "-netns", network.namespace, "-batch", "-", input_text="\n".join(commands))


def _free_network(lab: Lab, name: str) -> HostNetwork:
    used = {address for address in _addresses() if address in _HOSTS}
    start = int(lab.token, 16)
    for offset in range(_PAIRS):
        index = (start + offset) % _PAIRS
        gateway = _HOSTS[index * 4 + 1]
        if gateway not in used:
            return HostNetwork(
                namespace=namespace_of(lab, name),
                interface=f"{_interface_prefix(lab)}{index:04x}",
                gateway=str(gateway),
                address=str(gateway + 1),
            )
    raise LabError(f"no free /30 is left in {_HOSTS}: run 'python -m tests.lab clean'")


def _addresses() -> list[ipaddress.IPv4Address]:
    links = json.loads(run("ip", "-json", "-4", "address", "show") or "[]")
    return [ipaddress.IPv4Address(a["local"]) for link in links for a in link.get("addr_info", ())]


def remove_network(namespace: str) -> None:
    """End what runs in the namespace and delete it; its veth pair goes with it."""
    if namespace not in _namespaces():
        return
    for pid in run("ip", "netns", "pids", namespace, check=False).split():
        _kill(int(pid))
    run("ip", "-netns", namespace, "link", "delete", "eth0", check=False)
    run("ip", "netns", "delete", namespace)


def remove_interfaces(lab: Lab) -> None:
    """Delete interfaces of this lab that outlived their namespace."""
    for interface in _interfaces():
        if interface.startswith(_interface_prefix(lab)):
            run("ip", "link", "delete", interface, check=False)


def _namespace_prefix(lab: Lab) -> str:
    return f"lab-{lab.token}-"


def _interface_prefix(lab: Lab) -> str:
    return f"l{lab.token}-"


def _namespaces() -> list[str]:
    return [entry["name"] for entry in json.loads(run("ip", "-json", "netns", "list") or "[]")]


def _interfaces() -> list[str]:
    return [link["ifname"] for link in json.loads(run("ip", "-json", "link", "show", "type", "veth") or "[]")]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
