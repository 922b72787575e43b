"""``up`` over a site: the model is fetched once, by the host that gives it to the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.controller import MODEL, MODEL_PATH, host_variables
from tests.integration.product import Ended, User, write_inventory
from tests.roles.site import Site, open_site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.content import Content
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(lab: Lab, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    del content
    with ExitStack() as stack:
        yield open_site(lab, tmp_path_factory.mktemp("site"), 2, stack, service_user=False)


def test_a_model_is_fetched_once(site: Site, content: Content, mirror: MirrorClient, tmp_path: Path) -> None:
    names = ("nas", "box")
    wanted = {name: host_variables(host) for name, host in zip(names, site.hosts, strict=True)}
    wanted["box"]["localai_model_cache"] = "nas"
    inventory = write_inventory(tmp_path / "inventory", wanted)
    (tmp_path / "home").mkdir()
    user = User(tmp_path / "home", deadline_s=900)

    def up() -> Ended:
        return user.run("up", "--inventory", str(inventory), "--yes", "-o", "json")

    def sent() -> list[int]:
        """Bytes of the model that the mirror ever sent to each address."""
        requests = [one for one in mirror.requests(MODEL) if one["method"] == "GET"]
        return [
            sum(one["sent_bytes"] for one in requests if one["client"] == host.address) for host in site.hosts
        ]

    before = sent()
    first = up()
    assert first.code == 0, first.stderr
    fetched = [now - then for now, then in zip(sent(), before, strict=True)]
    assert fetched == [content.model_size_bytes, 0]
    assert all((host.rootfs / MODEL_PATH).stat().st_size == content.model_size_bytes for host in site.hosts)
    second = up()
    assert second.code == 0, second.stderr
    assert [host["changed_tasks"] for host in json.loads(second.stdout)["hosts"]] == [0, 0]
