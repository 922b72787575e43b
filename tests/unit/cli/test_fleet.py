"""Several hosts at once: patterns, limits, tags, the table of results, and hosts that fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from localai_deploy.cli.host_table import HostTable, checked, ended_lines, table_of
from localai_deploy.cli.progress import RunProgress
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.plan import TAGS, StepKind
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.specs import Overrides, load_hosts
from localai_deploy.provisioner.events import TaskProgress
from localai_deploy.verifier.events import CheckProgress
from localai_deploy.verifier.report import CheckResult, Outcome, Report
from localai_deploy.workflow import deploy, removal
from tests.unit.cli.conftest import Ended
from tests.unit.cli.host_double import HostDouble
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


@pytest.mark.parametrize("limit", ["tow", "one,tow", "inference:!tow"])
@pytest.mark.parametrize("command", ["up", "verify", "status", "doctor", "down", "plan"])
def test_a_typo_in_a_limit(limit: str, command: str, inventory: Path, run: Callable[..., Ended]) -> None:
    """Ansible passes over it: one host would be missed, or not be spared."""
    ended = run(command, "-i", str(inventory), "--limit", limit, "-o", "json")
    assert (ended.code, ended.data["error"]["id"]) == (2, "host-not-in-inventory")
    assert ended.data["error"]["what"].startswith("'tow' is neither a host nor a group of ")
    assert ended.data["error"]["why"] == "did you mean two?"


def test_a_limit_that_leaves_nobody(inventory: Path, run: Callable[..., Ended]) -> None:
    ended = run("plan", "-i", str(inventory), "one", "--limit", "tw*", "-o", "json")
    assert (ended.code, ended.data["error"]["id"]) == (2, "host-missing")
    assert ended.data["error"]["what"].endswith("has no host that matches one and tw*")
    assert run("plan", "box", *MODEL, "--limit", "box", "-o", "json").data["error"]["id"] == "usage"


def test_a_group_without_hosts(inventory: Path, run: Callable[..., Ended]) -> None:
    inventory.write_text(inventory.read_text() + "empty:\n  hosts: {}\n")
    ended = run("up", "-i", str(inventory), "empty", "--yes", "-o", "json")
    assert (ended.code, ended.data["error"]["id"]) == (2, "host-missing")
    assert "a group may be there and have none" in ended.data["error"]["hint"]


@pytest.mark.parametrize("lack", ["does not exist", "has no file that lists hosts"])
def test_an_inventory_that_is_not_there(lack: str, tmp_path: Path, run: Callable[..., Ended]) -> None:
    home = tmp_path / "homme"
    if "no file" in lack:
        (home / "host_vars").mkdir(parents=True)
    ended = run("up", "-i", str(home), "--yes", "-o", "json")
    assert (ended.code, ended.data["error"]["id"]) == (2, "inventory-unreadable")
    assert ended.data["error"]["what"] == f"inventory {home} {lack}"
    assert f"localai-deploy init {home}" in ended.data["error"]["hint"]


def test_two_machines_of_one_name(tmp_path: Path, run: Callable[..., Ended]) -> None:
    """Ansible would go to the second one without a word."""
    for name, address in (("hosts.yml", "192.0.2.1"), ("more.yml", "192.0.2.2")):
        (tmp_path / name).write_text(f"inference:\n  hosts:\n    nas:\n      ansible_host: {address}\n")
    for command in ("up", "down", "verify"):
        ended = run(command, "-i", str(tmp_path), "--limit", "nas", "-o", "json")
        assert (ended.code, ended.data["error"]["id"]) == (2, "inventory-name-twice")
        assert ended.data["error"]["what"] == "hosts.yml:4: two hosts are called nas"
        assert "192.0.2.2 in more.yml:4" in ended.data["error"]["why"]


def test_a_vaulted_value_without_the_password(tmp_path: Path, run: Callable[..., Ended]) -> None:
    vaulted = "!vault |\n          $ANSIBLE_VAULT;1.1;AES256\n          3132\n"
    text = f"inference:\n  hosts:\n    nas:\n      ansible_become_password: {vaulted}"
    (tmp_path / "hosts.yml").write_text(text)
    ended = run("up", "-i", str(tmp_path), "--yes", "-o", "json")
    error = ended.data["error"]
    assert (ended.code, error["id"]) == (2, "inventory-unreadable")
    assert error["why"].startswith("nas: ansible_become_password: ")
    assert "--vault-password-file" in error["hint"]


def test_an_inventory_in_place_of_a_host(
    tmp_path: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deploy, "open_target", unknown)
    ended = run("status", "home", "-o", "json")
    assert ended.data["error"]["hint"] == "home is a folder here: an inventory is named by -i home"


def unknown(name: str, *_: object, **__: object) -> HostDouble:
    class Unknown(HostDouble):
        def observe(self) -> HostFacts:
            raise LocalaiError("host-unknown", f"no SSH connection to {name}")

    return Unknown(name, "down")


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
    return CheckResult(host, "check", "it works", outcome, "so it is seen")


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


def test_the_table_stays_at_the_end() -> None:
    table = table_of({"one": "waits", "two": "not begun: host-unreachable"})
    assert table is not None
    report = Report((result("one", Outcome.PASS),), ("one",))
    lines = ended_lines(table, {"one": checked(report, "one")})
    assert [click.unstyle(line).split()[:3] for line in lines] == [
        ["✓", "one", "proven"],
        ["✗", "two", "not"],
    ]
    assert "step-failed" in ended_lines(table, {"one": "step-failed"})[0]
    assert table_of({"one": "waits"}) is None


def test_a_table_of_checks_counts_no_changes() -> None:
    table = table_of({"one": "waits", "two": "waits"}, read_only=True)
    assert table is not None
    progress = RunProgress(table, clock=lambda: 0.0)
    progress.check_progress(CheckProgress("one", "model-hash", "its hash", 1 << 20, 4 << 20))
    progress.check_progress(CheckProgress("two", "record", "the record"))
    assert progress.lines() == [
        "verify: two: the record",
        "  one  verify    1.0 MiB of 4.0 MiB (25 %)",
        "  two  verify",
    ]
    progress.check_ended(result("two", Outcome.FAIL), "✗ it works", lambda _: None)
    assert table.lines()[1] == "  two  verify  0 ✓ 1 ✗"


HOSTS = {"one": "second-run", "two": "down", "three": "fresh-debian13"}


@pytest.fixture
def three(inventory: Path) -> Path:
    """One deployment that nobody can check or take away, a host that is down, one without any of ours."""
    text = inventory.read_text()
    inventory.write_text(text + text.splitlines(keepends=True)[-1].replace("two", "three"))
    return inventory


def rows(err: str) -> dict[str, str]:
    """The table that stays on stderr: host → state and numbers."""
    lines = [line.split() for line in err.splitlines() if line[:2] in {"✓ ", "✗ "}]
    return {host: " ".join([mark, *words]) for mark, host, *words in lines if host in HOSTS}


def test_verify_of_several_hosts(three: Path, run: Callable[..., Ended]) -> None:
    ended = run("verify", "-i", str(three), "--limit", "!three", "--forks", "2", "-o", "json", hosts=HOSTS)
    assert (ended.code, problems(ended.data)) == (4, [])
    one, two = ended.data["hosts"]
    assert one["counts"]["fail"] == 15
    assert two["error"]["why"].endswith("two: the inventory has it in hosts.yml:4")
    assert rows(ended.err) == {
        "one": "✗ NOT proven 0 ✓ 15 ✗",
        "two": "✗ not begun: host-unreachable",
    }


def test_down_of_several_hosts(three: Path, run: Callable[..., Ended]) -> None:
    ended = run("down", "-i", str(three), "--limit", "all", "--yes", "-o", "json", hosts=HOSTS)
    assert (ended.code, problems(ended.data)) == (5, [])
    errors = {one["host"]: one.get("error", {}) for one in ended.data["hosts"]}
    assert {host: error.get("id") for host, error in errors.items()} == {
        "one": "host-lost",
        "two": "host-unreachable",
        "three": None,
    }
    assert errors["one"]["why"].endswith("one: the inventory has it in hosts.yml:3")
    assert rows(ended.err) == {
        "one": "✗ host-lost changed=0",
        "two": "✗ not begun: host-unreachable changed=0",
        "three": "✓ nothing of ours was there changed=0",
    }


def test_a_host_that_is_lost_after_its_removal(
    inventory: Path, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be read back; the other one can, and still has everything, for no step ran here."""
    looks: list[str] = []
    observe = HostDouble.observe

    def once(host: HostDouble) -> HostFacts:
        looks.append(host.name)
        if host.name == "one" and looks.count("one") > 1:
            raise LocalaiError("host-unreachable", "no SSH connection to one")
        return observe(host)

    monkeypatch.setattr(HostDouble, "observe", once)
    monkeypatch.setattr(removal, "run_steps", lambda *_, **__: None)
    hosts = {"one": "second-run", "two": "second-run"}
    ended = run("down", "inference", "-i", str(inventory), "--yes", "-o", "json", hosts=hosts)
    assert ended.code == 5
    errors = {one["host"]: one["error"] for one in ended.data["hosts"]}
    assert {host: error["id"] for host, error in errors.items()} == {
        "one": "host-unreachable",
        "two": "left-over",
    }
    assert "hosts.yml:3" in errors["one"]["why"]


