"""One case: bring a host before a step, kill the run there, run another, and look at both machines."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localai_deploy.domain import paths
from localai_deploy.domain.plan import StepKind
from localai_deploy.sandbox.rootfs import copy_tree
from tests.integration.controller import (
    API_KEY,
    MODEL,
    TOKEN,
    Controller,
    at_work,
    disk_files_with,
    lock_is_free,
    thaw,
    wait_for,
)
from tests.integration.harness import KillPoint, Moment, Timeline, kill_at, timeline_of
from tests.lab.fixtures import unique_name
from tests.lab.host import PRISTINE, LabHost, start_host
from tests.lab.mirror_faults import Fault
from tests.lab.state import Entry, difference

if TYPE_CHECKING:
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

State = Mapping[str, Entry]
DEPLOYED = "deployed"
RANDOM = {
    API_KEY: "every deployment makes a key of its own",
    paths.FIT_FILE: "the speed that this run measured is written down",
}
"""What may differ between two hosts treated the same; presence, mode and owner count all the same."""
LETS_GO_WITHIN_S = 10.0
DOWNLOAD_BYTES_PER_S = 5_000_000

NOTICES: Mapping[tuple[StepKind, Moment, bool], str] = {
    (StepKind.PREPARE, Moment.INTENT, False): r"the host is not marked as ours \(absent\)",
    (StepKind.PREPARE, Moment.MIDDLE, False): r"marked as ours, but not what came with us \(partial\)",
    (StepKind.ENVIRONMENT, Moment.INTENT, False): r"/opt/\S+/llama_cpp holds no package \(absent\)",
    (
        StepKind.ENVIRONMENT,
        Moment.MIDDLE,
        False,
    ): r"holds no package \(absent\)|locked packages are installed",
    (StepKind.RUNTIME, Moment.INTENT, False): r"the runtime was not accepted yet \(absent\)",
    (StepKind.RUNTIME, Moment.MIDDLE, False): r"llama.cpp 0.7.0 cpu_lab_0 was accepted|not accepted yet",
    (StepKind.MODELS, Moment.INTENT, False): rf"{MODEL} is not there \(absent\)",
    (StepKind.MODELS, Moment.DOWNLOAD, False): r"\d+\.\d MiB of 93.8 MiB downloaded \(partial\)",
    (StepKind.SERVICE, Moment.INTENT, False): r"no unit localai-llama-cpp \(absent\)",
    (StepKind.SERVICE, Moment.HEALTH, False): r"localai-llama-cpp is running \(present\)",
    (StepKind.SERVICE, Moment.INTENT, True): r"the unit is active, 2 file\(s\) of it \(partial\)",
    (StepKind.SERVICE, Moment.MIDDLE, True): r"the unit is \w+|neither unit nor API key|no unit, 1 file",
    (StepKind.MODELS, Moment.INTENT, True): r"1 model file\(s\) \(93.8 MiB\), the pull program \(partial\)",
    (StepKind.MODELS, Moment.MIDDLE, True): r"model file\(s\)|neither models nor the pull program",
    (StepKind.RUNTIME, Moment.INTENT, True): r"the record of the accepted runtime \(partial\)",
    (StepKind.RUNTIME, Moment.MIDDLE, True): r"record of (the|an) accepted runtime",
    (StepKind.ENVIRONMENT, Moment.INTENT, True): r"\d+ conda package\(s\), the lock \(partial\)",
    (StepKind.ENVIRONMENT, Moment.MIDDLE, True): r"conda package",
    (StepKind.PREPARE, Moment.INTENT, True): r"our mark, 2 file\(s\) of it \(partial\)",
    (StepKind.PREPARE, Moment.MIDDLE, True): r"our mark, \d file|not marked as ours",
}
"""What the next run must say that the host shows; verification leaves nothing to speak of."""


@dataclass(slots=True)
class Result:
    """How one case ended; ``problems`` are for a person."""

    point: KillPoint
    lets_go_s: float = 0.0
    code: int = -1
    seconds: float = 0.0
    notice: str = ""
    differences: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def row(self) -> str:
        point, wrong = self.point, [*self.problems, *self.differences]
        return (
            f"{point.command:<5} {point.step.value:<12} {point.moment.value:<23} {point.then:<5} "
            f"{self.code:>4} {self.seconds:>6.1f} {self.lets_go_s:>7.2f} {len(self.differences):>6}  "
            f"{wrong[0] if wrong else 'ok'}"
        )


HEADER = (
    f"{'cmd':<5} {'step':<12} {'killed at':<23} {'then':<5} {'exit':>4} {'s':>6} {'lock s':>7} {'diffs':>6}"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What runs that nobody killed lead to and how long their tasks take."""

    deployed: State
    coming: Timeline
    going: Timeline


