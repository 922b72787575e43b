"""What the roles refuse, and how they say so; what they can go on with."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.hub import GATED_TOKEN, commit_of
from tests.lab.mirror_faults import Fault
from tests.lab.mirror_files import GATED_REPOSITORY
from tests.roles.deployment import PREFIX, STORE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.mirror_client import MirrorClient
    from tests.roles.conftest import Chain

pytestmark = pytest.mark.host

NAME = "smollm2-135m-instruct-q4_1.gguf"


def with_model(chain: Chain, **changes: Any) -> dict[str, Any]:
    (model,) = chain.variables["model_store_models"]
    return {**chain.variables, "model_store_models": [{**model, **changes}]}


def test_a_damaged_or_exchanged_package_is_refused(scratch: Chain, mirror: MirrorClient) -> None:
    scratch.host.root("rm", "-r", PREFIX)
    with mirror.fault(Fault("corrupt", path="*/llama.cpp-*", value=100_000, client=scratch.host.address)):
        damaged = scratch.driver.converge(["conda"], scratch.variables, good=False)
    assert damaged.problem["error_id"] == "conda-package-wrong"
    lock = scratch.variables["conda_lock"]
    packages = [{**package, "sha256": "0" * 64} for package in lock["packages"]]
    other = {**scratch.variables, "conda_lock": {**lock, "packages": packages}}
    exchanged = scratch.driver.converge(["conda"], other, good=False)
    assert exchanged.problem["error_id"] == "conda-package-wrong"
    assert "0000 " in exchanged.problem["why"].replace(",", " ")
    assert not (scratch.host.rootfs / PREFIX.lstrip("/") / "bin").exists()


def test_an_unreachable_channel_is_told(scratch: Chain, mirror: MirrorClient) -> None:
    scratch.host.root("rm", "-r", PREFIX)
    with mirror.fault(Fault("status", path="*/llama.cpp-*", value=404, client=scratch.host.address)):
        run = scratch.driver.converge(["conda"], scratch.variables, good=False)
    assert run.problem["error_id"] == "conda-install-failed"
    assert "404" in run.problem["why"]


def test_a_directory_that_is_no_environment_is_left_alone(scratch: Chain) -> None:
    scratch.host.root("sh", "-euc", f"rm -r {PREFIX}; mkdir {PREFIX}; echo mine > {PREFIX}/notes")
    run = scratch.driver.converge(["conda"], scratch.variables, good=False)
    assert run.problem["error_id"] == "conda-prefix-foreign"
    assert scratch.host.root("cat", f"{PREFIX}/notes") == "mine\n"


def test_py_rattler_of_another_hash_is_refused(scratch: Chain) -> None:
    scratch.host.root("rm", "-r", PREFIX)
    wrong = {"conda_rattler_requirements": [f"py-rattler==0.28.0 --hash=sha256:{'0' * 64}"]}
    run = scratch.driver.converge(["conda"], {**scratch.variables, **wrong}, good=False)
    assert run.failure["task"] == "Install py-rattler"
    assert "DO NOT MATCH THE HASHES" in run.failure["stderr"]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (f"cd {PREFIX}/bin; cp llama-server new; printf x >> new; mv new llama-server", "was altered"),
        (f"rm {PREFIX}/bin/llama-server", "is not there"),
        (f"rm {PREFIX}/lib/lab-glibc/ld-linux-x86-64.so.2", "does not run"),
        (f"rm {PREFIX}/conda-meta/llama.cpp-*.json", "holds no package"),
    ],
)
def test_a_server_that_is_not_the_locked_one_is_not_accepted(scratch: Chain, damage: str, why: str) -> None:
    scratch.host.root("sh", "-euc", damage)
    run = scratch.driver.converge(["llama_cpp"], scratch.variables, good=False)
    assert run.problem["error_id"] == "runtime-not-accepted"
    assert why in run.problem["what"]


def test_a_build_of_another_variant_is_not_accepted(chain: Chain) -> None:
    run = chain.driver.converge(["llama_cpp"], {**chain.variables, "llama_cpp_variant": "cuda12"}, good=False)
    assert run.problem["what"] == "llama.cpp is no cuda12 build"


def test_a_missing_model_is_told_by_its_id(chain: Chain) -> None:
    url = chain.variables["model_store_models"][0]["url"]
    wanted = with_model(chain, file_name="other.gguf", url=url.replace(NAME, "other.gguf"))
    run = chain.driver.converge(["model_store"], wanted, good=False)
    assert run.problem["error_id"] == "model-not-found"


def test_a_pull_shows_its_progress(scratch: Chain, mirror: MirrorClient) -> None:
    scratch.host.root("rm", f"{STORE}/{NAME}")
    with mirror.fault(Fault("slow-drip", path="/hf/*", value=12_000_000, client=scratch.host.address)):
        run = scratch.driver.converge(["model_store"], scratch.variables)
    seen = [json.loads(retry["stdout"]) for retry in run.retries("Follow the pull")]
    assert len(seen) >= 1
    assert all(progress["state"] == "pulling" for progress in seen)
    assert seen[0]["total_bytes"] == 98_362_432
    assert 0 < seen[0]["bytes"] < 98_362_432


def begin_slow_pull(chain: Chain) -> None:
    """Remove the model and pull it anew in the background, as a cut-off run leaves it."""
    job = json.dumps(chain.variables["model_store_models"][0])
    program = f"runuser -u localai -- python3 /usr/local/lib/localai-deploy/model_store.py pull --dir {STORE}"
    script = f"rm {STORE}/{NAME}; echo '{job}' | setsid {program} >/dev/null 2>&1 &"
    chain.host.root("sh", "-euc", script)


def test_a_pull_of_a_run_that_was_cut_off_is_waited_for(scratch: Chain, mirror: MirrorClient) -> None:
    with mirror.fault(Fault("slow-drip", path="/hf/*", value=2_500_000, client=scratch.host.address)):
        begin_slow_pull(scratch)
        run = scratch.driver.converge(["model_store"], scratch.variables)
    assert run.retries("Wait for a pull that an earlier run began")
    assert run.changed == []


def test_a_pull_of_a_run_that_was_cut_off_ends_with_uninstall(scratch: Chain, mirror: MirrorClient) -> None:
    with mirror.fault(Fault("slow-drip", path="/hf/*", value=6_000_000, client=scratch.host.address)):
        begin_slow_pull(scratch)
        run = scratch.driver.uninstall(["model_store"], {"model_store_purge": True})
    assert run.changed == [
        "model_store: Stop pulls that an earlier run left at work",
        "model_store: Remove the store's program",
        "model_store: Remove the store",
    ]
    assert "model_store.py" not in scratch.host.root("ps", "-e", "-o", "args")


def test_uninstall_of_what_an_older_version_installed(scratch: Chain, mirror: MirrorClient) -> None:
    program = "/usr/local/lib/localai-deploy/model_store.py"
    scratch.host.root("sed", "-i", 's/, "stop"):/):/', program)
    assert '"rm"):' in scratch.host.root("cat", program)
    with mirror.fault(Fault("slow-drip", path="/hf/*", value=6_000_000, client=scratch.host.address)):
        begin_slow_pull(scratch)
        run = scratch.driver.uninstall(["model_store"], {"model_store_purge": "true"})
    assert run.changed == [
        "model_store: Stop pulls that an earlier run left at work",
        "model_store: Remove the store's program",
        "model_store: Remove the store",
    ]
    assert "model_store.py" not in scratch.host.root("ps", "-e", "-o", "args")


@pytest.mark.parametrize("purge", ["false", "no", False])
def test_models_stay_however_it_is_said(scratch: Chain, purge: object) -> None:
    scratch.driver.uninstall(["model_store"], {"model_store_purge": purge})
    assert scratch.host.root("ls", STORE).split() == [NAME, f"{NAME}.json"]


def test_a_model_is_uploaded_and_checked(scratch: Chain, tmp_path: Path) -> None:
    model = tmp_path / "mine.gguf"
    model.write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(5000))
    sha256 = subprocess.run(["sha256sum", model], capture_output=True, text=True, check=True).stdout[:64]
    wanted = with_model(
        scratch, file_name="mine.gguf", url="", upload_from=str(model), sha256=sha256, size_bytes=0
    )
    assert scratch.driver.converge(["model_store"], wanted).changed == ["model_store: Take the pull's result"]
    assert scratch.driver.converge(["model_store"], wanted).changed == []
    assert scratch.host.root("ls", STORE).split() == ["mine.gguf", "mine.gguf.json", NAME, f"{NAME}.json"]
    wrong = with_model(scratch, file_name="bad.gguf", url="", upload_from=str(model), sha256="0" * 64)
    run = scratch.driver.converge(["model_store"], wrong, good=False)
    assert run.problem["error_id"] == "model-hash-mismatch"


def test_a_token_opens_a_gated_model_and_is_kept_nowhere(scratch: Chain) -> None:
    url = f"https://mirror.lab:8443/hf/{GATED_REPOSITORY}/resolve/{commit_of(GATED_REPOSITORY)}/{NAME}"
    wanted = with_model(scratch, file_name="gated.gguf", url=url)
    refused = scratch.driver.converge(["model_store"], wanted, good=False)
    assert refused.problem["error_id"] == "model-gated"
    run = scratch.driver.converge(["model_store"], {**wanted, "model_store_token": GATED_TOKEN})
    assert run.changed == ["model_store: Take the pull's result"]
    assert GATED_TOKEN not in run.output + json.dumps(run.records)
    found = scratch.host.root(
        "sh", "-c", f"grep -rIl {GATED_TOKEN} /run /root /home /tmp /var/lib /var/log /var/tmp /etc || true"
    )
    assert found == ""


def test_a_port_that_is_taken_is_told_with_the_journal(scratch: Chain) -> None:
    other = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "8080")
    scratch.host.root("systemctl", "stop", "localai-llama-cpp")
    scratch.host.root("systemd-run", "--unit=other", *other)
    run = scratch.driver.converge(["service"], scratch.variables, good=False)
    assert run.problem["error_id"] == "service-died"
    assert "8080" in run.problem["why"]
    assert run.seconds < 60


def test_a_server_that_dies_is_told_with_the_journal(scratch: Chain) -> None:
    command = [*scratch.variables["service_command"], "--no-such-flag"]
    run = scratch.driver.converge(["service"], {**scratch.variables, "service_command": command}, good=False)
    assert run.problem["error_id"] == "service-died"
    assert "no-such-flag" in run.problem["why"]
