"""``up`` from a release's archives: proven, repeated, repaired, upgraded, taken away."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.product import Ended, User, write_inventory
from tests.lab.mirror import Mirror
from tests.lab.mirror_daemon import mirror_urls
from tests.lab.mirror_files import mirror_content
from tests.roles.deployment import PREFIX, REFERENCE
from tests.roles.release_archive import Releases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.content import Content
    from tests.lab.host import LabHost

pytestmark = [pytest.mark.host, pytest.mark.slow]

PLATFORM = "ubuntu-x64"


@dataclass
class Place:
    """A host, a user whose inventory names archives for it, and the site that has them."""

    host: LabHost
    user: User
    releases: Releases
    url: str

    def run(self, *words: str) -> Ended:
        return self.user.run(*words, "-i", str(self.user.home / "inventory"))

    def name(self, *references: str) -> None:
        """Let the inventory name these archives."""
        box = {
            "ansible_host": self.host.address,
            "ansible_user": self.host.user,
            "ansible_ssh_private_key_file": str(self.host.private_key),
            "localai_host_key": self.host.fingerprint,
            "localai_models": [REFERENCE],
            "localai_context_length": 2048,
            "localai_mirrors": {**mirror_urls(self.host.lab), "github": self.url},
            "localai_runtime_archives": {"cpu": list(references)} if references else {},
        }
        write_inventory(self.user.home / "inventory", {"box": box})

    def up(self) -> Any:
        """What the only host's ``up`` told; it went well."""
        done = self.run("up", "box", "--yes", "-o", "json")
        assert done.code == 0, done
        (host,) = done.data["hosts"]
        assert host["verification"]["passed"] is True
        assert "Paris" in host["completion"]["text"]
        return host

    def actions(self) -> dict[str, str]:
        (host,) = self.run("plan", "box", "-o", "json").data["hosts"]
        return {step["kind"]: step["action"] for step in host["steps"]}

    def unpacked(self) -> str:
        return self.host.root("readlink", PREFIX).strip()


@pytest.fixture(scope="module")
def place(host: LabHost, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    files, home = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("home")
    releases = Releases.make(content, files / "github", tmp_path_factory.mktemp("scratch"))
    with Mirror(replace(mirror_content(host.lab), files=files)) as mirror:
        url = mirror.listen(host.network.gateway)
        yield Place(host, User(home), releases, f"{url}/files/github")


def test_up_from_archives(place: Place) -> None:
    first = place.releases.offer(PLATFORM, {})
    place.name(first)
    place.up()
    record = json.loads(place.host.root("cat", "/etc/localai-deploy/deployment.json"))
    assert record["archives"] == [first]
    folder = place.unpacked()
    assert folder.startswith("/opt/localai-deploy/archives/llama_cpp/11669-")
    assert set(place.actions().values()) == {"keep", "check"}
    place.up()
    assert place.unpacked() == folder


def test_a_library_that_was_replaced_is_seen_and_repaired(place: Place) -> None:
    library = f"{PREFIX}/bin/libllama.so.0.7.0"
    place.host.root("sh", "-c", f"cp {library} {library}.new && mv {library}.new {library}")
    done = place.run("verify", "box", "-o", "json")
    (host,) = done.data["hosts"]
    checks = host["verification"]["checks"] if "verification" in host else host["checks"]
    assert [one["id"] for one in checks if one["outcome"] == "fail"] == ["executable"]
    place.host.root("sh", "-c", f"printf x >> {library}")
    place.up()


def test_another_archive_takes_the_place_of_the_first(place: Place) -> None:
    before = place.unpacked()
    place.name(place.releases.offer(PLATFORM, {"NEWS": b"newer"}))
    assert place.actions()["environment"] == "change"
    place.up()
    assert place.host.root("ls", "/opt/localai-deploy/archives/llama_cpp").split() == [
        place.unpacked().rpartition("/")[2]
    ]
    assert place.unpacked() != before
    assert set(place.actions().values()) == {"keep", "check"}


def test_an_archive_that_is_not_the_named_one_is_refused(place: Place) -> None:
    good = place.releases.offer(PLATFORM, {"NEWS": b"newest"})
    before = place.unpacked()
    place.name(f"{good[:-64]}{'0' * 64}")
    done = place.run("up", "box", "--yes", "-o", "json")
    assert done.code != 0
    assert "checksum" in done.stdout
    assert place.unpacked() == before
    place.name(good)
    place.up()


def test_down_takes_it_away(place: Place) -> None:
    assert place.run("down", "box", "--yes", "--purge").code == 0
    assert place.host.root("ls", "/opt").split() == []
