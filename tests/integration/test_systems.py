"""The whole job on every system that the lab can make: up, up again, down, and the host is as before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.product import User, write_inventory
from tests.lab.content import Content
from tests.lab.host import LabHost, start_host
from tests.lab.image import SUITES
from tests.lab.layout import Lab
from tests.lab.mirror_client import MirrorClient
from tests.lab.mirror_daemon import mirror_urls
from tests.lab.state import difference

pytestmark = pytest.mark.host
MODEL = "hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF/smollm2-135m-instruct-q4_1.gguf"


@pytest.fixture(params=SUITES)
def system(
    lab: Lab, content: Content, mirror: MirrorClient, request: pytest.FixtureRequest
) -> Iterator[LabHost]:
    with start_host(lab, f"system-{request.param}", suite=request.param) as host:
        yield host


def test_up_again_and_down(lab: Lab, system: LabHost, tmp_path: Path) -> None:
    user = User(tmp_path / "home")
    inventory = write_inventory(
        tmp_path / "inventory",
        {
            "box": {
                "ansible_host": system.address,
                "ansible_user": system.user,
                "ansible_ssh_private_key_file": str(system.private_key),
                "localai_host_key": system.fingerprint,
                "localai_models": [MODEL],
                "localai_context_length": 1024,
                "localai_mirrors": mirror_urls(lab),
            }
        },
    )
    before = system.state()
    first = user.run("up", "-i", str(inventory), "box", "--yes", "-o", "json")
    assert first.code == 0, first
    (host,) = first.data["hosts"]
    assert host["completion"]["text"].strip()
    assert host["verification"]["counts"] == {"pass": 15, "fail": 0, "skip": 1}

    second = user.run("up", "-i", str(inventory), "box", "-o", "json")
    assert second.code == 0, second
    assert second.data["hosts"][0]["changed_tasks"] == 0

    down = user.run("down", "-i", str(inventory), "box", "--purge", "--yes", "-o", "json")
    assert down.code == 0, down
    assert difference(before, system.state()) == []