class Lane:
    """One host with its controller; cases come one after the other."""

    def __init__(self, lab: Lab, mirror: MirrorClient, directory: Path, stack: ExitStack) -> None:
        self.host: LabHost = stack.enter_context(start_host(lab, unique_name()))
        self.controller = Controller(self.host, directory)
        stack.callback(self.controller.close)
        self.mirror = mirror
        self._requests_before = 0

    def refer(self) -> Reference:
        """Run ``up`` and ``down`` undisturbed; the deployed host is kept as a snapshot."""
        up = self.controller.run("up")
        assert up.code == 0, up.stderr
        coming = timeline_of(self.controller)
        self.host.snapshot(DEPLOYED)
        deployed = self.host.state(RANDOM)
        down = self.controller.run("down")
        assert (down.code, self.host.state()) == (0, {}), down.stderr
        return Reference(deployed, coming, timeline_of(self.controller))

    def try_point(self, point: KillPoint, reference: Future[Reference]) -> Result:
        """Kill, look, run again, look."""
        result = Result(point)
        self._reset(point)
        timeline: Timeline = {}
        if point.moment is Moment.MIDDLE:
            timeline = reference.result().going if point.removing else reference.result().coming
        self._kill(point, timeline)
        self._look_at_killed(result)
        began = time.monotonic()
        ended = self.controller.run(point.then)
        result.code, result.seconds = ended.code, time.monotonic() - began
        result.notice = _notice(ended.stderr)
        self._judge(result, ended.stderr)
        wanted: State = reference.result().deployed if point.then == "up" else {}
        result.differences = difference(dict(self.host.state(RANDOM)), dict(wanted))
        return result

    def _reset(self, point: KillPoint) -> None:
        before = _label(point)
        kept = (self.host.directory / "snapshots" / before).is_dir()
        self.controller.forget()
        self._requests_before = len(self.mirror.requests(MODEL, self.host.address))
        self.host.reset(DEPLOYED if point.removing else before if kept else PRISTINE)

    def _kill(self, point: KillPoint, timeline: Timeline) -> None:
        slow = Fault("slow-drip", path=f"*{MODEL}", value=DOWNLOAD_BYTES_PER_S, client=self.host.address)
        try:
            if point.moment is Moment.DOWNLOAD:
                self.mirror.add_fault(slow)
            kill_at(self.controller, point, timeline)
        finally:
            self.mirror.clear_faults(self.host.address)
            thaw(self.host)
        if point.moment is Moment.INTENT and not point.removing:
            copy_tree(self.host.upper, self.host.directory / "snapshots" / _label(point))

    def _look_at_killed(self, result: Result) -> None:
        secrets = list(self.controller.runtime.glob("localai-deploy-*/secrets.json"))
        if not secrets or TOKEN not in secrets[0].read_text():
            result.problems.append("the killed run had no secrets file")
        if found := disk_files_with(self.controller, TOKEN):
            result.problems.append(f"a secret on a disk: {found}")
        result.lets_go_s = wait_for(lambda: lock_is_free(self.host), "free lock", LETS_GO_WITHIN_S)

        def only_the_shared_connection() -> bool:
            return all(words.startswith("ssh ") for words in self.controller.processes().values())

        wait_for(only_the_shared_connection, "end of the killed run's processes here", LETS_GO_WITHIN_S)

    def _judge(self, result: Result, stderr: str) -> None:
        point = result.point
        if result.code != 0:
            result.problems.append(f"exit {result.code}: {stderr[-1500:]}")
        if expected := _expected_notice(point):
            if not re.search(expected, result.notice):
                result.problems.append(f"notice: {result.notice!r}")
        elif result.notice:
            result.problems.append(f"notice about nothing: {result.notice!r}")
        left = [*at_work(self.host), *self.controller.processes().values()]
        left += [str(path) for path in self.controller.runtime.iterdir()]
        if left:
            result.problems.append(f"left: {left}")
        if point.step is StepKind.MODELS and point.then == "up":
            whole = [one for one in self._model_requests() if not one["range"]]
            if len(whole) != 1:
                result.problems.append(f"the model was fetched from its beginning {len(whole)} times")

    def _model_requests(self) -> list[Mapping[str, str]]:
        requests = self.mirror.requests(MODEL, self.host.address)[self._requests_before :]
        return [one for one in requests if one["method"] == "GET"]


def _label(point: KillPoint) -> str:
    return f"before-{point.step.value}"


def _notice(stderr: str) -> str:
    return " ".join(line for line in stderr.splitlines() if "was cut off while" in line)


def _expected_notice(point: KillPoint) -> str:
    pattern = NOTICES.get((point.step, point.moment, point.removing), "")
    doing = "removing" if point.removing else "doing"
    if pattern and point.then != point.command:
        pattern = ".+"
    return rf"was cut off while {doing} {point.step.value}; on the host now: .*({pattern})" if pattern else ""
