"""Mappings against the embedded node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localai_deploy.domain.pve.mapping import parse_entry
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.mappings import Mappings
from localai_deploy.sandbox.server import Sandbox
from tests.integration.pve_flow import connection
from tests.unit.sandbox.talking import GPU0, example


@pytest.fixture(scope="module", params=[8, 9])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with example(request.param) as running:
        yield running


@pytest.fixture
def mappings(sandbox: Sandbox) -> Mappings:
    return Mappings(PveClient(connection(sandbox)))


def test_all_with_the_servers_own_checks(mappings: Mappings) -> None:
    found = {one.name: one.checks for one in mappings.all()}
    assert found["gpu0"] == ()
    assert "missing expected property 'iommugroup'" in found["nogroup"][0]


def test_made_and_read_back(mappings: Mappings) -> None:
    made = mappings.create("new", [parse_entry(GPU0)], "the left slot")
    assert (made.name, str(made.entries[0]), made.description) == ("new", GPU0, "the left slot")
    with pytest.raises(LocalaiError) as caught:
        mappings.create("new", [parse_entry(GPU0)])
    assert caught.value.error_id == "pve-mapping-taken"
    with pytest.raises(LocalaiError) as caught:
        mappings.named("missing")
    assert caught.value.error_id == "pve-mapping-missing"


def test_a_description_is_written_once_per_digest(mappings: Mappings) -> None:
    mapping = mappings.named("gpu0")
    mappings.describe(mapping, "first")
    with pytest.raises(LocalaiError) as caught:
        mappings.describe(mapping, "second")
    assert caught.value.error_id == "pve-config-changed"
    found = mappings.named("gpu0")
    assert (found.description, found.entries) == ("first", mapping.entries)
    mappings.describe(found, "")
    assert mappings.named("gpu0").description == ""


def test_an_answer_that_is_lost(sandbox: Sandbox, mappings: Mappings) -> None:
    sandbox.site.faults.add("reset-after-success", "PUT /cluster/mapping/pci/gpu0")
    mappings.describe(mappings.named("gpu0"), "written all the same")
    assert mappings.named("gpu0").description == "written all the same"
    sandbox.site.faults.add("reset-after-success", "POST /cluster/mapping/pci")
    assert mappings.create("lost", [parse_entry(GPU0)]).name == "lost"
