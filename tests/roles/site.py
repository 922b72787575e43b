"""Several lab hosts that reach each other, and plain ansible-playbook over all of them."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localai_deploy.sandbox.command import run
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.roles.driver import Driver, Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.lab.layout import Lab

TAKERS = "198.19.255."
"""Of the wires' other ends, which no lab host or mirror has."""


@dataclass(frozen=True, slots=True)
class Site:
    """The first host is joined to each of the others by a wire."""

    hosts: Sequence[LabHost]
    driver: Driver

    def converge(self, variables: Mapping[str, Mapping[str, Any]], *, check: bool = False) -> Run:
        """Run model_store on all hosts; ``variables`` are by the host's name."""
        return self.driver.converge_all(self.hosts, ["model_store"], variables, check=check)

    def throttle(self, rate: str) -> None:
        """Let what the first host sends over the wires pass slowly; empty: as it comes."""
        for wire in self._wires():
            self._tc("del", wire, check=False)
            if rate:
                self._tc("add", wire, "tbf", "rate", rate, "burst", "64kb", "latency", "400ms")

    def silence_second(self) -> None:
        """Let nothing that the second host sends reach the first; nobody is told."""
        self._way_back("blackhole")

    def hear_second(self) -> None:
        """Inverse of :meth:`silence_second`."""
        self._way_back("unicast", "dev", "site0")

    def _way_back(self, kind: str, *words: str) -> None:
        first, second = self.hosts[:2]
        inside = ("ip", "-netns", second.network.namespace)
        run(*inside, "route", "replace", kind, f"{first.address}/32", *words)

    def cut(self) -> None:
        """Pull the wires."""
        for wire in self._wires():
            run("ip", "-netns", self.hosts[0].network.namespace, "link", "set", wire, "down")

    def join(self) -> None:
        """Plug them in again."""
        for number, wire in enumerate(self._wires(), 1):
            inside = ("ip", "-netns", self.hosts[0].network.namespace)
            run(*inside, "link", "set", wire, "up")
            run(*inside, "route", "replace", f"{TAKERS}{number}/32", "dev", wire)

    def _wires(self) -> list[str]:
        return [f"site{number}" for number in range(1, len(self.hosts))]

    def _tc(self, action: str, wire: str, *words: str, check: bool = True) -> None:
        inside = ("ip", "netns", "exec", self.hosts[0].network.namespace)
        command = [*inside, "tc", "qdisc", action, "dev", wire, "root", *words]
        subprocess.run(command, capture_output=True, check=check)


def open_site(lab: Lab, directory: Path, count: int, stack: ExitStack, *, service_user: bool = True) -> Site:
    """New hosts that go with ``stack``; with a service user as role base makes it."""
    hosts = [stack.enter_context(start_host(lab, unique_name())) for _ in range(count)]
    for number, host in enumerate(hosts[1:], 1):
        _wire(hosts[0], host, number)
    for host in hosts if service_user else ():
        host.root("useradd", "--system", "--shell", "/usr/sbin/nologin", "localai")
    return Site(hosts, Driver.prepare(hosts[0], directory))


def _wire(giver: LabHost, taker: LabHost, number: int) -> None:
    """The taker reaches the giver's address by a wire of their own; hosts have no other way to each other."""
    first, second, address = giver.network.namespace, taker.network.namespace, f"{TAKERS}{number}"
    wire = f"site{number}"
    run("ip", "-netns", first, "link", "add", wire, "type", "veth", "peer", "name", "site0", "netns", second)
    run("ip", "-netns", second, "address", "add", f"{address}/32", "dev", "site0")
    for namespace, link, other in ((first, wire, address), (second, "site0", giver.address)):
        run("ip", "-netns", namespace, "link", "set", link, "up")
        run("ip", "-netns", namespace, "route", "add", f"{other}/32", "dev", link)
