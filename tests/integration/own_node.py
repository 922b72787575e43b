"""An embedded node with container guests, in this process: its state is seen, its answers are held back.

It is what ``sandbox start`` makes, and the command finds it in the same way: by its connection record.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from localai_deploy.domain.pve.lease import read_leases
from localai_deploy.domain.pve.ownership import find_block
from localai_deploy.domain.pve.vm import VmSpec, candidate_ids
from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.container_body import ContainerBody
from localai_deploy.sandbox.daemon import Running, held, open_running
from localai_deploy.sandbox.faults import Faults
from localai_deploy.sandbox.process_group import join_group, present_groups
from localai_deploy.sandbox.settings import (
    Places,
    Settings,
    places_of,
    remove_private_files,
    write_settings,
)
from localai_deploy.sandbox.sweeping import remains
from localai_deploy.sandbox.telling import Telling
from localai_deploy.sandbox_record import DIRECTORY_VARIABLE, NODE, make_private
from tests.lab.empty_image import ensure_empty_image
from tests.lab.offer import make_offer

if TYPE_CHECKING:
    from localai_deploy.sandbox.site import Site
    from localai_deploy.sandbox.state import Mapping as ResourceMapping
    from localai_deploy.sandbox.state import Vm
    from tests.lab.layout import Lab

When = Literal["before", "after"]
Break = Literal["reset-before", "reset-after-success"]

_HOLD_S = 300.0
_STAGES: Mapping[tuple[str, ...], When] = {
    ("reset-before",): "before",
    ("timeout-after-success", "reset-after-success"): "after",
}
_RANDOM = frozenset({"digest", "smbios1", "vmgenid", "meta"})
"""Values of a VM's config that differ from VM to VM."""


@dataclass
class Halt:
    """A request at which the node waits.

    :param request: expression for ``METHOD /path``.
    :param when: ``before``: nothing was done yet; ``after``: it was done, its answer is not sent.
    :param nth: of the requests that fit.
    """

    request: str
    when: When = "before"
    nth: int = 1
    reached: threading.Event = field(default_factory=threading.Event)
    _go_on: threading.Event = field(default_factory=threading.Event)
    _seen: int = 0
    _lost: bool = False

    def let_go(self, *, lost: bool = False) -> None:
        """Go on; ``lost``: break the connection in place of that, before or after the work."""
        self._lost = lost
        self._go_on.set()

    def is_met(self, request: str, when: When) -> bool:
        """Whether this is the request; counts it."""
        if when != self.when or not re.search(self.request, request):
            return False
        self._seen += 1
        return self._seen == self.nth

    def hold(self) -> bool:
        """Wait for the test; whether the connection is to break."""
        self.reached.set()
        self._go_on.wait(_HOLD_S)
        return self._lost


class Gate(Faults):
    """Faults, and requests that wait."""

    def __init__(self) -> None:
        super().__init__()
        self._halts: list[Halt] = []
        self._every = 0
        self._break: Break = "reset-before"
        self._count = itertools.count(1)

    @contextmanager
    def halt(self, request: str, when: When = "before", nth: int = 1) -> Iterator[Halt]:
        """Hold a request back; one that is still held when the block ends is broken off."""
        halt = Halt(request, when, nth)
        self._halts.append(halt)
        try:
            yield halt
        finally:
            self._halts.remove(halt)
            halt.let_go(lost=True)

    def break_off(self, every: int, name: Break = "reset-before") -> None:
        """Reset every so many connections; 0: none."""
        self._every, self._break = every, name

    def hit(self, request: str, *names: str) -> str | None:
        """See :meth:`Faults.hit`: each request passes here before and after its work."""
        when = _STAGES.get(names)
        for halt in list(self._halts):
            if when and halt.is_met(request, when) and halt.hold():
                return names[-1]
        if self._every and self._break in names and next(self._count) % self._every == 0:
            return self._break
        return super().hit(request, *names)


