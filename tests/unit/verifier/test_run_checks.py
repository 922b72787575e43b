"""A whole run in its own process, over this machine without SSH: what it tells, and what it keeps out."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from verifier_doubles import EXPECTED, changed

from localai_deploy.provisioner.render import ProjectHost, render_project
from localai_deploy.verifier import private_directory
from localai_deploy.verifier import run as run_module
from localai_deploy.verifier.report import CheckResult, Outcome, Report
from localai_deploy.verifier.run import run_checks
from localai_deploy.verifier.scope import Scope

SENTINEL = "sentinel-5f1c9a"


def inventory(folder: Path, hosts: dict[str, Any], name: str = "inventory.json") -> Path:
    path = folder / name
    path.write_text(json.dumps({"inference": {"hosts": hosts}}))
    return path


def here(**variables: Any) -> dict[str, Any]:
    return {"ansible_connection": "local", "localai_expected": EXPECTED, **variables}


def verify(*inventories: Path, hosts: tuple[str, ...] = ("alpha",), **options: Any) -> Report:
    return run_checks(inventories=inventories, hosts=hosts, on_result=lambda _: None, **options)


@pytest.fixture
def no_leftovers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The run's own directory is gone afterwards."""
    prefix = f"localai-test-{os.getpid()}-"
    monkeypatch.setattr(private_directory, "NAME_PREFIX", prefix)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    yield
    assert list(Path("/tmp").glob(f"{prefix}*")) == []


@pytest.mark.usefixtures("no_leftovers")
def test_a_bare_machine_fails_every_check_but_those_that_cannot_be_made(tmp_path: Path) -> None:
    came: list[tuple[float, CheckResult]] = []
    begun: list[str] = []
    report = run_checks(
        inventories=[inventory(tmp_path, {"alpha": here()})],
        hosts=["alpha"],
        on_result=lambda result: came.append((time.monotonic(), result)),
        on_progress=lambda progress: begun.append(progress.check_id),
    )
    assert not report.passed
    assert [result for _, result in came] == list(report.results)
    assert begun[:1] == ["record"]
    assert {"record", "service-active", "completion", "model-hash"} <= {r.check_id for r in report.failures}
    assert all(result.detail for result in report.failures)
    assert report.find("alpha", "verifier") is None


def test_a_host_without_the_card_that_it_was_given_fails_that_check(tmp_path: Path) -> None:
    """``fffe`` is no vendor's number: whatever machine this is, it has no such card."""
    expected = changed(EXPECTED, "record/devices", ["fffe:2684"])
    hosts = {"alpha": here(localai_expected=expected), "beta": here(localai_expected=expected)}
    report = verify(inventory(tmp_path, hosts), hosts=("alpha", "beta"), scope=Scope(devices=("beta",)))
    assert report.find("alpha", "devices-present") is None
    found = report.find("beta", "devices-present")
    assert found is not None
    assert (found.outcome, found.detail) == (Outcome.FAIL, "fffe:2684 is there not at all, not 1 times")


def test_a_host_without_a_planned_card_skips_the_proof_with_its_reason(tmp_path: Path) -> None:
    record = {**EXPECTED["record"], "variant": "cpu", "gpu_layers": 0, "devices": []}
    hosts = {"alpha": here(localai_expected={**EXPECTED, "record": record})}
    report = verify(inventory(tmp_path, hosts))
    found = [one for one in report.results if one.check_id.startswith("gpu-")]
    assert [(one.check_id, one.outcome, one.detail) for one in found] == [
        ("gpu-card", Outcome.SKIP, "no card is planned for this host")
    ]


def test_a_planned_card_brings_the_whole_proof(tmp_path: Path) -> None:
    """Whatever machine this is, it has no such service: the steps that need one are red."""
    report = verify(inventory(tmp_path, {"alpha": here()}), scope=Scope(planned_card=("alpha",)))
    failed = {one.check_id for one in report.failures}
    assert {one.check_id for one in report.results if one.check_id.startswith("gpu-")} == {
        *("gpu-driver", "gpu-card", "gpu-kernel", "gpu-offload", "gpu-memory", "gpu-work", "gpu-xid")
    }
    assert {"gpu-offload", "gpu-memory", "gpu-work"} <= failed


