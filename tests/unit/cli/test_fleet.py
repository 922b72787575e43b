"""Several hosts at once: patterns, limits, tags, the table of results, and hosts that fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from localai_deploy.cli.host_table import HostTable, ended_lines, table_of
from localai_deploy.cli.progress import RunProgress
from localai_deploy.domain.plan import TAGS, StepKind
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory import Overrides, load_hosts
from localai_deploy.provisioner.events import TaskProgress
from localai_deploy.verifier.report import CheckResult, Outcome, Report
from localai_deploy.workflow.apply import HostOutcome
from localai_deploy.workflow.deploy import DeployResult, Looked
from tests.unit.cli.conftest import Ended
from tests.unit.cli.test_schemas import problems

MODEL = ("--model", "hf:ORG/REPO/small-q4.gguf")


def test_limit_narrows_down(inventory: Path, run: Callable[..., Ended]) -> None:
    hosts = {"one": "second-run", "two": "second-run"}
    for words, named in (
        (("--limit", "two"), ["two"]),
        (("--limit", "inference:!two"), ["one"]),
        (("inference", "-l", "o*"), ["one"]),
        ((), ["one", "two"]),
    ):
        ended = run("plan", "-i", str(inventory), *words, "-o", "json", hosts=hosts)
        assert [host["host"] for host in ended.data["hosts"]] == named


def test_a_limit_that_nobody_matches(inventory: Path, run: Callable[..., Ended]) -> None:
    ended = run("plan", "-i", str(inventory), "--limit", "tow", "-o", "json")
    assert (ended.code, ended.data["error"]["id"]) == (2, "host-missing")
    assert "tow" in ended.data["error"]["what"]
    assert run("plan", "box", *MODEL, "--limit", "box", "-o", "json").data["error"]["id"] == "usage"


def test_tags_show_their_steps_only(inventory: Path, run: Callable[..., Ended]) -> None:
    def steps(*words: str) -> list[str]:
        ended = run(
            "plan", "-i", str(inventory), "-l", "one", *words, "-o", "json", hosts={"one": "second-run"}
        )
        return [step["kind"] for step in ended.data["hosts"][0]["steps"]]

    every = steps()
    assert steps("--tags", "verify") == ["verify"]
    assert set(steps("--tags", "models,verify")) == {"prepare", "models", "service", "verify"} & set(every)
    ended = run("plan", "-i", str(inventory), "--tags", "model", "-o", "json")
    assert ended.code == 2
    assert "did you mean models?" in ended.data["error"]["what"].lower()


def test_tags_stand_for_every_step_of_a_host() -> None:
    from localai_deploy.domain.plan import HOST_STEPS

    named = {name for steps in TAGS.values() for name in steps}
    assert {kind.value for kind in HOST_STEPS} <= named


def test_one_host_that_is_down_does_not_stop_the_other(inventory: Path, run: Callable[..., Ended]) -> None:
    hosts = {"one": "down", "two": "second-run"}
    ended = run("status", "-i", str(inventory), "-o", "json", hosts=hosts)
    assert problems(ended.data) == []
    one, two = ended.data["hosts"]
    assert one["error"]["id"] == "host-unreachable"
    assert one["error"]["why"].endswith("one: the inventory has it in hosts.yml:3")
    assert "error" not in two
    assert ended.code == 5


def test_the_password_s_place_is_told(tmp_path: Path) -> None:
    from localai_deploy.workflow.together import ask_all

    (tmp_path / "hosts.yml").write_text(
        "inference:\n  hosts:\n    nas:\n      localai_models: [hf:ORG/REPO/a.gguf]\n"
        "  vars:\n    ansible_become_password: wrong\n"
    )
    hosts = load_hosts([], tmp_path, Overrides())

    def refuse(_: object) -> None:
        raise LocalaiError("sudo-password-wrong", "sudo says no", why="Sorry, try again.")

    (answer,) = ask_all(hosts, refuse)
    assert answer.error is not None
    assert answer.error.why == "Sorry, try again.\nnas: the inventory has the password in hosts.yml:6"


def result(host: str, outcome: Outcome) -> CheckResult:
    return CheckResult(host, "check", "it works", outcome, "")


def test_the_table_follows_the_run() -> None:
    table = HostTable(["nas", "workstation", "den"])
    progress = RunProgress(table, clock=lambda: 0.0)
    table.begin("not begun: host-unreachable", ["den"])
    progress.step_started(StepKind.MODELS, ["nas", "workstation"])
    progress.task_event(TaskProgress("nas", "Follow the pull", 10 << 20, 100 << 20, 1))
    assert progress.lines() == [
        "models: nas, workstation",
        "  nas          models                       changed=0    10.0 MiB of 100.0 MiB (10 %)",
        "  workstation  models                       changed=0",
        "  den          not begun: host-unreachable  changed=0",
    ]
    progress.step_ended(StepKind.MODELS, {"nas": 2}, ["workstation"])
    progress.check_ended(result("nas", Outcome.PASS), "✓ it works")
    assert [line.split() for line in table.lines()] == [
        ["nas", "models", "changed=2", "1", "✓", "0", "✗"],
        ["workstation", "failed", "in", "models", "changed=0"],
        ["den", "not", "begun:", "host-unreachable", "changed=0"],
    ]


def test_the_table_stays_at_the_end(inventory: Path) -> None:
    hosts = load_hosts([], inventory, Overrides())
    looked = [Looked(hosts[0]), Looked(hosts[1], error=LocalaiError("host-unreachable", "no"))]
    table = table_of(looked)
    assert table is not None
    report = Report((result("one", Outcome.PASS),), ("one",))
    lines = ended_lines(table, DeployResult({"one": HostOutcome(changed=3)}, report))
    assert [click.unstyle(line).split()[:3] for line in lines] == [
        ["✓", "one", "proven"],
        ["✗", "two", "not"],
    ]
    failed = DeployResult({"one": HostOutcome(error=LocalaiError("step-failed", "no"))}, None)
    assert "step-failed" in ended_lines(table, failed)[0]
    assert table_of(looked[:1]) is None


@pytest.mark.parametrize("forks", ["0", "many"])
def test_forks_are_a_number(forks: str, run: Callable[..., Ended]) -> None:
    assert run("plan", "box", *MODEL, "--forks", forks).code == 2


def test_forks_bound_how_many_are_asked_at_once(inventory: Path) -> None:
    import threading
    import time

    from localai_deploy.workflow.together import ask_all

    hosts = load_hosts([], inventory, Overrides())
    busy, most = 0, 0
    lock = threading.Lock()

    def look(_: object) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.05)
        with lock:
            busy -= 1

    ask_all(hosts, look, 1)
    assert most == 1
    ask_all(hosts, look, 2)
    assert most == 2
