"""One case: bring a node before a moment, kill the run there, run another, and look at node and machine."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localai_deploy.domain.plan import StepKind
from tests.integration.controller import wait_for
from tests.integration.node_harness import NAME, KillPoint, Moment, Scene, kill_at
from tests.integration.own_node import own_node
from tests.integration.product import Ended
from tests.integration.vm_user import CORES, new_vm_user

if TYPE_CHECKING:
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

State = Mapping[str, Any]
HARDWARE = "one-card"
MAPPING = "localai-sandbox-0000-01-00"
ENTRY = "node=sandbox,path=0000:01:00,id=10de:2684,iommugroup=14,subsystem-id=1043:889c"
WITH_CARD = ("--gpu", "01:00", "--gpu-accept", "only-display")
CHECKS_FAIL = 4
"""How ``up`` with a card ends: no guest of this kind sees one, and that is said."""
OTHER_CORES = CORES - 1
"""What ``change`` asks for."""
LETS_GO_WITHIN_S = 10.0
SETTLES_WITHIN_S = 30.0
_VM = r"VM \d+"
_BOOTS = rf"wait for the first boot of {_VM}, then take its seed away \(partial\)"
_WHOLE = rf"{_VM} on sandbox is as wanted \(present\)"
_BEGUN = rf"make {_VM} on sandbox whole, which a run that was cut off began \(absent\)"
_NONE = r"make the VM on sandbox: no VM of ours has that name \(absent\)"

_CARD = r"NVIDIA GeForce RTX 4090 \(0000:01:00\) by mapping localai-sandbox-0000-01-00"

NOTICES: Mapping[tuple[str, Moment], str] = {
    ("up", Moment.DOWNLOAD): r"let the node download .* \(absent\)",
    ("up", Moment.MAPPED): rf"{_CARD} \(partial\)",
    ("up", Moment.UPLOADED): _NONE,
    ("up", Moment.CREATING): _BEGUN,
    ("up", Moment.CREATED): _BEGUN,
    ("up", Moment.BEFORE_RESIZE): rf"change {_VM} on sandbox \(different\)",
    ("up", Moment.RESIZED): _WHOLE,
    ("up", Moment.AGENT): _BOOTS,
    ("up", Moment.FIRST_BOOT): _BOOTS,
    ("up", Moment.BOOTED): _BOOTS,
    ("up", Moment.DETACHED): r"delete what a run that was cut off left: local:iso/\S+ \(partial\)",
    ("change", Moment.CHANGED): rf"restart {_VM}, so that its new values hold \(different\)",
    ("change", Moment.SHUT_DOWN): rf"start {_VM}, which is stopped \(partial\)",
    ("down", Moment.INTENT): _WHOLE,
    ("down", Moment.SHUT_DOWN): _WHOLE,
    ("down", Moment.FREED): _WHOLE,
    ("down", Moment.DELETING): rf"{_WHOLE}|^$",
}
"""What the next run must say that the node shows; of a VM that is gone ``down`` has nothing to say."""
INTENTS: Mapping[StepKind, str] = {
    StepKind.CARD: rf"map {_CARD} \(absent\)",
    StepKind.IMAGE: NOTICES["up", Moment.DOWNLOAD],
    StepKind.VM: _NONE,
    StepKind.START: rf"start {_VM}, which is stopped; {_BOOTS}",
}
"""The same where ``up`` had only written its intent."""


@dataclass(slots=True)
class Result:
    """How one case ended; ``problems`` are for a person."""

    point: KillPoint
    code: int = -1
    seconds: float = 0.0
    notice: str = ""
    differences: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def row(self) -> str:
        point, wrong = self.point, [*self.problems, *self.differences]
        return (
            f"{point.command:<7} {point.step.value:<6} {point.moment.value:<21} {point.next:<7} "
            f"{'yes' if point.card else '-':<4} "
            f"{self.code:>4} {self.seconds:>6.1f} {len(self.differences):>6}  {wrong[0] if wrong else 'ok'}"
        )


HEADER = f"{'cmd':<7} {'step':<6} {'killed at':<21} {'then':<7} {'card':<4} {'exit':>4} {'s':>6} {'diffs':>6}"


@dataclass(frozen=True, slots=True)
class Reference:
    """What runs that nobody killed lead to."""

    deployed: State
    changed: State
    gone: State

    def after(self, point: KillPoint) -> State:
        """What a point is to lead to."""
        wanted = {"up": self.deployed, "change": self.changed, "down": self.gone}[point.next]
        if point.card:
            return _with_card(wanted)
        if point.moment in {Moment.INTENT, Moment.DOWNLOAD} and (point.command, point.next) == ("up", "down"):
            return {**wanted, "pools": {}}
        return wanted


class Lane:
    """One node with somebody who uses it; cases come one after the other."""

    def __init__(self, lab: Lab, mirror: MirrorClient, directory: Path, label: str, stack: ExitStack) -> None:
        self.node = stack.enter_context(own_node(lab, directory, label, HARDWARE))
        self.user = new_vm_user(directory / "home", self.node.environment, self.node.variables)
        stack.callback(self.user.close)
        self._scene = Scene(self.node, self.user, mirror)
        self._is_deployed = False

    def refer(self) -> Reference:
        """Run ``up`` undisturbed and keep the VM; what comes of the others follows from it."""
        up = self._run("up")
        assert up.code == 0, up.stderr
        self._is_deployed = True
        deployed = self.node.state()
        return Reference(deployed, _with_cores(deployed, OTHER_CORES), _without_vms(deployed))

    def try_point(self, point: KillPoint, reference: Future[Reference]) -> Result:
        """Kill, look, run again, look."""
        result = Result(point)
        self._prepare(point)
        self._is_deployed = False
        kill_at(self._scene, point, self._words(point.command, card=point.card))
        self._look_at_killed(result)
        began = time.monotonic()
        ended = self._run(point.next, card=point.card)
        result.code, result.seconds = ended.code, time.monotonic() - began
        result.notice = " ".join(one for one in ended.stderr.splitlines() if "was cut off while" in one)
        self._judge(result, ended.stderr)
        wanted, found = reference.result().after(point), self._settled_state()
        result.differences = list(differing(found, wanted))
        self._is_deployed = ended.code == 0 and point.next == "up" and not point.card
        return result

    def _run(self, command: str, *, card: bool = False) -> Ended:
        return self.user.run(*self._words(command, card=card))

    def _words(self, command: str, *, card: bool = False) -> list[str]:
        if command == "change":
            return self.user.words("up", NAME, "--cores", str(OTHER_CORES))
        return self.user.words(command, NAME, *(WITH_CARD if card and command == "up" else ()))

    def _prepare(self, point: KillPoint) -> None:
        """A bare node before ``up``, one with the VM before the others; for ``down`` it need not be whole."""
        if point.command == "up":
            self.node.reset()
        elif point.command == "change" and not self._is_deployed:
            self.node.reset()
            up = self._run("up")
            assert up.code == 0, up.stderr
        elif point.card or not self.node.state()["vms"]:
            self.node.reset()
            self._boot(card=point.card)
        self.user.forget()

    def _boot(self, *, card: bool) -> None:
        """Have the VM, with nothing installed."""
        self.user.forget()
        process = self.user.start(*self._words("up", card=card))
        try:
            wait_for(lambda: any(one["step"] == StepKind.PREPARE for one in self.user.entries(NAME)), "a VM")
        finally:
            process.terminate()
            process.communicate(timeout=SETTLES_WITHIN_S)

    def _look_at_killed(self, result: Result) -> None:
        open_steps = [one["step"] for one in self.user.entries(NAME)[-1:] if one["event"] == "begin"]
        if open_steps != [result.point.step.value]:
            result.problems.append(f"the journal's open step is {open_steps}")

        def only_the_shared_connection() -> bool:
            left = self.user.processes().values()
            return all(words.startswith("ssh ") or "/relay.py " in words for words in left)

        wait_for(only_the_shared_connection, "end of the killed run's processes here", LETS_GO_WITHIN_S)

    def _judge(self, result: Result, stderr: str) -> None:
        point = result.point
        wanted = CHECKS_FAIL if point.card and point.next == "up" else 0
        if result.code != wanted:
            result.problems.append(f"exit {result.code}: {stderr[-1500:]}")
        if not re.search(_expected_notice(point), result.notice):
            result.problems.append(f"notice: {result.notice!r}")
        left = [str(path) for path in self.user.runtime.iterdir()]
        left += self.user.processes().values()
        if left:
            result.problems.append(f"left: {left}")
        if "Traceback" in stderr:
            result.problems.append(f"a bug: {stderr[-1500:]}")

    def _settled_state(self) -> State:
        """The node's state when all its tasks have ended."""
        wait_for(lambda: not self.node.state()["at work"], "end of the node's tasks", SETTLES_WITHIN_S)
        return self.node.state()