def test_two_hosts_one_after_the_other(tmp_path: Path) -> None:
    report = verify(inventory(tmp_path, {"alpha": here(), "beta": here()}), hosts=("alpha", "beta"))
    hosts = [result.host for result in report.results]
    assert hosts == sorted(hosts)
    assert len(report.of_host("alpha")) == len(report.of_host("beta")) == 16


def test_a_host_that_the_inventory_lacks_fails_every_check(tmp_path: Path) -> None:
    report = verify(inventory(tmp_path, {"alpha": here()}), hosts=("beta",))
    assert {result.detail for result in report.results} == {"beta is not in the inventory"}
    assert len(report.failures) == len(report.results) == 16


def test_a_host_without_expectations_fails_every_check(tmp_path: Path) -> None:
    report = verify(inventory(tmp_path, {"alpha": {"ansible_connection": "local"}}))
    assert {result.detail for result in report.failures} == {
        "the inventory has no localai_expected for alpha"
    }
    assert len(report.failures) == 16


def test_expectations_that_cannot_be_used(tmp_path: Path) -> None:
    expected = changed(EXPECTED, "packages", {})
    report = verify(inventory(tmp_path, {"alpha": here(localai_expected=expected)}))
    assert {result.detail for result in report.failures} == {
        "the inventory's localai_expected cannot be used: packages is empty"
    }


def test_a_broken_inventory_fails_with_ansibles_reason(tmp_path: Path) -> None:
    good = inventory(tmp_path, {"alpha": here()})
    bad = tmp_path / "bad.yml"
    bad.write_text("all: [\n")
    report = verify(good, bad)
    assert len(report.failures) == 16
    assert "the inventory cannot be read: " in report.failures[0].detail
    assert "bad.yml" in report.failures[0].detail


def test_a_host_that_refuses_the_connection(tmp_path: Path) -> None:
    variables = {"ansible_host": "127.0.0.1", "ansible_port": 1, "localai_expected": EXPECTED}
    started = time.monotonic()
    report = verify(inventory(tmp_path, {"alpha": variables}))
    assert len(report.failures) == 16
    assert "Connection refused" in report.failures[0].detail
    assert time.monotonic() - started < 30


def test_a_later_inventory_adds_to_the_first(tmp_path: Path) -> None:
    first = inventory(tmp_path, {"alpha": {"localai_expected": {}}})
    second = inventory(tmp_path, {"alpha": here()}, "second.json")
    report = verify(first, second)
    assert "deployment.json is not there" in report.results[0].detail


def test_a_rendered_project_carries_the_expectations(tmp_path: Path) -> None:
    """Text that looks like a template is marked in the project, and is plain text for the checks."""
    alias = "{{ lookup('pipe', 'touch pwned') }}"
    expected = changed(EXPECTED, "record/service/command", ["/bin/true", "--alias", alias])
    connection = {"ansible_connection": "local"}
    hosts = [ProjectHost("alpha", connection, {"localai_expected": expected})]
    project = render_project(tmp_path / "project", hosts)
    assert "!unsafe" in (project.inventory / "host_vars/alpha.yml").read_text()
    secrets = tmp_path / "secrets.json"
    secrets.write_text(json.dumps({"inference": {"hosts": {"alpha": {"model_store_token": "x"}}}}))
    report = verify(project.inventory, secrets)
    assert "deployment.json is not there" in report.results[0].detail
    assert not Path("pwned").exists()


def test_an_empty_list_of_hosts_is_no_pass(tmp_path: Path) -> None:
    report = verify(inventory(tmp_path, {"alpha": here()}), hosts=())
    assert not report.passed
    assert report.results == ()


def test_a_comma_in_a_path_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    with pytest.raises(ValueError, match="comma"):
        verify(inventory(folder, {"alpha": here()}))


@pytest.mark.usefixtures("no_leftovers")
def test_time_over_is_a_failure_of_whatever_has_no_result(tmp_path: Path) -> None:
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        expected = changed(EXPECTED, "record/service/port", silent.getsockname()[1])
        report = verify(inventory(tmp_path, {"alpha": here(localai_expected=expected)}), timeout_s=3)
    assert time.monotonic() - started < 10
    over = "the time for verification was over before this check ended"
    late = {result.check_id for result in report.failures if result.detail == over}
    assert late >= {"key-required", "health", "completion", "model-hash", "verifier"}
    assert "record" not in late
    assert len(report.results) == 16 + 1


