"""The Vagrantfile with the distribution's Vagrant: a box comes up proven, and a stopped service is seen.

The box is the lab's own stand-in for Debian 13's, under that one's name and version.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.integration.controller import REFERENCE
from tests.lab.layout import REPOSITORY, Lab
from tests.lab.mirror_daemon import mirror_urls
from tests.lab.system import reason_to_skip_vagrant

if TYPE_CHECKING:
    from tests.lab.content import Content
    from tests.lab.mirror_client import MirrorClient
    from tests.lab.vagrant import VagrantPlace

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(3 * 3600)]

NAME = "debian13"
UNIT = "localai-llama-cpp"
COMMAND_TIMEOUT_S = 5400
SLOW_SSH_S = 600
"""How long Ansible waits for a login or for sudo, in place of Vagrant's 30 s: the processor is emulated."""


@dataclass(frozen=True)
class Vagrant:
    """Vagrant with the stand-in for the box."""

    place: VagrantPlace

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        began = time.monotonic()
        done = self.place.run("vagrant", *words, timeout_s=COMMAND_TIMEOUT_S)
        print(f"vagrant {' '.join(words)}: {time.monotonic() - began:.0f} s\n{done.stdout}", flush=True)
        return done

    def good(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture
def vagrant(lab: Lab, content: Content, mirror: MirrorClient) -> Iterator[Vagrant]:
    if reason := reason_to_skip_vagrant():
        pytest.skip(reason)
    from tests.lab.fixtures import unique_name
    from tests.lab.vagrant import VagrantPlace, install
    from tests.lab.vagrant_box import ensure_vagrant_box

    box = ensure_vagrant_box(lab)
    with VagrantPlace(lab, unique_name()) as place:
        install(place, box.write_metadata(place.folder, *pinned_box()))
        own = {
            "ansible_ssh_timeout": SLOW_SSH_S,
            "localai_mirrors": mirror_urls(lab),
            "localai_models": [REFERENCE],
        }
        variables = place.inventory / "host_vars" / f"{NAME}.json"
        variables.parent.mkdir(parents=True)
        variables.write_text(json.dumps(own))
        yield Vagrant(place)


def pinned_box() -> tuple[str, str]:
    """Name and version of the box in the Vagrantfile."""
    found = re.search(rf'"{NAME}" => \["(.+?)", "(.+?)"\]', (REPOSITORY / "Vagrantfile").read_text())
    assert found
    return found[1], found[2]


def test_a_box_comes_up_proven_stays_as_it_is_and_goes(vagrant: Vagrant) -> None:
    up = vagrant.good("up", NAME)
    assert "8 passed" in up
    assert int(re.findall(r"changed=(\d+)", up)[-1]) > 10

    again = vagrant.good("provision", NAME)
    assert re.findall(r"changed=(\d+)", again) == ["0"]
    assert "8 passed" in again

    vagrant.good("ssh", NAME, "-c", f"sudo systemctl stop {UNIT}")
    red = vagrant("up", "--no-provision", NAME)
    assert red.returncode != 0
    assert "FAILED tests/smoke/test_box.py::test_it_answers" in red.stdout

    vagrant.good("destroy", "--force", NAME)
    assert vagrant.place.machines() == []
