"""``node permissions`` against an embedded node: printed, applied with consent, and by people who may not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli import main as program
from localai_deploy.cli.output import load_schema
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.roles import run_access
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox import access as proxmox_access
from localai_deploy.sandbox.server import Sandbox
from localai_deploy.sandbox.state import AclEntry
from tests.integration.pve_flow import Flow, connection, serving

STORAGES = ("--vm-storage", "disks", "--image-storage", "pictures", "--seed-storage", "seeds")
RUN = ("node", "permissions", "pve1", *STORAGES)
NAMED_BY_TOKEN = {"PROXMOX_USER", "PROXMOX_TOKEN_ID", "PROXMOX_TOKEN_SECRET"}
PLACE = VmSpec("vm-a", "pve1", vm_storage="disks", image_storage="pictures", seed_storage="seeds")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        document = json.loads(self.out)
        validator = Draft202012Validator(load_schema("node-permissions"))
        assert [error.message for error in validator.iter_errors(document)] == []
        return document

    @property
    def exported(self) -> dict[str, str]:
        """What a shell makes of the output."""
        script = f"{self.out}\nenv -0"
        done = subprocess.run(["bash", "-euc", script], capture_output=True, check=True, text=True)
        pairs = (one.split("=", 1) for one in done.stdout.split("\0") if one)
        return {name: value for name, value in pairs if name.startswith("PROXMOX_")}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with serving(9) as sandbox:
        yield sandbox


def environment_of(found: NodeConnection) -> dict[str, str]:
    return {
        "PROXMOX_HOST": found.host,
        "PROXMOX_USER": found.token.user,
        "PROXMOX_TOKEN_ID": found.token.name,
        "PROXMOX_TOKEN_SECRET": found.token.secret,
        "PROXMOX_FINGERPRINT": found.fingerprint,
    }


@pytest.fixture
def run(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run a command line as an administrator, or as who is given."""

    def run(*words: str, by: NodeConnection | None = None) -> Ended:
        for name, value in environment_of(by or connection(sandbox)).items():
            monkeypatch.setenv(name, value)
        code = program.run(list(words))
        return Ended(code, *capsys.readouterr())

    return run


def changing(sandbox: Sandbox) -> list[tuple[str, str, int]]:
    return [one for one in sandbox.site.requests if one[0] != "GET"]


def secret_of(sandbox: Sandbox, user: str = "localai@pve") -> str:
    return sandbox.site.cluster.users[user].tokens["localai"].secret