@pytest.mark.parametrize("command", ["plan", "up", "doctor"])
def test_what_blocks_a_host_names_its_line_and_the_others_are_looked_at(
    command: str, three: Path, run: Callable[..., Ended]
) -> None:
    hosts = {"one": "port-taken", "two": "down", "three": "old-system-no-root"}
    ended = run(command, "-i", str(three), "-o", "json", hosts=hosts)
    assert (ended.code, problems(ended.data)) == (3, [])
    for number, host in enumerate(ended.data["hosts"], start=3):
        blockers = [one for one in host.get("findings", []) if one["severity"] == "blocker"]
        errors = [*host.get("blockers", blockers), *([host["error"]] if "error" in host else [])]
        assert errors, host
        for error in errors:
            assert error["why"].endswith(f"{host['host']}: the inventory has it in hosts.yml:{number}")


def test_down_stands_for_no_host_by_itself(three: Path, run: Callable[..., Ended]) -> None:
    ended = run("down", "-i", str(three), "--yes", "-o", "json", hosts=HOSTS)
    assert (ended.code, ended.data["error"]["id"]) == (2, "usage")


def test_doctor_of_several_hosts(three: Path, run: Callable[..., Ended]) -> None:
    ended = run("doctor", "-i", str(three), "-l", "two,three", "--forks", "1", "-o", "json", hosts=HOSTS)
    assert [host["host"] for host in ended.data["hosts"]] == ["two", "three"]
    assert ended.code == 3


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
