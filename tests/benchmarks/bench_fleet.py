"""What a host of a fleet costs the controller: ``python -m tests.benchmarks.bench_fleet`` (root, in the lab).

``plan`` over 1, 4 and 8 new container hosts that want a model from the lab's mirror, and over as many VMs
that an embedded node is to make. Per fleet: seconds, CPU seconds of the command and its children, and
requests: at the mirror for hosts, at the node's API for VMs. The least of several rounds is shown. Nothing is
judged by time; the command ends with 1 if requests grow faster than the fleet does. ``--up`` deploys to the
hosts first and measures a second ``up``, which takes minutes for each host; its requests are not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.integration.controller import REFERENCE, host_variables
from tests.integration.product import User, write_inventory
from tests.integration.ssh_server import make_key
from tests.lab.content import ensure_content
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.layout import Lab, open_lab
from tests.lab.mirror_daemon import ensure_mirror, mirror_urls
from tests.unit.cli.node_double import IMAGE, serving

SIZES = (1, 4, 8)
_HOP = {"connection", "transfer-encoding", "host"}


@dataclass(frozen=True)
class Cost:
    """Of one command over a fleet."""

    hosts: int
    wall_s: float
    cpu_s: float
    requests: int

    @property
    def line(self) -> str:
        each = f"{self.cpu_s / self.hosts:>9.2f} s {self.requests / self.hosts:>9.1f}"
        return f"{self.hosts:>6} {self.wall_s:>8.1f} s {self.cpu_s:>8.2f} s {self.requests:>9} {each}"


class Counting(BaseHTTPRequestHandler):
    """Passes requests on to the mirror and counts them."""

    protocol_version = "HTTP/1.1"
    mirror = ""
    count = 0

    def do_GET(self) -> None:
        type(self).count += 1
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        wanted = urllib.request.Request(self.mirror + self.path, headers=headers, method=self.command)
        try:
            answer = urllib.request.urlopen(wanted, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = b"" if self.command == "HEAD" else answer.read()
            self.send_response(answer.status or 500)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP | {"content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.headers.get("Content-Length") or str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - as the library calls it

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@contextmanager
def counting(mirror: str) -> Iterator[str]:
    """The URL of a server that counts requests to ``mirror``."""
    Counting.mirror = mirror
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def measure(user: User, words: Sequence[str], hosts: int, rounds: int, count: Callable[[], int]) -> Cost:
    """The cheapest of some rounds; a command that plans nothing is no measurement."""
    found = []
    for _ in range(rounds):
        before, began, cpu = count(), time.monotonic(), _children_cpu_s()
        ended = user.run(*words, "-o", "json")
        cost = Cost(hosts, time.monotonic() - began, _children_cpu_s() - cpu, count() - before)
        errors = [one for one in ended.data.get("hosts", [{"error": ended}]) if "error" in one]
        assert not errors, (errors, ended.stderr)
        assert len(ended.data["hosts"]) == hosts
        found.append(cost)
    return min(found, key=lambda cost: cost.cpu_s)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def container_hosts(lab: Lab, directory: Path, given: argparse.Namespace) -> list[Cost]:
    """Costs of fleets of lab hosts."""
    costs = []
    with ExitStack() as stack:
        hosts: list[LabHost] = []
        front = mirror = ensure_mirror(lab)
        if not given.up:
            front = stack.enter_context(counting(mirror))
        for size in given.sizes:
            hosts += [stack.enter_context(start_host(lab, unique_name())) for _ in range(size - len(hosts))]
            mirrors = {name: url.replace(mirror, front) for name, url in mirror_urls(lab).items()}
            wanted = {
                f"h{number}": host_variables(host) | {"localai_mirrors": mirrors}
                for number, host in enumerate(hosts)
            }
            inventory = write_inventory(directory / f"of-{size}", wanted)
            user = User(_home(directory / f"home-{size}"), deadline_s=3600)
            words = ["up" if given.up else "plan", "-i", str(inventory), *(["--yes"] if given.up else [])]
            if given.up:
                user.run(*words)
            costs.append(measure(user, words, size, given.rounds, lambda: Counting.count))
    return costs


def planned_vms(lab: Lab, directory: Path, given: argparse.Namespace) -> list[Cost]:
    """Costs of fleets of VMs that are to be made; the node is in this process."""
    costs = []
    make_key(directory / "key")
    with serving() as node:
        for size in given.sizes:
            vm = {
                "localai_node": "pve1",
                "localai_image": IMAGE,
                "localai_ssh_key": str(directory / "key"),
                "localai_memory_mib": 1024,
                "localai_disk_gib": 8,
                "localai_mirrors": mirror_urls(lab),
                "localai_models": [REFERENCE],
            }
            names = [f"v{number}" for number in range(size)]
            inventory = write_inventory(directory / f"vms-{size}", dict.fromkeys(names, vm))
            user = User(_home(directory / f"vm-home-{size}"), node.environment)
            words = ["plan", "-i", str(inventory)]
            costs.append(measure(user, words, size, given.rounds, lambda: len(node.sandbox.site.requests)))
    return costs


def _home(directory: Path) -> Path:
    directory.mkdir()
    return directory


def tell(title: str, costs: Sequence[Cost]) -> bool:
    """Print the table; whether requests grow no faster than hosts."""
    print(f"\n{title}")
    print(f"{'hosts':>6} {'wall':>10} {'cpu':>10} {'requests':>9} {'cpu/host':>11} {'req./host':>9}")
    for cost in costs:
        print(cost.line, flush=True)
    first = costs[0]
    return all(cost.requests * first.hosts <= first.requests * cost.hosts for cost in costs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--up", action="store_true", help="measure a second up; takes minutes for each host")
    given = parser.parse_args()
    lab = open_lab()
    ensure_content(lab.directory)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; the cheapest of {given.rounds} rounds")
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory:
        command = "second up" if given.up else "plan"
        fine = [tell(f"{command} of container hosts", container_hosts(lab, Path(directory), given))]
        fine += [tell("plan of VMs on one node", planned_vms(lab, Path(directory), given))]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
