"""Progress of a run, told by events and an injected clock; there is no terminal here."""

from __future__ import annotations

import re
import sys

import click
import pytest

from localai_deploy.cli.check_view import CheckLines, verdict
from localai_deploy.cli.progress import RunProgress, duration
from localai_deploy.domain.plan import StepKind
from localai_deploy.provisioner.events import TaskChanged, TaskFailed, TaskProgress, TaskStarted
from localai_deploy.verifier.events import CheckProgress
from localai_deploy.verifier.report import CheckResult, Outcome, Report
from tests.unit.cli.terminal_double import Terminal

MIB = 1 << 20


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> RunProgress:
    return RunProgress(clock=clock)


def pulled(host: str, done_mib: int) -> TaskProgress:
    return TaskProgress(host, "Follow the pull", done_mib * MIB, 100 * MIB, 1)


def test_a_download_of_two_hosts(progress: RunProgress, clock: Clock) -> None:
    progress.step_started(StepKind.MODELS, ["nas", "workstation"])
    assert progress.lines() == ["models: nas, workstation"]
    progress.task_event(TaskStarted("model_store", "Follow the pull"))
    clock.now = 10
    progress.task_event(pulled("nas", 10))
    progress.task_event(pulled("workstation", 0))
    assert progress.lines() == [
        "models: Follow the pull  10 s",
        "  nas          10.0 MiB of 100.0 MiB (10 %)",
        "  workstation  0 B of 100.0 MiB (0 %)",
    ]
    clock.now = 20
    progress.task_event(pulled("nas", 30))
    progress.task_event(pulled("workstation", 1))
    assert progress.lines() == [
        "models: Follow the pull  20 s",
        "  nas          30.0 MiB of 100.0 MiB (30 %), 2.0 MiB/s, 35 s left",
        "  workstation  1.0 MiB of 100.0 MiB (1 %), 102.4 KiB/s, 16 min 30 s left",
    ]


def test_the_next_task_forgets_the_download(progress: RunProgress) -> None:
    progress.step_started(StepKind.MODELS, ["nas"])
    progress.task_event(pulled("nas", 10))
    progress.task_event(TaskStarted("model_store", "Take the pull's result"))
    assert progress.lines() == ["models: Take the pull's result"]


def test_a_download_that_starts_again_is_measured_anew(progress: RunProgress, clock: Clock) -> None:
    progress.step_started(StepKind.MODELS, ["nas"])
    progress.task_event(pulled("nas", 90))
    clock.now = 10
    progress.task_event(pulled("nas", 5))
    assert progress.lines()[1] == "  nas  5.0 MiB of 100.0 MiB (5 %)"


def test_routine_of_ansible_is_not_shown(progress: RunProgress) -> None:
    progress.step_started(StepKind.SERVICE, ["nas"])
    progress.task_event(TaskStarted("service", "Validating arguments against arg spec 'main' - Run it."))
    assert progress.lines() == ["service: nas"]


