"""The checks on a host that the roles really deployed: all green, and each red when its thing is broken."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.domain.spec import host_spec
from localai_deploy.provisioner.variables import role_variables
from localai_deploy.runtimes import deployment_of
from localai_deploy.verifier.report import CheckResult, Outcome, Report
from localai_deploy.verifier.run import run_checks
from localai_deploy.verifier.scope import COMMON, Scope
from tests.lab.content import ensure_content
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.hub import commit_of
from tests.lab.layout import Lab
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_files import MODEL_REPOSITORY
from tests.roles.deployment import ORDER, environment_lock
from tests.roles.driver import Driver

pytestmark = pytest.mark.host

PREFIX = "/opt/localai-deploy/envs/llama_cpp"
COPY = "/opt/elsewhere"
UNIT = "localai-llama-cpp.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/broken.conf"
RECORD = "/etc/localai-deploy/deployment.json"
KEY_FILE = "/etc/localai-deploy/api-key"
STORE = "/var/lib/localai-deploy/models"
PORT = 8080
ALL = {
    *("record", "environment-locked", "service-active", "executable", "command-line", "hardening"),
    *("port-bound", "key-file", "key-required", "health", "models-listed", "completion"),
    *("runtime-build", "model-hash", "offload"),
}
NEED_THE_SERVICE = ALL - {"record", "environment-locked", "hardening", "key-file", "model-hash"}
PASSWORD = "a password with 'quotes' & $signs"


@dataclass(frozen=True)
class Fault:
    """What breaks something, what repairs it, and which checks must see it, with which words."""

    command: str
    repair: str
    red: dict[str, str]


@dataclass(frozen=True)
class Deployed:
    """A host with the product's own deployment, and the inventory that brought it there."""

    host: LabHost
    inventory: Path
    model: str
    answers: list[object] = field(default_factory=list)

    def verify(self, *more: Path, scope: Scope = COMMON) -> Report:
        return run_checks(
            inventories=[self.inventory, *more],
            hosts=[self.host.name],
            scope=scope,
            on_result=lambda _: None,
        )

    def red(self) -> dict[str, str]:
        """Id → reason of every check that failed."""
        return {result.check_id: result.detail for result in self.verify().failures}

    def shell(self, command: str) -> str:
        return self.host.root("sh", "-c", command)

    def start(self) -> None:
        """Start the service anew and wait until it answers."""
        self.shell(f"systemctl daemon-reload; systemctl reset-failed; systemctl restart {UNIT}")
        ask = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health')"
        deadline = time.monotonic() + 60
        while "up" not in self.shell(f'python3 -c "{ask}" 2>/dev/null && echo up || true'):
            assert time.monotonic() < deadline, self.shell(f"journalctl -u {UNIT} -n 20 --no-pager")
            time.sleep(0.1)

    def command(self) -> str:
        """The unit's own command line."""
        unit = self.shell(f"cat /etc/systemd/system/{UNIT}")
        (line,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        return str(line)

    @contextmanager
    def overridden(self, *lines: str) -> Iterator[None]:
        """The service runs with these lines added to its unit."""
        (self.host.rootfs / DROP_IN.lstrip("/")).parent.mkdir(exist_ok=True)
        (self.host.rootfs / DROP_IN.lstrip("/")).write_text("\n".join(["[Service]", *lines, ""]))
        self.start()
        try:
            yield
        finally:
            self.shell(f"rm -r {Path(DROP_IN).parent}")
            self.start()

    @contextmanager
    def broken(self, command: str, repair: str) -> Iterator[None]:
        """The host after ``command``; ``repair`` brings it back."""
        self.shell(command)
        try:
            yield
        finally:
            self.shell(repair)


@pytest.fixture(scope="module")
def deployed(lab: Lab, mirror: MirrorClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    content = ensure_content(lab.directory)
    commit = commit_of(MODEL_REPOSITORY)
    name = content.model_path.name
    model = ModelFile(
        reference=f"hf:{MODEL_REPOSITORY}/{name}",
        file_name=name,
        url=mirror.url(f"hf/{MODEL_REPOSITORY}/resolve/{commit}/{name}"),
        sha256=content.model_sha256,
        size_bytes=content.model_size_bytes,
        revision=commit,
    )
    with start_host(lab, unique_name()) as host:
        variables = role_variables(deployment_of(spec_of(host, mirror, model), locked(content), (model,)))
        directory = tmp_path_factory.mktemp("verify")
        Driver(host, directory).converge(ORDER, variables)
        yield Deployed(host, directory / "inventory.yml", name)


def spec_of(host: LabHost, mirror: MirrorClient, model: ModelFile) -> Any:
    settings = {
        "localai_models": [model.reference],
        "localai_context_length": 2048,
        "localai_parallel": 2,
        "localai_mirrors": {"conda": mirror.url("conda"), "pypi": mirror.url("pypi/simple")},
    }
    layer = {key: Sourced(value, "test") for key, value in settings.items()}
    connection = Connection(kind="ssh", destination=host.address, user=host.user)
    return host_spec(host.name, connection, resolve_settings([layer]))


def locked(content: Any) -> EnvironmentLock:
    return EnvironmentLock.from_data(environment_lock(content))


def test_a_deployed_host_passes_all(deployed: Deployed) -> None:
    came: list[CheckResult] = []
    started = time.monotonic()
    report = run_checks(inventories=[deployed.inventory], hosts=[deployed.host.name], on_result=came.append)
    print(f"\nverified in {time.monotonic() - started:.1f} s")
    for result in report.results:
        print(f"{result.outcome:5} {result.check_id:20} {result.duration_s:6.2f} s  {dict(result.evidence)}")
    assert {result.check_id: result.detail for result in report.results} == {
        **dict.fromkeys(ALL, ""),
        "gpu-card": "no card is planned for this host",
    }
    assert report.passed
    assert tuple(came) == report.results
    deployed.answers.append(answer_of(report, deployed.host.name))
    check_evidence(deployed, report)


def test_a_host_without_a_card_is_measured(deployed: Deployed) -> None:
    """Real figures of a real server; nothing is asserted of how fast it is."""
    report = deployed.verify(scope=Scope(bench=(deployed.host.name,)))
    found = report.find(deployed.host.name, "bench")
    assert found is not None
    print(f"\n{found.duration_s:.0f} s: {dict(found.evidence)}")
    assert found.outcome is Outcome.PASS, found.detail
    figures: dict[str, Any] = dict(found.evidence)
    for name in ("prompt_tokens_per_s", "generation_tokens_per_s", "first_token_s"):
        assert 0 < figures[name]["least"] <= figures[name]["median"] <= figures[name]["most"]
        assert figures[name]["repeats"] == 3
    assert figures["load_s"] > 0
    assert figures["resident"]["file_bytes"] > 0
    assert figures["generated_tokens"] > 0
    assert (figures["energy"], bool(figures["no_energy"])) == ([], True)


def check_evidence(deployed: Deployed, report: Report) -> None:
    evidence = {result.check_id: result.evidence for result in report.results}
    assert evidence["service-active"]["user"] == "localai"
    assert evidence["executable"]["executable"] == f"{PREFIX}/bin/llama-server"
    assert evidence["key-required"]["open"] == ["GET /", "GET /health", "GET /v1/health"]
    assert "GET /v1/models" in evidence["key-required"]["refused"]  # type: ignore[operator]
    assert evidence["runtime-build"]["slots"] == [1024, 1024]
    completion = evidence["completion"]
    assert completion["text"]
    assert completion["completion_tokens"] > 0  # type: ignore[operator]
    assert completion["predicted_per_second"] > 0  # type: ignore[operator]
    key = deployed.shell(f"cat {KEY_FILE}").strip()
    assert len(key) >= 32
    assert key not in json.dumps(report.to_data()) + report.junit_xml()


def test_three_round_trips_over_one_connection_and_a_quiet_sudo_log(deployed: Deployed) -> None:
    since = deployed.shell("date +@%s.%N").strip()
    deployed.answers.append(answer_of(deployed.verify(), deployed.host.name))
    log = deployed.shell(f"journalctl --since {since} --no-pager --output=cat")
    assert re.findall(r"COMMAND=(.*)", log) == ["/usr/bin/python3 -I -B -"] * 3
    assert log.count("Accepted publickey for admin") == 1
    assert deployed.shell("pgrep -c -f '[p]ython3 -I -B' || true").strip() == "0"


def answer_of(report: Report, host: str) -> object:
    completion = report.find(host, "completion")
    assert completion is not None
    assert completion.outcome is Outcome.PASS
    return completion.evidence["text"]


def test_the_same_answer_every_time(deployed: Deployed) -> None:
    assert len(deployed.answers) == 2
    assert len(set(deployed.answers)) == 1


def test_a_stopped_service(deployed: Deployed) -> None:
    with deployed.broken(f"systemctl stop {UNIT}", "true"):
        red = deployed.red()
    deployed.start()
    assert set(red) == NEED_THE_SERVICE
    assert f"{UNIT} is inactive (dead)" in red["service-active"]
    assert "Connection refused" in red["completion"]


FAULTS: list[list[Fault]] = [
    [
        Fault(
            f"cp -p {RECORD} {RECORD}.saved && sed -i 's/}}$//' {RECORD}",
            f"mv {RECORD}.saved {RECORD}",
            {"record": "cannot be read"},
        ),
        Fault(f"chmod 0644 {KEY_FILE}", f"chmod 0600 {KEY_FILE}", {"key-file": "mode 0644, not 0600"}),
    ],
    [
        Fault(
            f"cp -p {RECORD} {RECORD}.saved && sed -i 's/2048/1024/' {RECORD}",
            f"mv {RECORD}.saved {RECORD}",
            {"record": "context_length is 1024, not 2048"},
        ),
        Fault(
            f'echo \'{{"name": "extra"}}\' > {PREFIX}/conda-meta/extra-1-0.json',
            f"rm {PREFIX}/conda-meta/extra-1-0.json",
            {"environment-locked": "extra is not in the lock"},
        ),
    ],
    [
        Fault(f"mv {RECORD} /root/", f"mv /root/deployment.json {RECORD}", {"record": "is not there"}),
        Fault(f"chown localai {KEY_FILE}", f"chown root {KEY_FILE}", {"key-file": "not root:root"}),
        Fault(
            f"printf x >> {PREFIX}/lib/libllama.so.0",
            f"truncate -s -1 {PREFIX}/lib/libllama.so.0",
            {"executable": "is not as llama.cpp installed it"},
        ),
    ],
    [
        Fault(
            f"mv {PREFIX}/conda-meta/lab-openssl-*.json /root/",
            f"mv /root/lab-openssl-*.json {PREFIX}/conda-meta/",
            {
                "environment-locked": "lab-openssl of the lock is not installed",
                "executable": "which no package recorded",
            },
        ),
        Fault(f"systemctl disable {UNIT}", f"systemctl enable {UNIT}", {"service-active": "is disabled"}),
    ],
]


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: "+".join(k for f in faults for k in f.red))
def test_faults_on_the_host(deployed: Deployed, faults: list[Fault]) -> None:
    with ExitStack() as stack:
        for fault in faults:
            stack.enter_context(deployed.broken(fault.command, fault.repair))
        red = deployed.red()
    expected = {check_id: detail for fault in faults for check_id, detail in fault.red.items()}
    assert set(red) == set(expected)
    for check_id, detail in expected.items():
        assert detail in red[check_id]


def test_one_byte_of_the_model(deployed: Deployed) -> None:
    path = deployed.host.rootfs / STORE.lstrip("/") / deployed.model
    with flipped_byte(path, 40_000_000):
        red = deployed.red()
    assert set(red) == {"model-hash"}
    assert "has SHA-256" in red["model-hash"]


@contextmanager
def flipped_byte(path: Path, offset: int) -> Iterator[None]:
    def flip() -> None:
        with path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            file.seek(offset)
            file.write(bytes([byte[0] ^ 1]))

    flip()
    try:
        yield
    finally:
        flip()


def with_words(command: str, *changes: tuple[str, str]) -> list[str]:
    """Lines of a unit that change words of its command."""
    for old, new in changes:
        assert old in command
        command = command.replace(old, new)
    return ["ExecStart=", f"ExecStart={command}"]


OPEN_UNIT = [
    *("ProtectSystem=no", "PrivateDevices=no", "PrivateUsers=no", "SystemCallFilter=", "NoNewPrivileges=no"),
    *("RestrictNamespaces=no", "ProtectKernelModules=no", "IPAddressDeny="),
]
OVERRIDES: dict[str, tuple[list[tuple[str, str]], list[str], dict[str, str]]] = {
    "another context, another name for the model": (
        [('"-c" "2048"', '"-c" "1024"'), ('"--alias" "smollm2-135m-instruct-q4_1"', '"--alias" "gpt-4"')],
        [],
        {
            "command-line": "--alias is gpt-4, not smollm2-135m-instruct-q4_1; -c is 1024, not 2048",
            "runtime-build": "[512, 512], not 2 of 1024",
            "models-listed": "the models are gpt-4, not smollm2",
        },
    ),
    "all addresses, nothing sealed off": (
        [('"127.0.0.1"', '"0.0.0.0"')],
        OPEN_UNIT,
        {
            "command-line": "--host is 0.0.0.0, not 127.0.0.1",
            "port-bound": "the service listens on 0.0.0.0 port 8080 too",
            "hardening": "systemd-analyze security gives",
        },
    ),
    "no key asked for": (
        [('"--api-key-file" "${CREDENTIALS_DIRECTORY}/api-key"', "")],
        [],
        {
            "command-line": "--api-key-file is missing",
            "key-required": "POST /v1/chat/completions gives 200 without a key, not 401",
        },
    ),
    "a copy of the program, by root": (
        [(f'"{PREFIX}/bin/llama-server"', f'"{COPY}/bin/llama-server"')],
        ["User=root", "Group=root", "PrivateUsers=no"],
        {
            "executable": f"the service runs {COPY}/bin/llama-server, outside of {PREFIX}",
            "service-active": "runs as root",
        },
    ),
}


@pytest.mark.parametrize(("changes", "lines", "expected"), OVERRIDES.values(), ids=OVERRIDES)
def test_a_unit_that_was_overridden(
    deployed: Deployed, changes: list[tuple[str, str]], lines: list[str], expected: dict[str, str]
) -> None:
    deployed.shell(f"test -d {COPY} || cp -a {PREFIX} {COPY}")
    with deployed.overridden(*with_words(deployed.command(), *changes), *lines):
        red = deployed.red()
    assert set(red) == set(expected)
    for check_id, detail in expected.items():
        assert detail in red[check_id]


def test_a_library_that_was_replaced_under_the_running_service(deployed: Deployed) -> None:
    library = deployed.shell(f"readlink -f {PREFIX}/lib/libllama.so.0").strip()
    deployed.shell(f"cp -p {library} {library}.new && mv {library}.new {library}")
    red = deployed.red()
    deployed.start()
    assert set(red) == {"executable"}
    assert "it was replaced since" in red["executable"]


def test_the_key_in_the_environment_of_the_service(deployed: Deployed) -> None:
    key = deployed.shell(f"cat {KEY_FILE}").strip()
    with deployed.overridden(f"Environment=LLAMA_API_KEY={key}"):
        report = deployed.verify()
    assert {result.check_id for result in report.failures} == {"key-file"}
    assert key not in json.dumps(report.to_data())


def test_sudo_with_a_password(deployed: Deployed, tmp_path: Path) -> None:
    """The password lies in a second inventory; without it, or with a wrong one, the reason is told."""
    secrets = tmp_path / "secrets.json"
    deployed.host.rootfs.joinpath("root/pw").write_text(f"admin:{PASSWORD}\n")
    ask = "chpasswd < /root/pw && cp -p /etc/sudoers.d/lab /root && sed -i s/NOPASSWD:// /etc/sudoers.d/lab"
    with deployed.broken(ask, "mv /root/lab /etc/sudoers.d/lab"):
        assert_all_red(deployed.verify(), "sudo asks for a password: give ansible_become_password")
        write_password(secrets, deployed.host.name, "wrong")
        assert_all_red(deployed.verify(secrets), "ansible_become_password is not the user's password")
        write_password(secrets, deployed.host.name, PASSWORD)
        started = time.monotonic()
        report = deployed.verify(secrets)
        print(f"\nverified by Ansible's connection in {time.monotonic() - started:.1f} s")
    assert {result.check_id: result.detail for result in report.failures} == {}
    assert report.passed
    assert PASSWORD not in json.dumps(report.to_data())


def assert_all_red(report: Report, detail: str) -> None:
    assert {result.check_id for result in report.failures} - {"gpu-card"} == ALL
    assert all(detail in result.detail for result in report.failures), report.failures[0].detail


def write_password(path: Path, host: str, password: str) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps({"all": {"hosts": {host: {"ansible_become_password": password}}}}))


@pytest.mark.parametrize("password", ["", PASSWORD], ids=["own connection", "Ansible's"])
def test_a_changed_host_key_is_refused(deployed: Deployed, tmp_path: Path, password: str) -> None:
    """Also where the inventory would let any key pass."""
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8Zl3Yw1QF0l3cYJr0mDqbMHHDRmxTQmYq0H9kSWnXf"
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"{deployed.host.address} {other}\n")
    options = f"-F none -o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=no -o ControlPath=none"
    variables = {"ansible_ssh_common_args": options, "ansible_become_password": password}
    more = tmp_path / "more.json"
    more.write_text(json.dumps({"all": {"hosts": {deployed.host.name: variables}}}))
    assert_all_red(deployed.verify(more), "ost key")


def test_at_the_end_all_is_green_again(deployed: Deployed) -> None:
    assert deployed.red() == {}