@dataclass(frozen=True)
class OwnNode:
    """A node that runs.

    :param environment: of who wants to reach it with ``--node sandbox``.
    :param variables: of its VMs: image, mirrors.
    :param image: the image's file on the lab's mirror, of this node alone.
    """

    running: Running
    gate: Gate
    environment: Mapping[str, str]
    variables: Mapping[str, Any]
    image: Path

    @property
    def site(self) -> Site:
        """The site of now: a reset makes another one."""
        return self.running.sandbox.site

    def reset(self) -> None:
        """As if it had just been started, with the same credentials."""
        self.running.reset()
        self.site.faults = self.gate

    def changes(self) -> list[str]:
        """Requests since :meth:`forget_requests` that are more than a look."""
        return [f"{method} {path}" for method, path, _ in self.site.requests if method != "GET"]

    def forget_requests(self) -> None:
        self.site.requests.clear()

    def vm(self, name: str) -> Vm:
        """The VM of that name; the ids of VMs follow from their names."""
        return self.site.cluster.vms[next(candidate_ids(VmSpec(name, NODE)))]

    def guest(self, name: str) -> ContainerBody:
        """The guest of a VM."""
        body = self.vm(name).body
        assert isinstance(body, ContainerBody)
        return body

    def state(self) -> dict[str, Any]:
        """All that there is on the node as plain data, without what is random, a time or the image's name."""
        cluster = self.site.cluster
        found = {
            "vms": {vmid: _shown(vm) for vmid, vm in sorted(cluster.vms.items())},
            "volumes": {volid: [one.content, one.size] for volid, one in sorted(cluster.volumes.items())},
            "files": sorted(
                str(path.relative_to(self.site.files_dir))
                for path in Path(self.site.files_dir).rglob("*")
                if path.is_file()
            ),
            "pools": {pool.name: sorted(pool.vms) for pool in cluster.pools.values()},
            "mappings": {one.name: _leased(one) for one in cluster.mappings.values()},
            "at work": [task.upid for task in self.site.tasks.all.values() if task.exitstatus is None],
        }
        text = json.dumps(found).replace(self.image.stem, "IMAGE")
        return dict(json.loads(text))


def _shown(vm: Vm) -> dict[str, Any]:
    config = {key: value for key, value in vm.config.items() if key not in _RANDOM}
    config["net0"] = re.sub(r"=[0-9A-F:]{17}", "=MAC", str(config.get("net0")))
    block = find_block(str(config.get("description")))
    if block is not None:
        config["description"] = [block.name, block.vmid, dict(block.spec), block.begun]
    waiting = [vm.pending, vm.pending_delete]
    return config | {"power": vm.body.state(), "pending": waiting, "bare": isinstance(vm.body, BareBody)}


def _leased(mapping: ResourceMapping) -> list[Any]:
    leases = read_leases(mapping.description or "")
    return [*mapping.map, *([one.holder.name, one.holder.vmid, one.before is not None] for one in leases)]


@contextmanager
def own_node(lab: Lab, directory: Path, label: str, hardware: str = "") -> Iterator[OwnNode]:
    """A node whose image is served by the lab's mirror under a name of its own.

    :param label: part of the image's name.
    :param hardware: its cards.
    """
    offer = make_offer(lab, bootable=False)
    environment = {DIRECTORY_VARIABLE: str(directory / "run")}
    places = places_of({**environment, "XDG_STATE_HOME": str(directory / "state")})
    settings = _settings(lab, offer["options"], hardware)
    with ExitStack() as stack:
        image = ensure_empty_image(lab, f"node-{label}.qcow2")
        stack.callback(image.path.unlink, missing_ok=True)
        running = stack.enter_context(_running(places, settings))
        variables = offer["variables"] | {"localai_image": f"{image.url}#sha512={image.sha512}"}
        gate = running.sandbox.site.faults = Gate()
        yield OwnNode(running, gate, environment, variables, image.path)
    assert remains(places.token, places.data) == []


@contextmanager
def _running(places: Places, settings: Settings) -> Iterator[Running]:
    """The node as its own process has it, but that this one's later children are none of the node's."""
    make_private(places.runtime)
    write_settings(places, settings)
    with ExitStack() as stack:
        stack.callback(_remove_directory, places.runtime)
        stack.callback(remove_private_files, places)
        stack.enter_context(held(places.runtime))
        groups = present_groups()
        running = open_running(places, settings, stack, Telling(io.StringIO()))
        for group in groups.values():
            join_group(group)
        yield running


def _remove_directory(runtime: Path) -> None:
    with suppress(OSError):
        runtime.rmdir()


def _settings(lab: Lab, options: list[str], hardware: str) -> Settings:
    """What the options of ``sandbox start`` stand for."""
    pairs = list(zip(options[::2], options[1::2], strict=True))
    one = dict(pairs)
    return Settings(
        body="container",
        pve=9,
        cache=str(lab.directory / "sandbox"),
        debian_mirror=one["--debian-mirror"],
        forwards=tuple(value for option, value in pairs if option == "--forward"),
        guest_ca=one["--guest-ca"],
        hardware=hardware,
    )
