"""Roles ``conda``, ``llama_cpp``, ``service`` with a release's archives in place of a channel's packages."""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from localai_deploy.domain.archives import archive_lock, parse_archives
from tests.lab.content import ensure_content
from tests.lab.fixtures import unique_name
from tests.lab.state import difference
from tests.roles.deployment import ORDER, PREFIX
from tests.roles.release_archive import BACKEND, BUILD, Releases

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localai_deploy.domain.lock import Variant
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient
    from tests.roles.conftest import Chain
    from tests.roles.driver import Run

pytestmark = [pytest.mark.host, pytest.mark.slow]

ARCHIVES = "/opt/localai-deploy/archives/llama_cpp"
PLATFORM = "ubuntu-cuda-12.8-x64"
ROLES = ["conda", "llama_cpp", "service"]
UNPACK = "conda: Unpack them into a new directory, and switch to it"
TAKEN = [
    "conda: Record the lock",
    "conda: Make the directories of archives and prefix",
    "conda: Fetch the archives, each by its hash",
    UNPACK,
]
ASK = """\
import json, sys, urllib.request
key = open("/etc/localai-deploy/api-key").read().strip()
asked = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
body = {"messages": asked, "max_tokens": 24, "temperature": 0}
request = urllib.request.Request("http://127.0.0.1:8080/v1/chat/completions", json.dumps(body).encode(),
    {"Authorization": "Bearer " + key, "Content-Type": "application/json"})
print(json.load(urllib.request.urlopen(request, timeout=300))["choices"][0]["message"]["content"])
"""


@dataclass
class Place:
    """The converged host, and a site of releases that it reaches in place of GitHub."""

    chain: Chain
    releases: Releases
    url: str

    def variables(self, *references: str, variant: Variant = "cuda12") -> dict[str, Any]:
        lock = archive_lock(
            parse_archives(references), package="llama.cpp", variant=variant, platform="linux-64"
        ).to_data()
        server = lock["packages"][0]
        return {
            **self.chain.variables,
            "conda_provider": "archives",
            "conda_github_url": self.url,
            "conda_lock": lock,
            "llama_cpp_variant": variant,
            "llama_cpp_environment": {"LD_LIBRARY_PATH": f"{PREFIX}/bin"},
            "service_environment": {"LD_LIBRARY_PATH": f"{PREFIX}/bin"},
            "llama_cpp_package": {key: server[key] for key in ("name", "version", "build", "sha256")},
        }

    def run(self, variables: dict[str, Any], *, check: bool = False, good: bool = True) -> Run:
        return self.chain.driver.converge(ROLES, variables, check=check, good=good)

    def unpacked(self) -> list[str]:
        return self.chain.host.root("ls", ARCHIVES).split()

    def program(self) -> str:
        """The file that the service's process runs."""
        pid = self.chain.host.root("systemctl", "show", "-P", "MainPID", "localai-llama-cpp").strip()
        return self.chain.host.root("readlink", f"/proc/{pid}/exe").strip()


@pytest.fixture
def place(scratch: Chain, lab: Lab, mirror: MirrorClient, tmp_path: Path) -> Iterator[Place]:
    name = f"releases-{unique_name()}"
    site = lab.files / name
    yield Place(
        scratch, Releases.make(ensure_content(lab.directory), site, tmp_path), mirror.url(f"files/{name}")
    )
    shutil.rmtree(site, ignore_errors=True)


def test_a_release_is_served_upgraded_and_left_again(place: Place) -> None:
    host = place.chain.host
    cudart = place.releases.offer_cuda(PLATFORM)
    wanted = place.variables(place.releases.offer(PLATFORM, BACKEND), cudart)
    foreseen = place.chain.driver.converge(["conda"], wanted, check=True)
    assert foreseen.changed == [*TAKEN[:2], UNPACK]
    assert not host.root("find", PREFIX, "-maxdepth", "0", "-type", "l")
    assert place.run(wanted).changed == [
        *TAKEN,
        "llama_cpp: Record the accepted runtime",
        "service: Write the unit",
        "service: Run the service, anew if it is older than what it reads",
    ]
    (first,) = place.unpacked()
    assert place.program() == f"{ARCHIVES}/{first}/bin/llama-server"
    assert "Paris" in host.root("python3", "-c", ASK)
    accepted = json.loads(host.root("cat", "/etc/localai-deploy/runtime.json"))
    assert (accepted["version"], accepted["build"], accepted["variant"]) == (
        BUILD,
        "cuda12_archive",
        "cuda12",
    )
    assert place.run(wanted).changed == []
    assert place.run(wanted, check=True).changed == []

    newer = place.variables(place.releases.offer(PLATFORM, {**BACKEND, "NEWS": b"newer"}), cudart)
    changed = place.run(newer).changed
    assert [task for task in TAKEN if task in changed] == [TAKEN[0], *TAKEN[2:]]
    (second,) = place.unpacked()
    assert first != second
    assert place.program() == f"{ARCHIVES}/{second}/bin/llama-server"
    assert "Paris" in host.root("python3", "-c", ASK)

    back = place.run(dict(place.chain.variables)).changed
    assert {
        "conda: Remove the link to unpacked archives",
        "conda: Remove unpacked archives",
        "conda: Install the locked packages",
    } <= set(back)
    assert place.program() == f"{PREFIX}/bin/llama-server"
    assert place.run(dict(place.chain.variables)).changed == []


def test_it_is_taken_away(place: Place) -> None:
    """All but the empty directory of Ansible's own that a download makes in root's home."""
    place.run(place.variables(place.releases.offer(PLATFORM, BACKEND), place.releases.offer_cuda(PLATFORM)))
    place.chain.driver.uninstall(ORDER, {"model_store_purge": True})
    left = difference(dict(place.chain.clean), place.chain.host.state())
    assert [line for line in left if not line.startswith("/root/.ansible:")] == []


def test_what_is_refused_leaves_the_server_as_it_was(place: Place) -> None:
    releases, before = place.releases, place.program()
    good, cudart = releases.offer(PLATFORM, BACKEND), releases.offer_cuda(PLATFORM)
    leading_out = releases.pack_one("out", tarfile.TarInfo("../../evil"))
    refused = {
        "archive-without-cuda": place.variables(releases.offer("ubuntu-x64", {}), cudart),
        "archive-unusable": place.variables(leading_out),
    }
    for error_id, variables in refused.items():
        assert place.run(variables, good=False).problem["error_id"] == error_id
        assert place.unpacked() == []
    wrong = place.run(place.variables(f"{good[:-64]}{'0' * 64}", cudart), good=False)
    assert wrong.failure["task"] == "Fetch the archives, each by its hash"
    assert "checksum" in wrong.output
    assert not place.chain.host.root("find", "/opt", "-name", "evil")
    assert place.program() == before
    assert "Paris" in place.chain.host.root("python3", "-c", ASK)
