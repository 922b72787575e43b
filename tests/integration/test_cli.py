"""Every command over one deployed host, with a mirror of its own; the tests build on each other, in order."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from localai_deploy.domain.fit.dry_run import dry_run_words, told_by
from localai_deploy.domain.fit.wish import Wish
from tests.integration.product import Ended, User, write_inventory
from tests.lab.content import Content
from tests.lab.host import LabHost
from tests.lab.hub import HubFile, HubRepository, commit_of
from tests.lab.mirror import Mirror
from tests.lab.mirror_daemon import ensure_authority, mirror_urls
from tests.lab.mirror_files import mirror_content
from tests.unit.cli.terminal_double import Terminal
from tests.unit.hub.store import gguf, sha256

pytestmark = pytest.mark.host

SERVED = "smollm2-135m-instruct-q4_1.gguf"
REPOSITORY = "lab/moving-GGUF"
MODEL = f"hf:{REPOSITORY}/{SERVED}"
OLD, NEW = commit_of("moving, old"), commit_of("moving, new")
STORE = "var/lib/localai-deploy/models"
SECOND, TRUSTED, UPLOADED = "second.gguf", "trusted.gguf", "uploaded.gguf"
CACHE = ("--context", "1024", "--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "--ubatch", "256")
CONTENT = {SECOND: gguf(3 << 20, 2), TRUSTED: gguf(2 << 20, 3), UPLOADED: gguf(1 << 20, 4)}


@dataclass
class Place:
    """A host, a user who knows it as ``box`` (and as ``gone`` one that is not there), and a mirror."""

    host: LabHost
    user: User
    mirror: Mirror
    files_url: str
    inventory: Path
    uploads: Path
    revision: str = OLD

    def run(self, *words: str) -> Ended:
        """``localai-deploy COMMAND… -i INVENTORY``."""
        return self.user.run(*words, "-i", str(self.inventory))

    def asked(self, *words: str) -> Any:
        """The document that a command prints, held against its schema."""
        return document(self.run(*words, "-o", "json"))

    def fetched(self, name: str) -> int:
        """Requests for a model's content so far; a range with an end is a look at its header."""
        gets = (one for one in self.mirror.log if one.method == "GET" and one.path.endswith(name))
        return sum(not one.range.rpartition("-")[2] for one in gets)


def document(ended: Ended) -> Any:
    assert ended.stdout, ended
    name = ended.data["schema"].split("/")[1]
    problems = [error.message for error in Draft202012Validator(load_schema(name)).iter_errors(ended.data)]
    assert problems == [], ended.stdout
    return ended.data


def variables(host: LabHost, mirror_url: str, files_url: str) -> dict[str, Any]:
    return {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.private_key),
        "localai_host_key": host.fingerprint,
        "localai_models": [MODEL, f"{files_url}/{TRUSTED}"],
        "localai_context_length": 2048,
        "localai_mirrors": {
            **mirror_urls(host.lab),
            "conda": f"{mirror_url}/conda",
            "huggingface": f"{mirror_url}/hf",
        },
    }


