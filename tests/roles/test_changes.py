"""One value changed changes exactly its tasks; one thing damaged is restored by exactly its tasks."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.content import ensure_content
from tests.lab.mirror_daemon import https_url
from tests.lab.state import difference
from tests.roles.deployment import ORDER, PREFIX, STORE, command, environment_lock

if TYPE_CHECKING:
    from tests.lab.host import LabHost
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient
    from tests.roles.conftest import Chain

pytestmark = pytest.mark.host

MODEL = f"{STORE}/smollm2-135m-instruct-q4_1.gguf"
CONFIG = "/etc/localai-deploy"
UNIT = "/etc/systemd/system/localai-llama-cpp.service"
INSTALL_ENVIRONMENT = [
    "conda: Make the installer's directory",
    "conda: Write down which py-rattler may be installed",
    "conda: Make a Python environment for py-rattler",
    "conda: Install py-rattler",
    "conda: Install the locked packages",
    "conda: Remove the provider that is no longer needed",
]
RUN_SERVICE = "service: Run the service, anew if it is older than what it reads"
PULL = "model_store: Take the pull's result"


def shell(host: LabHost, script: str) -> str:
    return host.root("sh", "-euc", script)


@pytest.mark.parametrize(
    ("role", "damage", "changed"),
    [
        ("base", f"rm {CONFIG}/deployment.json", ["base: Mark the host as ours"]),
        ("conda", f"rm {CONFIG}/locks/llama_cpp.json", ["conda: Record the lock"]),
        (
            "conda",
            f"rm {PREFIX}/bin/llama-server; printf x >> $(realpath {PREFIX}/lib/libllama.so.0)",
            INSTALL_ENVIRONMENT,
        ),
        ("conda", f"rm {PREFIX}/conda-meta/lab-openssl-*.json", INSTALL_ENVIRONMENT),
        ("conda", f"echo '{{' > $(echo {PREFIX}/conda-meta/llama.cpp-*.json)", INSTALL_ENVIRONMENT),
        ("llama_cpp", f"rm {CONFIG}/runtime.json", ["llama_cpp: Record the accepted runtime"]),
        (
            "model_store",
            f"rm /usr/local/lib/localai-deploy/model_store.py; chmod 600 {MODEL}",
            ["model_store: Install the store's program", "model_store: Own the store"],
        ),
        ("model_store", f"rm {MODEL}", [PULL]),
        ("model_store", f"rm {MODEL}.json", [PULL]),
        ("model_store", f"printf x | dd of={MODEL} bs=1 seek=5000 conv=notrunc status=none", [PULL]),
        ("service", f"rm {UNIT}", ["service: Write the unit", RUN_SERVICE]),
        ("service", f"rm {CONFIG}/api-key", ["service: Make a key if there is none", RUN_SERVICE]),
        (
            "service",
            f"chmod 644 {CONFIG}/api-key",
            ["service: Keep the key readable by root only", RUN_SERVICE],
        ),
        ("service", "systemctl stop localai-llama-cpp", [RUN_SERVICE]),
        ("service", "systemctl disable localai-llama-cpp", [RUN_SERVICE]),
    ],
)
def test_damage_is_restored(chain: Chain, role: str, damage: str, changed: list[str]) -> None:
    key = [f"{CONFIG}/api-key"]
    before = chain.host.state(key)
    shell(chain.host, damage)
    assert chain.driver.converge([role], chain.variables).changed == changed
    assert difference(before, chain.host.state(key)) == []


@pytest.mark.parametrize(
    ("role", "variables", "changed"),
    [
        ("base", {"base_deployment": {"name": "other"}}, ["base: Mark the host as ours"]),
        (
            "base",
            {"base_packages": ["ca-certificates", "python3-venv", "tree"]},
            [
                "base: Note which packages were there before",
                "base: Install the missing packages",
                "base: Record what came with us",
                "base: Forget the list of packages from before",
            ],
        ),
        (
            "service",
            {"service_command": command("smollm2-135m-instruct-q4_1.gguf", port=8081), "service_port": 8081},
            ["service: Write the unit", RUN_SERVICE],
        ),
    ],
    ids=["deployment", "packages", "port"],
)
def test_one_value_changes_its_tasks(
    scratch: Chain, role: str, variables: dict[str, Any], changed: list[str]
) -> None:
    wanted = {**scratch.variables, **variables}
    assert scratch.driver.converge([role], wanted).changed == changed
    assert scratch.driver.converge([role], wanted).changed == []


def test_values_that_only_say_how_change_nothing(chain: Chain) -> None:
    wanted = {
        "base_apt_lock_timeout_s": 60,
        "conda_channel_url": "https://elsewhere.invalid",
        "conda_pypi_index": "https://elsewhere.invalid/simple",
        "model_store_free_space_reserve_percent": 11,
        "model_store_stall_timeout_s": 61,
        "service_health_timeout_s": 601,
    }
    assert chain.driver.converge(ORDER, {**chain.variables, **wanted}).changed == []


def test_another_reference_to_the_same_file_is_recorded_without_a_download(
    scratch: Chain, mirror: MirrorClient
) -> None:
    (model,) = scratch.variables["model_store_models"]
    wanted = {**scratch.variables, "model_store_models": [{**model, "reference": "hf:other/name/m.gguf"}]}
    before = len(mirror.requests("/hf/", scratch.host.address))
    assert scratch.driver.converge(["model_store"], wanted).changed == [PULL]
    assert len(mirror.requests("/hf/", scratch.host.address)) == before
    assert json.loads(shell(scratch.host, f"cat {MODEL}.json"))["reference"] == "hf:other/name/m.gguf"


def test_a_hash_taken_on_trust_is_recorded_as_such_and_then_held(scratch: Chain, lab: Lab) -> None:
    content = b"GGUF\x03\x00\x00\x00" + bytes(5000)
    served = lab.files / "trusted.gguf"
    served.write_bytes(content)
    job = {
        "file_name": served.name,
        "reference": "https://mirror.lab/trusted.gguf",
        "url": f"{https_url(lab)}/files/{served.name}",
        "trust_first_download": True,
    }
    wanted = {**scratch.variables, "model_store_models": [job]}
    assert scratch.driver.converge(["model_store"], wanted).changed == [PULL]
    record = json.loads(shell(scratch.host, f"cat {STORE}/{served.name}.json"))
    assert record["trusted_first_download"] is True
    served.unlink()
    known = {**wanted, "model_store_models": [{**job, "sha256": hashlib.sha256(content).hexdigest()}]}
    assert scratch.driver.converge(["model_store"], known).changed == []


def test_another_variant_replaces_only_its_package(scratch: Chain, lab: Lab, mirror: MirrorClient) -> None:
    lock = environment_lock(ensure_content(lab.directory), "cuda12")
    server = next(package for package in lock["packages"] if package["name"] == "llama.cpp")
    wanted = {
        **scratch.variables,
        "conda_lock": lock,
        "llama_cpp_variant": "cuda12",
        "llama_cpp_package": {key: server[key] for key in ("name", "version", "build", "sha256")},
    }
    before = len(mirror.requests("/conda/", scratch.host.address))
    run = scratch.driver.converge(["conda", "llama_cpp", "service"], wanted)
    assert run.changed == [
        "conda: Record the lock",
        *INSTALL_ENVIRONMENT,
        "llama_cpp: Record the accepted runtime",
        RUN_SERVICE,
    ]
    fetched = {request["path"] for request in mirror.requests("/conda/", scratch.host.address)[before:]}
    assert fetched == {f"/conda/conda-forge/{server['url']}"}
    assert shell(scratch.host, f"cat {PREFIX}/share/llama.cpp/cuda-variant") == "cuda129\n"


@pytest.mark.parametrize(
    ("damage", "role", "changed"),
    [
        (f"printf x | dd of={MODEL} bs=1 seek=5000 conv=notrunc status=none", "model_store", [PULL]),
        (f"printf x >> {PREFIX}/lib/libssl.so.3", "conda", INSTALL_ENVIRONMENT),
    ],
    ids=["model", "library"],
)
def test_service_starts_anew_when_what_it_reads_was_replaced(
    scratch: Chain, damage: str, role: str, changed: list[str]
) -> None:
    shell(scratch.host, damage)
    run = scratch.driver.converge([role, "service"], scratch.variables)
    assert run.changed == [*changed, RUN_SERVICE]


def test_odd_characters_reach_the_server_as_they_are(scratch: Chain) -> None:
    odd = "a \"b\" $HOME ${HOME} %n %% \\n 'c' ; #"
    words = list(scratch.variables["service_command"])
    words[words.index("--alias") + 1] = odd
    wanted = {**scratch.variables, "service_command": words, "service_environment": {"ODD": odd}}
    scratch.driver.converge(["service"], wanted)
    pid = shell(scratch.host, "systemctl show -P MainPID localai-llama-cpp").strip()
    arguments = shell(scratch.host, f"cat /proc/{pid}/cmdline").split("\0")
    assert arguments[arguments.index("--alias") + 1] == odd
    assert f"ODD={odd}" in shell(scratch.host, f"cat /proc/{pid}/environ").split("\0")