def test_without_a_terminal_a_waiting_task_is_heard_of_now_and_then(
    progress: RunProgress, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.step_started(StepKind.MODELS, ["nas"])
    for second in range(1, 31):
        clock.now = second
        progress.task_event(pulled("nas", second))
    assert capsys.readouterr().err.splitlines() == [
        "  nas: Follow the pull: 10.0 MiB of 100.0 MiB (10 %), 1.0 MiB/s, 1 min 30 s left",
        "  nas: Follow the pull: 20.0 MiB of 100.0 MiB (20 %), 1.0 MiB/s, 1 min 20 s left",
        "  nas: Follow the pull: 30.0 MiB of 100.0 MiB (30 %), 1.0 MiB/s, 1 min 10 s left",
    ]


def test_waiting_without_bytes(progress: RunProgress) -> None:
    progress.step_started(StepKind.SERVICE, ["nas"])
    progress.task_event(TaskProgress("nas", "Wait until the server answers", attempts=3))
    assert progress.lines()[1] == "  nas  not yet (look 3)"


@pytest.mark.parametrize(
    ("hosts", "changed", "failed", "line"),
    [
        (["nas"], {"nas": 9}, [], "✓ prepare      changed=9  (2.5 s)"),
        (["nas"], {}, [], "✓ prepare      changed=0  (2.5 s)"),
        (["nas", "box"], {"nas": 9}, [], "✓ prepare      changed: nas=9, box=0  (2.5 s)"),
        (["nas"], {"nas": 2}, ["nas"], "✗ prepare      failed on nas  (2.5 s)"),
        (["nas", "box"], {"nas": 2}, ["nas"], "✗ prepare      failed on nas; changed: box=0  (2.5 s)"),
    ],
)
def test_a_step_ends_with_a_line(
    hosts: list[str],
    changed: dict[str, int],
    failed: list[str],
    line: str,
    progress: RunProgress,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress.step_started(StepKind.PREPARE, hosts)
    clock.now = 2.5
    progress.step_ended(StepKind.PREPARE, changed, failed)
    assert capsys.readouterr().err == f"{line}\n"


def test_verbose_shows_every_task(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = RunProgress(verbose=True, clock=clock)
    progress.step_started(StepKind.PREPARE, ["nas"])
    progress.task_event(TaskStarted("base", "Have the service user"))
    progress.task_event(TaskChanged("nas", "base", "Have the service user"))
    progress.task_event(TaskFailed("nas", "base", "Mark the host", "no", {}))
    assert capsys.readouterr().err.splitlines() == [
        "    base: Have the service user",
        "    changed: base: Have the service user (nas)",
        "    failed: base: Mark the host (nas)",
    ]


def test_checks_are_shown_while_they_run(progress: RunProgress, clock: Clock) -> None:
    progress.check_progress(CheckProgress("nas", "model-hash", "the model is right"))
    clock.now = 5
    progress.check_progress(CheckProgress("nas", "model-hash", "the model is right", 10 * MIB, 20 * MIB))
    assert progress.lines() == [
        "verify: nas: the model is right  5 s",
        "  nas  10.0 MiB of 20.0 MiB (50 %)",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (3599, "59 min 59 s"), (7260, "2 h 01 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def check(host: str, outcome: Outcome, detail: str = "") -> CheckResult:
    return CheckResult(host, "port-bound", "it listens where it should", outcome, detail)


def test_check_lines_of_one_host() -> None:
    lines = CheckLines(["nas"])
    assert (
        click.unstyle(lines.of(check("nas", Outcome.PASS)))
        == "✓ port-bound          it listens where it should"
    )
    assert click.unstyle(lines.of(check("nas", Outcome.FAIL, "it listens on 0.0.0.0"))).splitlines() == [
        "✗ port-bound          it listens where it should",
        "    seen: it listens on 0.0.0.0",
    ]
    assert (
        click.unstyle(lines.of(check("nas", Outcome.SKIP, "no card"))).splitlines()[1]
        == "    skipped: no card"
    )


def test_check_lines_of_several_hosts_name_the_host() -> None:
    lines = CheckLines(["nas", "workstation"])
    assert click.unstyle(lines.of(check("nas", Outcome.PASS))).startswith("✓ nas          port-bound ")
    assert click.unstyle(lines.of(check("workstation", Outcome.PASS))).startswith(
        "✓ workstation  port-bound "
    )


def test_check_lines_are_wrapped_below_the_title() -> None:
    lines = CheckLines(["nas"], width=40).of(check("nas", Outcome.FAIL, "it listens on every address"))
    assert click.unstyle(lines).splitlines() == [
        "✗ port-bound          it listens where",
        "                      it should",
        "    seen: it listens on every address",
    ]


def test_verdicts() -> None:
    report = Report((check("a", Outcome.PASS), check("b", Outcome.FAIL, "no")), ("a", "b", "c"))
    (good,) = verdict(report, "a", "; changed=3")
    assert click.unstyle(good) == "a: proven (1 passed, 0 failed, 0 skipped; changed=3)"
    bad, fix = verdict(report, "b")
    assert click.unstyle(bad) == "b: NOT proven (0 passed, 1 failed, 0 skipped)"
    assert fix.startswith("  fix: ")
    assert click.unstyle(verdict(report, "c")[0]) == "c: NOT proven (0 passed, 0 failed, 0 skipped)"


def test_what_is_said_while_lines_change_stays(environment: dict[str, str]) -> None:
    program = (
        "import sys, time\n"
        "from localai_deploy.cli.progress import RunProgress, say\n"
        "from localai_deploy.domain.plan import StepKind\n"
        "with RunProgress() as progress:\n"
        "    progress.step_started(StepKind.VM, ['llm'])\n"
        "    say('asked again in 1 s')\n"
        "    time.sleep(0.5)\n"
        "    progress.step_ended(StepKind.VM, {'llm': 1}, [])\n"
    )
    terminal = Terminal([sys.executable, "-c", program], environment | {"TERM": "xterm", "NO_COLOR": "1"})
    assert terminal.end() == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.seen)
    before, said, after = shown.partition("· asked again in 1 s\r\n")
    assert (said != "", "vm: llm" in after, "✓ vm" in after) == (True, True, True), (before, after)