def test_a_run_that_dies_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["/bin/sh", "-c", "echo the reason; exit 3"]
    monkeypatch.setattr(run_module, "_command", lambda hosts, events: command)
    report = verify(inventory(tmp_path, {"alpha": here()}))
    assert [(r.check_id, r.outcome, r.detail) for r in report.results] == [
        ("verifier", Outcome.FAIL, "the checks' process ended with 3: the reason")
    ]


def test_a_run_that_finds_no_check_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_command", lambda hosts, events: ["/bin/true"])
    report = verify(inventory(tmp_path, {"alpha": here()}))
    assert [(r.check_id, r.detail) for r in report.results] == [("verifier", "no check was found")]


@pytest.mark.usefixtures("no_leftovers")
def test_an_exception_of_the_listener_ends_the_run(tmp_path: Path) -> None:

    def interrupt(_: CheckResult) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_checks(inventories=[inventory(tmp_path, {"alpha": here()})], hosts=["alpha"], on_result=interrupt)


def test_nothing_of_the_users_surroundings_is_picked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings, plugins and modules in the current directory and the environment stay out."""
    (tmp_path / "conftest.py").write_text("raise SystemExit('conftest')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "ansible.cfg").write_text("[inventory]\nenable_plugins = none\n")
    (tmp_path / "testinfra.py").write_text("raise SystemExit('a module of the current directory')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
    report = verify(inventory(tmp_path, {"alpha": here()}))
    assert len(report.results) == 16
    assert not report.passed


def test_secrets_are_not_in_what_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", f"{SENTINEL}-environment")
    first = inventory(tmp_path, {"alpha": here()})
    second = inventory(tmp_path, {"alpha": {"model_store_token": SENTINEL}}, "secrets.json")
    second.chmod(0o600)
    report = verify(first, second)
    assert report.results
    assert SENTINEL not in json.dumps(report.to_data()) + report.junit_xml()


def test_the_environment_is_an_allow_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tmp_path / "environment"
    monkeypatch.setenv("HF_TOKEN", SENTINEL)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    monkeypatch.setattr(run_module, "_command", lambda hosts, events: ["/bin/sh", "-c", f"env > {seen}"])
    verify(inventory(tmp_path, {"alpha": here()}), environment={"GIVEN": "yes"})
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert SENTINEL not in seen.read_text()
    assert {"SSH_AUTH_SOCK", "GIVEN", "ANSIBLE_CONFIG", "ANSIBLE_INVENTORY"} <= names
    assert not names & {"HF_TOKEN", "PYTHONPATH", "DISPLAY"}


def test_a_check_that_is_not_declared_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = tmp_path / "checks"
    checks.mkdir()
    (checks / "test_undeclared.py").write_text("def test_undeclared(target): pass\n")
    monkeypatch.setattr(run_module, "CHECKS", checks)
    report = verify(inventory(tmp_path, {"alpha": here()}))
    assert [result.check_id for result in report.results] == ["verifier"]
    assert "is no check: it lacks @check(id, title)" in report.results[0].detail


def test_a_check_that_breaks_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = tmp_path / "checks"
    checks.mkdir()
    (checks / "test_broken.py").write_text(
        "from localai_deploy.verifier.checking import check, skip\n"
        "@check('broken', 'x')\ndef test_broken(target): {}['gone']\n"
        "@check('skipped', 'x')\ndef test_skipped(target): skip('no card here')\n"
        "@check('fine', 'x')\ndef test_fine(target, evidence): evidence['seen'] = 1\n"
    )
    monkeypatch.setattr(run_module, "CHECKS", checks)
    report = verify(inventory(tmp_path, {"alpha": here()}))
    assert {r.check_id: (r.outcome, r.detail, r.evidence) for r in report.results} == {
        "broken": (Outcome.FAIL, "KeyError: 'gone'", {}),
        "skipped": (Outcome.SKIP, "no card here", {}),
        "fine": (Outcome.PASS, "", {"seen": 1}),
    }