def test_applied_rights_are_enough(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    done = run(*RUN, "--apply", "--yes")
    secret = secret_of(sandbox)
    assert (done.code, done.out.count(secret)) == (0, 1)
    assert secret not in done.err
    assert {name: done.exported[name] for name in sorted(done.exported) if name in NAMED_BY_TOKEN} == {
        "PROXMOX_TOKEN_ID": "localai",
        "PROXMOX_TOKEN_SECRET": secret,
        "PROXMOX_USER": "localai@pve",
    }
    assert "+ role LocalaiRunDisks: Datastore.AllocateSpace" in done.err
    Flow(proxmox_access.PveClient(connection(sandbox, "localai@pve", "localai")), PLACE).run()


def test_a_second_run_changes_nothing(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    run(*RUN, "--apply", "--yes")
    secret = secret_of(sandbox)
    sandbox.site.requests.clear()
    done = run(*RUN, "--apply")
    assert (done.code, changing(sandbox)) == (0, [])
    assert "its secret cannot be read again: --new-token makes another" in done.out
    assert "nothing to change" in done.err
    assert secret not in done.out + done.err
    assert done.exported["PROXMOX_USER"] == "root@pam"


def test_a_new_token(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    run(*RUN, "--apply", "--yes")
    before = secret_of(sandbox)
    done = run(*RUN, "--apply", "--new-token", "--yes")
    assert done.exported["PROXMOX_TOKEN_SECRET"] == secret_of(sandbox) != before
    assert "its secret holds no more" in done.err


def test_nothing_is_changed_without_consent(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    done = run(*RUN, "--apply")
    assert (done.code, done.out, changing(sandbox)) == (2, "", [])
    assert "[confirmation-needed]" in done.err
    assert "role LocalaiRunVms" in done.err


def test_both_parts_leave_the_one_of_day_to_day_in_the_shell(
    sandbox: Sandbox, run: Callable[..., Ended]
) -> None:
    done = run(*RUN, "--role", "both", "--apply", "--yes")
    assert done.exported["PROXMOX_USER"] == "localai@pve"
    assert done.out.count(secret_of(sandbox, "localai-setup@pve")) == 1


def test_printed_for_an_administrator_is_what_differs(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    whole = run(*RUN)
    assert whole.out.count("\npveum ") == 14
    run(*RUN, "--apply", "--yes")
    assert run(*RUN).out.splitlines()[1:] == ["# nothing to change"]
    sandbox.site.cluster.roles["LocalaiRunNode"] = frozenset()
    printed = run(*RUN)
    assert [line.split()[:4] for line in printed.out.splitlines()[1:]] == [
        ["pveum", "role", "add", "LocalaiRunNode"]
    ]
    assert "localai@pve!localai lacks: Sys.AccessNetwork on /nodes/pve1, Sys.Audit" in printed.err
    assert "\x1b" not in printed.out


def test_who_may_not_see_it_gets_everything(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    run(*RUN, "--apply", "--yes")
    done = run(*RUN, by=connection(sandbox, "localai@pve", "localai"))
    assert (done.code, done.out.count("\npveum ")) == (0, 14)
    assert "localai@pve!localai may not see who has which rights" in done.err
    assert "localai@pve!localai has what run needs" in done.err


def test_who_may_not_apply_is_told_why(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    run(*RUN, "--apply", "--yes")
    sandbox.site.requests.clear()
    done = run(*RUN, "--apply", "--yes", by=connection(sandbox, "localai@pve", "localai"))
    assert (done.code, done.out, changing(sandbox)) == (3, "", [])
    assert "[pve-not-administrator]" in done.err
    assert "missing: Permissions.Modify on /nodes/pve1" in done.err


def test_storages_that_are_not_named_are_chosen(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    found = run("node", "permissions", "pve1", "-o", "json").data["roles"][0]
    paths = {one["path"]: one["pve_role"] for one in found["grants"] if one["path"].startswith("/storage")}
    assert set(paths) <= {f"/storage/{name}" for name in sandbox.site.cluster.storages}
    assert paths["/storage/local"] in {"LocalaiRunImages", "LocalaiRunStorage"}


def test_json_before_and_after(sandbox: Sandbox, run: Callable[..., Ended]) -> None:
    before = run(*RUN, "-o", "json").data
    assert (before["node"], before["pve"]) == ("pve1", "9.2.11")
    (part,) = before["roles"]
    assert (part["seen"], part["applied"], part["secret"]) == (True, False, None)
    assert len(part["changes"]) == 14
    applied = run(*RUN, "--apply", "--yes", "-o", "json").data["roles"][0]
    assert (applied["applied"], applied["lacking"]) == (True, [])
    assert applied["secret"] == secret_of(sandbox)
    cluster = sandbox.site.cluster
    cluster.acl.append(AclEntry("/", "user", "localai@pve", "PVEAuditor"))
    again = run(*RUN, "-o", "json")
    assert again.data["roles"][0]["changes"] == []
    assert again.data["roles"][0]["further"] == [
        {"path": "/", "holder": "localai@pve", "pve_role": "PVEAuditor"}
    ]
    assert "localai@pve also has PVEAuditor on /; that is left alone" in run(*RUN).err


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_secret_is_not_lost_when_something_fails_later(
    output: str, sandbox: Sandbox, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LocalaiError("pve-failed", "the node went away")

    monkeypatch.setattr(proxmox_access, "_read_back", fail)
    done = run(*RUN, "--apply", "--yes", "-o", output)
    if output == "text":
        assert done.out.count(secret_of(sandbox)) == 1
    else:
        assert "--new-token makes another" in json.loads(done.out)["error"]["hint"]
        assert secret_of(sandbox) not in done.out
    assert done.code != 0
    assert secret_of(sandbox) not in done.err


def test_a_failure_half_way_is_partial_and_the_next_run_goes_on(
    sandbox: Sandbox, run: Callable[..., Ended]
) -> None:
    sandbox.site.faults.add("500", "PUT /access/acl")
    failed = run(*RUN, "--apply", "--yes")
    assert failed.code == 5
    assert failed.exported["PROXMOX_TOKEN_SECRET"] == secret_of(sandbox)
    done = run(*RUN, "--apply", "--yes")
    assert (done.code, "nothing to change" in done.err) == (0, False)
    Flow(proxmox_access.PveClient(connection(sandbox, "localai@pve", "localai")), PLACE).run()


def without_a_node(*words: str, **environment: str) -> Ended:
    """The program in a process of its own, without any PROXMOX_ variable."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROXMOX_")}
    binary = Path(sys.executable).with_name("localai-deploy")
    done = subprocess.run(
        [str(binary), *words], env=clean | environment, capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("major", "own", "alien"), [(8, "VM.Monitor", "GuestAgent"), (9, "GuestAgent", "Monitor")]
)
def test_commands_for_a_version_need_no_node(major: int, own: str, alien: str) -> None:
    done = without_a_node(*RUN, "--pve", str(major), "--role", "both")
    assert (done.code, done.err) == (0, "")
    assert own in done.out
    assert alien not in done.out
    assert done.out.count("\npveum ") == 22
    assert subprocess.run(["bash", "-n"], input=done.out, text=True, check=True).returncode == 0
    data = without_a_node(*RUN, "--pve", str(major), "-o", "json").data
    assert data["pve"] == str(major)
    expected = run_access(PLACE, PveVersion(major, 0))
    assert data["roles"][0]["pve_roles"] == [
        {"name": one.name, "privileges": list(one.privileges)} for one in expected.roles
    ]


def test_usual_storages_without_a_node() -> None:
    done = without_a_node("node", "permissions", "pve1", "--pve", "9")
    assert "acl modify /storage/local-lvm --roles LocalaiRunDisks" in done.out
    assert "acl modify /storage/local --roles LocalaiRunImages" in done.out


@pytest.mark.parametrize(
    ("words", "error_id"),
    [
        (("--pve", "9", "--apply"), "usage"),
        (("--pve", "9", "--new-token"), "usage"),
        (("--pve", "7"), "usage"),
        (("--pve", "9", "--bridge", "vmbr0; reboot"), "usage"),
        (("--pve", "9", "--vm-storage", "$(reboot)"), "usage"),
        (("--pve", "9", "--user", "me"), "usage"),
        (("--pve", "9", "--user", "a'b@pve"), "usage"),
        ((), "pve-host-missing"),
    ],
)
def test_bad_input(words: tuple[str, ...], error_id: str) -> None:
    done = without_a_node("node", "permissions", "pve1", *words)
    assert (done.code, done.out) == (2, "")
    assert f"[{error_id}]" in done.err
