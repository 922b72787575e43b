"""Runs of the real command with what they ask of an embedded node."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from tests.integration.node_place import NodePlace
from tests.integration.product import Ended
from tests.integration.vm_user import document

CALLS_AT_MOST = 30
"""API calls of a run that finds a VM as it should be."""


@dataclass(frozen=True)
class Run:
    """A command's end with what it asked of the node."""

    ended: Ended
    requests: list[str]
    seconds: float

    @property
    def host(self) -> dict[str, Any]:
        """The one host of its document."""
        (host,) = document(self.ended)["hosts"]
        return dict(host)

    @property
    def changes(self) -> list[str]:
        """Calls that are more than a look; all of them went well."""
        found = [line.rsplit(" ", 1) for line in self.requests if not line.startswith("GET ")]
        assert {status for _, status in found} <= {"200"}, self.requests
        return [re.sub(r"/nodes/sandbox|localai-seed-\w+-\w+", "", call) for call, _ in found]

    def tell(self, title: str) -> None:
        phases = re.findall(r"^\S+ +(\w+) +changed=\d+  \((.* s)\)$", self.ended.stderr, re.MULTILINE)
        steps = ", ".join(f"{name} {seconds}" for name, seconds in phases)
        print(f"{title}: {self.seconds:.1f} s, {len(self.requests)} API calls; {steps}")


def run(place: NodePlace, *words: str) -> Run:
    """Run a command to its end."""
    before, began = len(place.requests()), time.monotonic()
    ended = place.user.run(*words, "-o", "json")
    assert "Traceback" not in ended.stderr, ended.stderr
    return Run(ended, place.requests()[before:], time.monotonic() - began)


def up(place: NodePlace, *words: str) -> Run:
    """An ``up`` that must succeed."""
    done = run(place, "up", "--yes", "-i", str(place.user.inventory), "--node", "sandbox", *words)
    assert done.ended.code == 0, done.ended
    return done


def calls_of_making(vmid: int) -> list[str]:
    """What is asked of a fresh node, in this order, until a VM's first boot is over."""
    return [
        "POST /storage/local/download-url",
        "POST /pools",
        "POST /storage/local/upload",
        "POST /qemu",
        f"PUT /qemu/{vmid}/config",
        f"PUT /qemu/{vmid}/resize",
        f"POST /qemu/{vmid}/status/start",
        f"PUT /qemu/{vmid}/config",
        "DELETE /storage/local/content/local:iso/.iso",
    ]