@pytest.fixture(scope="module")
def place(host: LabHost, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    files = tmp_path_factory.mktemp("files")
    for name, data in CONTENT.items():
        (files / name).write_bytes(data)
    served = {SERVED: HubFile(content.model_path, content.model_sha256)}
    places: list[Place] = []

    def repositories() -> dict[str, HubRepository]:
        return {REPOSITORY: HubRepository(places[0].revision, served)}

    user = User(home, {"SSL_CERT_FILE": str(host.lab.tls / "ca.pem")})
    with Mirror(replace(mirror_content(host.lab), files=files, hub=repositories)) as mirror:
        gateway = host.network.gateway
        url = mirror.listen(gateway)
        files_url = (
            f"{mirror.listen(gateway, tls=ensure_authority(host.lab).server_context(gateway, ()))}/files"
        )
        gone = {"ansible_host": "127.0.0.1", "ansible_port": 9, "localai_models": [MODEL]}
        box = variables(host, url, files_url)
        inventory = write_inventory(home / "inventory", {"box": box, "gone": gone})
        places.append(Place(host, user, mirror, files_url, inventory, files))
        yield places[0]


@pytest.fixture(scope="module")
def deployed(place: Place) -> Any:
    """The document of the first ``up``."""
    return place.asked("up", "box", "--yes", "--trust-first-download")


def test_up(deployed: Any) -> None:
    (host,) = deployed["hosts"]
    assert deployed["exit_code"] == 0
    assert host["verification"]["passed"] is True
    assert "Paris" in host["completion"]["text"]
    assert host["tunnel"].startswith("ssh -N -L 8080:127.0.0.1:8080 -i ")


def test_memory_is_as_predicted_and_the_next_plan_rests_on_what_was_measured(
    place: Place, deployed: Any
) -> None:
    (host,) = deployed["hosts"]
    check_memory(host["memory"], weights=96_576_768)
    record = json.loads((place.host.rootfs / "etc/localai-deploy/fit.json").read_text())
    assert record["fit"]["basis"] == "measured"
    assert record["timing"]["host_bytes_s"] > 1e8
    same = place.asked("plan", "box")["hosts"][0]["fit"]
    assert (same["basis"], same["tokens_per_second"]) == ("measured", record["fit"]["tokens_per_second"])
    other = place.asked("plan", "box", "--context", "1024")["hosts"][0]["fit"]
    assert other["basis"] == "calibrated"


def check_memory(memory: Any, weights: int) -> None:
    """What the server's log told lies within 1 % of the estimate, part by part."""
    (host,) = memory
    assert host["kind"] == "host"
    for part, real in host["real"].items():
        assert real > 0
        assert host["predicted"][part] == pytest.approx(real, rel=0.01, abs=1 << 20), part
    assert host["predicted"]["weights_bytes"] == weights


def test_the_runtimes_own_dry_run_agrees(place: Place, deployed: Any) -> None:
    predicted = deployed["hosts"][0]["memory"][0]["predicted"]
    words = dry_run_words(f"/{STORE}/{SERVED}", Wish(context=2048), 0)
    printed = place.host.root("/opt/localai-deploy/envs/llama_cpp/bin/llama-fit-params", *words)
    (told,) = told_by(printed)
    assert told.weights_bytes == pytest.approx(predicted["weights_bytes"], abs=1 << 20)
    assert told.kv_bytes == pytest.approx(predicted["kv_bytes"], abs=1 << 20)
    assert told.compute_bytes > predicted["compute_bytes"]


def test_a_whole_repository(place: Place, deployed: Any) -> None:
    repository = f"hf:{REPOSITORY}"
    (kept,) = place.asked("plan", "box", "--model", repository)["hosts"][0]["chosen"]
    assert (kept["model"], kept["why"].partition(";")[0]) == (MODEL, "the host has it already")
    (anew,) = place.asked("plan", "box", "--model", repository, "--update")["hosts"][0]["chosen"]
    assert (anew["model"], anew["why"], anew["not_chosen"]) == (MODEL, "the only one that is offered", [])


def test_status(place: Place, deployed: Any) -> None:
    (host,) = place.asked("status", "box")["hosts"]
    assert (host["state"], host["unfinished_step"]) == ("running", None)
    assert host["unit"]["executable"] == "/opt/localai-deploy/envs/llama_cpp/bin/llama-server"
    seen = place.run("status", "box")
    assert (seen.code, seen.stderr) == (0, "")
    assert re.search(rf"^box: running  .*^  model     {SERVED} .*, served\)$", seen.stdout, re.M | re.S)


def test_verify_as_text(place: Place, deployed: Any) -> None:
    seen = place.run("verify", "box")
    assert seen.code == 0, seen
    *checks, verdict = seen.stdout.splitlines()
    assert [line.split()[1] for line in checks if line.startswith("- ")] == ["gpu-card"]
    assert len([line for line in checks if line.startswith("✓ ")]) == 15
    assert "    skipped: no card is planned for this host" in checks
    assert verdict == "box: proven (15 passed, 0 failed, 1 skipped)"


def test_verify_goes_on_when_one_host_is_down(place: Place, deployed: Any, tmp_path: Path) -> None:
    ended = place.run("verify", "--junit", str(tmp_path / "report.xml"), "-o", "json")
    data = document(ended)
    assert ended.code == 5
    assert [one["passed"] for one in data["hosts"]] == [True, False]
    assert data["hosts"][1]["error"]["id"] == "host-unreachable"
    suites = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("16", "0")


def test_status_goes_on_when_one_host_is_down(place: Place, deployed: Any) -> None:
    seen = place.run("status")
    assert seen.code == 5
    assert "box: running" in seen.stdout
    assert "[host-unreachable]" in seen.stdout


def test_the_store_lists_what_up_pulled(place: Place, deployed: Any) -> None:
    models = {one["file_name"]: one for one in place.asked("model", "list", "box")["models"]}
    assert set(models) == {SERVED, TRUSTED}
    assert models[SERVED]["revision"] == OLD
    assert models[TRUSTED]["trusted_first_download"] is True
    assert models[TRUSTED]["sha256"] == sha256(CONTENT[TRUSTED])
    assert "(trusted at the first download)" in place.run("model", "list", "box").stdout


def test_a_trusted_download_is_not_asked_for_again(place: Place, deployed: Any) -> None:
    fetched = place.fetched(TRUSTED)
    again = place.run("plan", "box", "--detailed-exitcode")
    assert again.code == 0, again
    pulled = place.asked("model", "pull", "box", f"{place.files_url}/{TRUSTED}", "--yes")
    assert pulled["changed"] is False
    assert place.fetched(TRUSTED) == fetched


def test_pull_over_https(place: Place, deployed: Any) -> None:
    reference = f"{place.files_url}/{SECOND}"
    place.user.refused(
        2, "model-hash-missing", "model", "pull", "box", reference, "--yes", "-i", str(place.inventory)
    )
    reference += f"#sha256={sha256(CONTENT[SECOND])}"
    assert place.asked("model", "pull", "box", reference, "--yes")["changed"] is True
    assert (place.host.rootfs / STORE / SECOND).read_bytes() == CONTENT[SECOND]
    again = place.run("model", "pull", "box", reference, "--yes")
    assert (again.code, again.stdout) == (0, f"{SECOND}: was there already\n")


def test_pull_of_a_file_here(place: Place, deployed: Any) -> None:
    seen = place.run("model", "pull", "box", f"file:{place.uploads / UPLOADED}", "--yes")
    assert (seen.code, seen.stdout) == (0, f"{UPLOADED}: pulled\n"), seen
    assert (place.host.rootfs / STORE / UPLOADED).read_bytes() == CONTENT[UPLOADED]


def test_a_damaged_file_is_found(place: Place, deployed: Any) -> None:
    assert place.asked("model", "verify", "box")["ok"] is True
    file = place.host.rootfs / STORE / UPLOADED
    file.write_bytes(CONTENT[UPLOADED][:-1] + b"!")
    damaged = place.run("model", "verify", "box", "-o", "json")
    assert damaged.code == 4
    assert [one["file_name"] for one in document(damaged)["models"] if not one["ok"]] == [UPLOADED]
    seen = place.run("model", "verify", "box", UPLOADED)
    assert seen.code == 4
    assert seen.stdout.startswith(f"✗ {UPLOADED}  the file changed: sha256 ")
    assert place.asked("model", "pull", "box", f"file:{place.uploads / UPLOADED}", "--yes")["changed"] is True
    assert file.read_bytes() == CONTENT[UPLOADED]


def test_rm(place: Place, deployed: Any) -> None:
    given = ("-i", str(place.inventory))
    place.user.refused(3, "model-in-use", "model", "rm", "box", SERVED, "--yes", *given)
    place.user.refused(3, "model-not-stored", "model", "rm", "box", "other.gguf", "--yes", *given)
    place.user.refused(2, "confirmation-needed", "model", "rm", "box", UPLOADED, *given)
    assert place.asked("model", "rm", "box", UPLOADED, "--yes")["freed_bytes"] == 1 << 20
    assert sorted(path.name for path in (place.host.rootfs / STORE).glob("*.gguf")) == sorted(
        [SECOND, SERVED, TRUSTED]
    )


def test_update_looks_for_newer_revisions(place: Place, deployed: Any) -> None:
    place.revision = NEW
    assert place.asked("plan", "box")["hosts"][0]["changes"] is False
    plan = place.asked("plan", "box", "--update", "--trust-first-download")["hosts"][0]
    place.revision = OLD
    (change,) = [one for step in plan["steps"] for one in step["changes"] if "revision" in one["name"]]
    assert (change["before"], change["after"]) == (OLD, NEW)
    blocked = place.run("plan", "box", "--update", "-o", "json")
    assert (blocked.code, blocked.error_ids) == (2, ["model-hash-missing"])


def test_another_context_and_cache_change_record_and_service_and_nothing_else(
    place: Place, deployed: Any
) -> None:
    """The second host of the inventory is down: exit 5, and the first one is changed all the same."""
    fetched = place.fetched(SERVED)
    steps = place.asked("plan", "box", *CACHE)["hosts"][0]["steps"]
    assert [step["kind"] for step in steps if step["action"] == "change"] == ["prepare", "service"]
    ended = place.run("up", *CACHE, "--yes", "-o", "json")
    box, gone = document(ended)["hosts"]
    assert ended.code == 5, ended
    assert gone["error"]["id"] == "host-unreachable"
    assert box["verification"]["passed"] is True
    assert tasks_that_changed(ended) == {
        "prepare": 1,
        "environment": 0,
        "runtime": 0,
        "models": 0,
        "service": 2,
    }
    assert place.fetched(SERVED) == fetched
    check_memory(box["memory"], weights=96_576_768)
    assert box["memory"][0]["predicted"]["kv_bytes"] == 1024 * 30 * 2 * 192 * 34 // 32


def tasks_that_changed(ended: Ended) -> dict[str, int]:
    """Step → number, as the progress on stderr told."""
    found = re.findall(r"^✓ (\w+) +changed=(\d+)", ended.stderr, re.M)
    return {step: int(count) for step, count in found}


def test_a_destination_without_an_inventory(place: Place, deployed: Any, tmp_path: Path) -> None:
    """``user@address`` and an alias; key and user come from the ~/.ssh/config of a home of its own."""
    host = place.host
    config = (
        f"Host {host.address}\n  IdentityFile {host.private_key}\n"
        f"Host alias\n  HostName {host.address}\n  User {host.user}\n  IdentityFile {host.private_key}\n"
    )
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "config").write_text(config)
    destination = f"{host.user}@{host.address}"
    refused = at_home(tmp_path, "status", destination)
    assert (refused.code, refused.stdout) == (3, "")
    assert "[host-key-unknown]" in refused.stderr
    assert host.fingerprint in refused.stderr
    accepted = at_home(tmp_path, "status", destination, "--accept-host-key", host.fingerprint)
    assert accepted.code == 0, accepted
    assert accepted.stdout.startswith(f"{host.address}: running")
    assert document(at_home(tmp_path, "model", "verify", destination, SERVED, "-o", "json"))["ok"] is True
    aliased = at_home(tmp_path, "status", "alias", "--accept-host-key", host.fingerprint, "-o", "json")
    assert document(aliased)["hosts"][0]["state"] == "running"


