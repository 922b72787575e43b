"""``driver``: named actions on a host's driver; Ansible's part is in tests/roles/test_nvidia_driver.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.gpu.driver_offer import SecureBoot
from localai_deploy.domain.gpu.secure_boot import enrolment_steps
from localai_deploy.provisioner.render import DRIVER_ACTIONS, rendered_files
from localai_deploy.workflow import apply
from localai_deploy.workflow import driver as drivers
from tests.roles.driver import ROLES
from tests.unit.cli.conftest import Ended
from tests.unit.cli.host_double import CASES, HostDouble

Run = Callable[..., Ended]
DEPLOYED = {"box": "card-second-run"}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Playbook and tag of what would have been run; the host stays as it is."""
    found: list[tuple[str, str]] = []

    def run_action(run: apply.Run, kind: object, part: apply.Part, listener: object) -> None:
        del kind, listener
        assert (run.project.directory / part.playbook).is_file()
        found.append((part.playbook, part.tag))

    monkeypatch.setattr(drivers, "run_action", run_action)
    return found


@pytest.fixture(autouse=True)
def deployed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Hosts of the case with a driver are deployed; what more their record of the driver is to say."""
    told = yaml.safe_load((CASES / DEPLOYED["box"] / "host_vars.yml").read_text())
    observe, more = HostDouble.observe, {}

    def observed(self: HostDouble) -> HostFacts:
        facts = observe(self)
        if not isinstance(facts.driver, dict):
            return facts
        return replace(
            facts, deployment=told["base_deployment"], lock=told["conda_lock"], driver=facts.driver | more
        )

    monkeypatch.setattr(HostDouble, "observe", observed)
    return more


def test_upgrade_runs_the_named_action(run: Run, ran: list[tuple[str, str]]) -> None:
    done = run("driver", "upgrade", "box", "--yes", "-o", "json", hosts=DEPLOYED)
    assert (done.code, ran) == (0, [("driver.yml", "upgrade")]), done
    assert list(Draft202012Validator(load_schema("driver")).iter_errors(done.data)) == []
    assert (done.data["before"], done.data["changed"]) == ("550.163.01", False)


def test_rollback_needs_a_version_from_before(run: Run, ran: list[tuple[str, str]]) -> None:
    done = run("driver", "rollback", "box", "--yes", hosts=DEPLOYED)
    assert (done.code, ran) == (3, [])
    assert "was never upgraded by us" in done.err


def test_rollback_goes_to_the_version_of_the_record(
    run: Run, ran: list[tuple[str, str]], deployed: dict[str, Any]
) -> None:
    deployed["previous"] = "550.144.03"
    done = run("driver", "rollback", "box", "--yes", hosts=DEPLOYED)
    assert (done.code, ran) == (0, [("driver.yml", "rollback")]), done.err
    assert "prove it: localai-deploy verify box" in done.out


def test_without_consent_nothing_is_done(run: Run, ran: list[tuple[str, str]]) -> None:
    done = run("driver", "upgrade", "box", hosts=DEPLOYED)
    assert (done.code, ran) == (2, [])


def test_a_driver_of_somebody_else_is_left_alone(run: Run, ran: list[tuple[str, str]]) -> None:
    done = run("driver", "upgrade", "box", "--yes", hosts={"box": "fresh-debian13"})
    assert (done.code, ran) == (3, [])


@pytest.mark.parametrize(("case", "left"), [("card-secure-boot", True), ("card-fresh", False)])
def test_the_key_and_what_a_person_has_to_do(
    run: Run, ran: list[tuple[str, str]], case: str, left: bool
) -> None:
    done = run("driver", "key", "box", "--yes", "-o", "json", hosts={"box": case})
    assert (done.code, ran) == (0, [("driver.yml", "key")]), done.err
    assert done.data["left_to_do"] == (enrolment_steps("debian") if left else "")


def test_steps_name_the_certificate_that_dkms_uses() -> None:
    assert "--import /var/lib/dkms/mok.pub" in enrolment_steps("debian")
    assert "--import /var/lib/shim-signed/mok/MOK.der" in enrolment_steps("ubuntu")
    assert [one for one in SecureBoot if one.refuses_ours] == [SecureBoot.ON]


def test_every_action_is_an_entry_point_that_runs_only_when_it_is_named() -> None:
    (play,) = yaml.safe_load(rendered_files([])["driver.yml"])
    tags = [task["tags"] for task in play["tasks"]]
    assert tags == [["never", name] for name in DRIVER_ACTIONS]
    for name in DRIVER_ACTIONS:
        assert (ROLES / "nvidia_driver" / "tasks" / f"{name}.yml").is_file()
