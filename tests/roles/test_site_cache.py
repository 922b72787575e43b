"""One pull for a site: one host fetches a model, the others have it from that host."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.content import ensure_content
from tests.lab.hub import GATED_TOKEN, commit_of
from tests.lab.mirror_daemon import https_url
from tests.lab.mirror_files import GATED_REPOSITORY
from tests.roles.deployment import STORE, deployment
from tests.roles.site import Site, open_site

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.lab.host import LabHost
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

Fetched = Callable[[], dict[str, int]]
pytestmark = pytest.mark.host

PULL = "model_store: Take the pull's result"
SLOW = "80mbit"
"""The model passes in 10 s."""


@pytest.fixture(scope="module")
def model(lab: Lab, mirror: MirrorClient) -> dict[str, Any]:
    """The lab's model as the role takes it."""
    ensure_content(lab.directory)
    return dict(deployment(lab, mirror)["model_store_models"][0])


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield open_site(lab, tmp_path_factory.mktemp("site"), 3, stack)


@pytest.fixture
def empty(site: Site, mirror: MirrorClient) -> Iterator[Site]:
    """Nobody has a model."""
    site.throttle("")
    site.join()
    for host in site.hosts:
        host.root("sh", "-c", f"rm -rf {STORE}/*")
    yield site
    site.throttle("")
    site.join()


@pytest.fixture
def fetched(empty: Site, mirror: MirrorClient, model: dict[str, Any]) -> Fetched:
    """Bytes of the model that the mirror sent to each host since it was asked last."""
    seen = _sent(empty, mirror, model)

    def since() -> dict[str, int]:
        before = dict(seen)
        seen.update(_sent(empty, mirror, model))
        return {name: count - before[name] for name, count in seen.items()}

    return since


def _sent(site: Site, mirror: MirrorClient, model: Mapping[str, Any]) -> dict[str, int]:
    return {
        host.name: sum(
            one["sent_bytes"]
            for one in mirror.requests(model["file_name"], host.address)
            if one["method"] == "GET"
        )
        for host in site.hosts
    }


def variables(site: Site, model: Mapping[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
    """The first host gives."""
    common = {"model_store_models": [dict(model)], "model_store_cache": site.hosts[0].name, **more}
    return {host.name: dict(common) for host in site.hosts}


def is_whole(host: LabHost, model: Mapping[str, Any]) -> bool:
    told = host.root("sha256sum", f"{STORE}/{model['file_name']}", check=False)
    return told.split()[:1] == [model["sha256"]]


def giving(host: LabHost) -> list[int]:
    """Processes on the host that give models."""
    found = []
    for pid in host.container.pids():
        with suppress(OSError):
            if b"model_cache.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_one_pull_for_three_hosts(empty: Site, model: dict[str, Any], fetched: Fetched) -> None:
    wanted = variables(empty, model)
    foreseen = empty.converge(wanted, check=True)
    assert fetched() == dict.fromkeys(wanted, 0)
    assert len([task for task in foreseen.changed if "Tell what would be pulled" in task]) in (0, 3)

    first = empty.converge(wanted)
    assert first.changed.count(PULL) == 3
    assert fetched() == {
        host.name: model["size_bytes"] if host is empty.hosts[0] else 0 for host in empty.hosts
    }
    assert all(is_whole(host, model) for host in empty.hosts)
    records = [host.root("cat", f"{STORE}/{model['file_name']}.json") for host in empty.hosts]
    assert {json.loads(record)["url"] for record in records} == {model["url"]}
    assert_nothing_is_left(empty.hosts[0])

    before = [host.state() for host in empty.hosts]
    second = empty.converge(wanted)
    assert second.changed == []
    assert "Give models" not in {record["task"] for record in second.records if record["status"] == "ok"}
    assert empty.converge(wanted, check=True).changed == []
    assert [host.state() for host in empty.hosts] == before


def assert_nothing_is_left(giver: LabHost) -> None:
    assert giving(giver) == []
    assert giver.root("sh", "-c", "ls -d /run/localai-deploy-model-cache* 2>/dev/null || true") == ""
    listed = giver.root("systemctl", "list-units", "--all", "--no-legend", "localai-deploy-model-cache*")
    assert listed.split() == []


def test_only_what_is_missing_is_asked_for(empty: Site, model: dict[str, Any], fetched: Fetched) -> None:
    wanted = variables(empty, model)
    empty.converge(wanted)
    lost = empty.hosts[2]
    lost.root("sh", "-c", f"rm {STORE}/{model['file_name']}")
    fetched()
    again = empty.converge(wanted)
    assert again.changed == [PULL]
    assert is_whole(lost, model)
    assert set(fetched().values()) == {0}


def test_a_giver_that_dies_in_the_middle(empty: Site, model: dict[str, Any], fetched: Fetched) -> None:
    empty.throttle(SLOW)
    killed: list[int] = []

    def kill() -> None:
        parts = [host.rootfs / STORE.lstrip("/") / f"{model['file_name']}.part" for host in empty.hosts[1:]]
        for _ in range(4000):
            if all(part.exists() and part.stat().st_size > 4_000_000 for part in parts):
                killed.extend(giving(empty.hosts[0]))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    done = empty.converge(variables(empty, model))
    killer.join()
    assert killed
    assert done.changed.count(PULL) == 3
    assert all(is_whole(host, model) for host in empty.hosts)
    sent = fetched()
    assert all(0 < sent[host.name] <= model["size_bytes"] - 4_000_000 for host in empty.hosts[1:])


def test_a_giver_that_cannot_be_reached(empty: Site, model: dict[str, Any], fetched: Fetched) -> None:
    empty.cut()
    assert empty.converge(variables(empty, model)).changed.count(PULL) == 3
    assert fetched() == {host.name: model["size_bytes"] for host in empty.hosts}


def test_a_giver_that_cannot_give(empty: Site, model: dict[str, Any], fetched: Fetched) -> None:
    giver = empty.hosts[0]
    giver.root("mv", "/usr/bin/openssl", "/usr/bin/openssl.away")
    try:
        done = empty.converge(variables(empty, model))
    finally:
        giver.root("mv", "/usr/bin/openssl.away", "/usr/bin/openssl")
    assert done.changed.count(PULL) == 3
    assert fetched() == {host.name: model["size_bytes"] for host in empty.hosts}
    assert_nothing_is_left(giver)


def test_weights_are_given_to_hosts_with_the_token_only(
    empty: Site, lab: Lab, model: dict[str, Any], fetched: Fetched
) -> None:
    """The gate is the hub's; a host without its token gets the weights neither here nor there."""
    giver, has_token, has_none = empty.hosts
    commit, name = commit_of(GATED_REPOSITORY), model["file_name"]
    gated = {
        "reference": f"hf:{GATED_REPOSITORY}/{name}",
        "url": f"{https_url(lab)}/hf/{GATED_REPOSITORY}/resolve/{commit}/{name}",
        "revision": commit,
    }
    wanted = variables(empty, model | gated)
    for host in (giver, has_token):
        wanted[host.name]["model_store_token"] = GATED_TOKEN
    done = empty.driver.converge_all(empty.hosts, ["model_store"], wanted, good=False)
    assert done.code != 0
    assert done.problem["error_id"] == "model-gated"
    assert [is_whole(host, model) for host in empty.hosts] == [True, True, False]
    sent = fetched()
    assert (sent[giver.name], sent[has_token.name]) == (model["size_bytes"], 0)
    assert sent[has_none.name] < 1000
    assert GATED_TOKEN not in done.output
    assert_nothing_is_left(giver)