def at_home(home: Path, *words: str) -> Ended:
    """Run the program where ``home`` lies over the user's own: ssh takes that from the user database."""
    own = pwd.getpwuid(os.getuid()).pw_dir
    program = str(Path(sys.executable).with_name("localai-deploy"))
    over = 'mount -t overlay overlay -o "lowerdir=$1:$2" "$2" && shift 2 && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", over, "sh", str(home), own, program, *words],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_down_keeps_the_models(place: Place, deployed: Any) -> None:
    down = place.run("down", "box", "--yes")
    assert down.code == 0, down
    assert "box: gone; 3 model file(s) stay in /var/lib/localai-deploy/models" in down.stdout
    assert not (place.host.rootfs / "etc/localai-deploy").exists()
    assert place.asked("status", "box")["hosts"][0]["state"] == "absent"
    place.user.refused(3, "not-deployed", "verify", "box", "-i", str(place.inventory))


def test_up_takes_them_again_and_can_be_interrupted(place: Place, deployed: Any) -> None:
    """Ctrl-C comes when the models are settled. What Ansible had begun on the host may still end there."""
    fetched = place.fetched(SERVED)
    program = str(Path(sys.executable).with_name("localai-deploy"))
    environment = {
        "HOME": str(place.user.home),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }
    words = ("up", "box", "--yes", "-i", str(place.inventory))
    terminal = Terminal([program, *words], {**environment, **place.user.environment}, deadline_s=240)
    terminal.wait_for("✓\x1b[0m models ")
    terminal.wait_for("service: box")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.seen
    assert "interrupted; the same command goes on from here" in terminal.seen
    assert place.fetched(SERVED) == fetched
    unfinished = place.run("status", "box")
    assert unfinished.code in {0, 1}
    assert "! the last run was cut off in step service; run up (or down) again" in unfinished.stdout