def _expected_notice(point: KillPoint) -> str:
    up_intent = (point.command, point.moment) == ("up", Moment.INTENT)
    pattern = INTENTS[point.step] if up_intent else NOTICES[point.command, point.moment]
    if point.next == "down" != point.command:
        pattern = f"{pattern}|^$"
    if pattern.endswith("|^$"):
        pattern, nothing = pattern.removesuffix("|^$"), "|^$"
    else:
        nothing = ""
    doing = "removing" if point.command == "down" else "doing"
    said = rf"was cut off while {doing} {point.step.value}; on the node now: .*({pattern})"
    return f"({said}){nothing}"


def differing(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    """Where two states differ, one line each."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted({*found, *wanted}):
            yield from differing(found.get(key), wanted.get(key), f"{place}/{key}")
    elif found != wanted:
        yield f"{place}: {found!r} in place of {wanted!r}"


def _with_cores(state: State, cores: int) -> State:
    return {**state, "vms": {vmid: {**vm, "cores": cores} for vmid, vm in state["vms"].items()}}


def _with_card(state: State) -> State:
    """The same with the card that :data:`WITH_CARD` asks for; once the VM is gone, with its mapping alone."""
    leases = [[NAME, vmid, False] for vmid in map(int, state["vms"])]
    vms = {vmid: {**vm, **_card_values(vm)} for vmid, vm in state["vms"].items()}
    return {**state, "vms": vms, "mappings": {MAPPING: [ENTRY, *leases]}}


def _card_values(vm: Mapping[str, Any]) -> dict[str, Any]:
    name, vmid, spec, begun = vm["description"]
    spec = {**spec, "gpus": [MAPPING], "accepted": ["only-display"]}
    return {"hostpci0": f"mapping={MAPPING},pcie=1", "description": [name, vmid, spec, begun]}


def _without_vms(state: State) -> State:
    """What is left is the image, and the pool."""
    volumes = {volid: one for volid, one in state["volumes"].items() if ":import/" in volid}
    files = [name for name in state["files"] if "/import/" in name]
    return {**state, "vms": {}, "volumes": volumes, "files": files, "pools": {"localai": []}}
