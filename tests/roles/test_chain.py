"""All five roles in order: foreseen, converged, idempotent, as wanted, taken away again."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import testinfra

from tests.lab.state import difference
from tests.roles.deployment import ORDER, PREFIX, STORE

if TYPE_CHECKING:
    from tests.roles.conftest import Chain

pytestmark = pytest.mark.host

FIRST_RUN = [
    "base: Make the directory of our records",
    "base: Mark the host as ours",
    "base: Note which packages were there before",
    "base: Install the missing packages",
    "base: Record what came with us",
    "base: Forget the list of packages from before",
    "base: Have the service group",
    "base: Have the service user",
    "base: Make the directories of programs and data",
    "conda: Make the directory of locks",
    "conda: Record the lock",
    "conda: Make the installer's directory",
    "conda: Write down which py-rattler may be installed",
    "conda: Make a Python environment for py-rattler",
    "conda: Install py-rattler",
    "conda: Install the locked packages",
    "conda: Remove the provider that is no longer needed",
    "llama_cpp: Record the accepted runtime",
    "model_store: Make the directory of the store's program",
    "model_store: Install the store's program",
    "model_store: Own the store",
    "model_store: Take the pull's result",
    "service: Make a key if there is none",
    "service: Write the unit",
    "service: Run the service, anew if it is older than what it reads",
]
FORESEEN_OTHERWISE = {
    "base: Install the missing packages": "base: Tell what would be installed",
    "model_store: Take the pull's result": "model_store: Tell what would be pulled",
    "service: Run the service, anew if it is older than what it reads": (
        "service: Tell that the service would be started"
    ),
}
NOT_FORESEEN = {
    "base: Forget the list of packages from before",
    "conda: Remove the provider that is no longer needed",
}
UNINSTALL = [
    "service: Stop the service",
    "service: Remove the unit and the key",
    "model_store: Remove the store's program",
    "model_store: Remove the store",
    "llama_cpp: Forget the accepted runtime",
    "conda: Remove the environment, its lock and the provider",
    "conda: Remove the directories that are empty now",
    "base: Remove the packages that came with us",
    "base: Remove the service user",
    "base: Remove directories and records",
    "base: Take our mark off the host",
]
EXPOSURE_AT_MOST = 1.0


@pytest.fixture(scope="module")
def inside(chain: Chain) -> Any:
    """testinfra's view of the converged host, as root."""
    host = chain.host
    return testinfra.get_host(
        f"ssh://{host.user}@{host.address}:{host.port}",
        ssh_identity_file=str(host.private_key),
        ssh_extra_args=f"-F none -o UserKnownHostsFile={host.known_hosts}",
        sudo=True,
    )


def test_uninstall_of_a_clean_host_changes_nothing(chain: Chain) -> None:
    assert chain.undone.changed == []


def test_check_mode_foresees_the_first_run_and_changes_nothing(chain: Chain) -> None:
    foreseen = [FORESEEN_OTHERWISE.get(task, task) for task in FIRST_RUN if task not in NOT_FORESEEN]
    assert chain.foreseen.changed == foreseen
    assert difference(dict(chain.clean), dict(chain.after_check)) == []


def test_first_run_changes_all_and_the_second_nothing(chain: Chain) -> None:
    assert chain.first.changed == FIRST_RUN
    assert chain.second.changed == []
    assert chain.foreseen_again.changed == []


def test_no_run_shows_the_key(chain: Chain, inside: Any) -> None:
    key = inside.file("/etc/localai-deploy/api-key").content_string.strip()
    assert len(key) == 43
    assert key not in chain.first.output + json.dumps(chain.first.records)


def test_records(chain: Chain, inside: Any) -> None:
    def read(name: str) -> Any:
        return json.loads(inside.file(f"/etc/localai-deploy/{name}").content_string)

    assert read("deployment.json") == {"managed_by": "localai-deploy", "name": "roles", "schema": 1}
    assert read("locks/llama_cpp.json") == chain.variables["conda_lock"]
    record = read("installed-packages.json")
    assert (record["user"], record["group"]) == (True, True)
    assert {"python3-venv", "python3-apt"} <= set(record["packages"])
    assert "ca-certificates" not in record["packages"]


def test_environment_is_the_locked_one(chain: Chain, inside: Any) -> None:
    runtime = json.loads(inside.file("/etc/localai-deploy/runtime.json").content_string)
    server = inside.file(f"{PREFIX}/bin/llama-server")
    assert runtime["executable_sha256"] == server.sha256sum
    assert runtime["build"] == "cpu_lab_0"
    assert not inside.file("/opt/localai-deploy/conda").exists


def test_models_are_checked_and_recorded(chain: Chain, inside: Any) -> None:
    (model,) = chain.variables["model_store_models"]
    file = inside.file(f"{STORE}/{model['file_name']}")
    assert (file.user, file.group, file.mode) == ("localai", "localai", 0o644)
    assert file.sha256sum == model["sha256"]
    record = json.loads(inside.file(f"{STORE}/{model['file_name']}.json").content_string)
    assert record["reference"] == model["reference"]


def test_service_runs_our_executable_with_the_key_hidden(chain: Chain, inside: Any) -> None:
    service = inside.service("localai-llama-cpp")
    assert service.is_running
    assert service.is_enabled
    pid = service.systemd_properties["MainPID"]
    assert inside.check_output("readlink /proc/%s/exe", pid) == f"{PREFIX}/bin/llama-server"
    assert inside.check_output("stat -c %%U /proc/%s", pid) == "localai"
    assert inside.socket("tcp://127.0.0.1:8080").is_listening
    assert not inside.socket("tcp://0.0.0.0:8080").is_listening
    assert inside.file("/etc/localai-deploy/api-key").mode == 0o600


@pytest.mark.parametrize(("key", "status"), [("", "401"), ("Bearer {}", "200")])
def test_the_key_is_asked_for(chain: Chain, inside: Any, key: str, status: str) -> None:
    authorization = key.format(inside.file("/etc/localai-deploy/api-key").content_string.strip())
    program = (
        "import sys, urllib.request as u, urllib.error as e\n"
        "r = u.Request('http://127.0.0.1:8080/v1/models', headers={'Authorization': sys.argv[1]})\n"
        "try: print(u.urlopen(r).status)\n"
        "except e.HTTPError as error: print(error.code)"
    )
    chain.driver.converge(["service"], chain.variables)
    assert inside.check_output("python3 -c %s %s", program, authorization) == status


def test_unit_is_locked_down(chain: Chain, inside: Any) -> None:
    text = inside.check_output("systemd-analyze security --no-pager localai-llama-cpp.service")
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", text)
    assert float(exposure) <= EXPOSURE_AT_MOST


def test_uninstall_leaves_the_host_as_it_was(scratch: Chain) -> None:
    purge = {**scratch.variables, "model_store_purge": True}
    run = scratch.driver.uninstall(ORDER, purge)
    assert run.changed == UNINSTALL
    assert difference(dict(scratch.clean), scratch.host.state()) == []
    assert scratch.driver.uninstall(ORDER, purge).changed == []


def test_uninstall_keeps_models_and_what_others_need(scratch: Chain) -> None:
    scratch.host.root("apt-get", "-qq", "-y", "--no-install-recommends", "install", "python3-pip")
    foreign = [scratch.host.rootfs / name for name in ("opt/localai-deploy/notes", "opt/other/notes")]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    scratch.driver.uninstall(ORDER, {})
    assert [path.read_text() for path in foreign] == ["mine", "mine"]
    assert [path.name for path in foreign[0].parent.iterdir()] == ["notes"]
    (model,) = scratch.variables["model_store_models"]
    assert scratch.host.root("stat", "-c", "%U", f"{STORE}/{model['file_name']}") == "root\n"
    packages = scratch.host.root("dpkg-query", "-W", "-f", "${Package}\n").split()
    assert "python3-pip" in packages
    assert "python3-apt" not in packages
    again = scratch.driver.converge(["base", "model_store"], scratch.variables)
    assert "model_store: Own the store" in again.changed
    assert "model_store: Take the pull's result" not in again.changed
