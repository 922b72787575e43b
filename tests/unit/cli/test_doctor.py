"""``doctor`` and ``node check`` on an embedded node with cards; the look over SSH is a double."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from localai_deploy.domain.connection import Connection
from localai_deploy.domain.node.hardware import NodeHardware
from localai_deploy.errors import LocalaiError
from tests.unit.cli.conftest import Ended
from tests.unit.cli.node_double import Node, serving
from tests.unit.domain.node.node_samples import BOOT_GPU, INTEL_NVIDIA, IOMMU_OFF, SHARED, Sample

UNSEEN = ["host-driver-bound", "boot-framebuffer", "reset", "bar-aperture"]


@pytest.fixture
def node(environment: dict[str, str]) -> Iterator[Node]:
    with serving() as node:
        environment |= node.environment
        yield node


def put_in(node: Node, sample: Sample) -> None:
    """The node's cards and other devices are the sample's."""
    listed = [line for line in sample.lines if line.class_id[:2] != "06"]
    for each in node.sandbox.site.cluster.nodes.values():
        each.pci_devices = [line.answer() for line in listed]


def problems(document: Any) -> list[str]:
    name = document["schema"].split("/")[1]
    return [error.message for error in Draft202012Validator(load_schema(name)).iter_errors(document)]


def ids(findings: list[dict[str, str]], severity: str = "") -> list[str]:
    return [one["id"] for one in findings if one["severity"] == severity or not severity]


def test_through_its_api_alone_some_things_are_unknown(node: Node, run: Callable[..., Ended]) -> None:
    put_in(node, INTEL_NVIDIA)
    told = run("node", "check", "pve1", "-o", "json")
    assert (told.code, problems(told.data)) == (0, [])
    graphics, card = told.data["cards"]
    assert (graphics["address"], card["address"]) == ("0000:00:02", "0000:01:00")
    assert card["name"] == "NVIDIA GeForce RTX 4090"
    assert ids(card["findings"], "unknown") == ids(card["findings"]) == UNSEEN
    assert ids(told.data["findings"]) == ["node-not-rebooted"]
    assert told.data["hardware"] is None
    assert node.changing_calls == []


@pytest.mark.parametrize(
    ("sample", "blocker"), [(SHARED, "iommu-group-shared"), (IOMMU_OFF, "iommu-off"), (INTEL_NVIDIA, "")]
)
def test_the_exit_code_says_whether_one_would_block(
    sample: Sample, blocker: str, node: Node, run: Callable[..., Ended]
) -> None:
    put_in(node, sample)
    for words in (("node", "check", "pve1"), ("doctor", "--node", "pve1")):
        told = run(*words)
        assert told.code == (3 if blocker else 0)
        assert f"[{blocker}]" in told.out or not blocker
        assert ("would block" in told.out) is bool(blocker)
        assert "unknown" in told.out


def test_over_ssh_nothing_is_unknown(
    node: Node, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(node, INTEL_NVIDIA)
    monkeypatch.setattr("localai_deploy.targets.node.look_over_ssh", lambda _: INTEL_NVIDIA.hardware)
    told = run("doctor", "--node", "pve1", "--ssh", "-o", "json")
    assert problems(told.data) == []
    (seen,) = told.data["nodes"]
    graphics, card = seen["cards"]
    assert (ids(card["findings"]), seen["findings"]) == ([], [])
    assert ids(graphics["findings"], "warning") == ids(graphics["findings"]) == ["host-driver-bound"]
    assert [one["driver"] for one in card["functions"]] == ["vfio-pci", "vfio-pci"]
    assert told.code == 0


def test_a_card_that_shows_the_console_blocks_only_where_it_is_the_only_one(
    node: Node, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(node, BOOT_GPU)
    monkeypatch.setattr("localai_deploy.targets.node.look_over_ssh", lambda _: BOOT_GPU.hardware)
    told = run("node", "check", "pve1", "--ssh", "-o", "json")
    assert ids(told.data["cards"][0]["findings"], "blocker") == ["boot-framebuffer", "only-display"]
    assert told.code == 3


def test_a_node_that_lets_nobody_in_is_still_examined_through_its_api(
    node: Node, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise LocalaiError("host-key-unknown", "not known")

    put_in(node, SHARED)
    monkeypatch.setattr("localai_deploy.targets.node.look_over_ssh", refuse)
    told = run("node", "check", "pve1", "--ssh", "-o", "json")
    assert told.code == 3
    assert ids(told.data["findings"]) == ["host-key-unknown", "node-not-rebooted"]
    assert set(UNSEEN) <= set(ids(told.data["cards"][1]["findings"], "unknown"))


def test_the_inventory_allows_the_look(
    node: Node, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put_in(node, INTEL_NVIDIA)
    asked: list[Connection] = []

    def look(connection: Connection) -> NodeHardware:
        asked.append(connection)
        return INTEL_NVIDIA.hardware

    monkeypatch.setattr("localai_deploy.targets.node.look_over_ssh", look)
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "proxmox_nodes:\n  hosts:\n    pve1:\n"
        f"      localai_proxmox_host: {node.host}\n"
        f"      localai_proxmox_fingerprint: {node.fingerprint}\n"
        "      localai_proxmox_ssh: true\n"
        "      localai_proxmox_ssh_user: admin\n"
        "      localai_proxmox_ssh_port: 2222\n"
    )
    words = ("node", "check", "pve1", "-i", str(inventory))
    assert run(*words, "--no-ssh").code == 0
    assert asked == []
    run(*words)
    (connection,) = asked
    assert (connection.display, connection.port) == ("admin@127.0.0.1", 2222)


def test_other_vms_with_the_card(node: Node, run: Callable[..., Ended]) -> None:
    put_in(node, replace(INTEL_NVIDIA))
    node.add_vm("games", 100)
    vm = node.sandbox.site.cluster.vms[100]
    vm.config |= {"hostpci0": "0000:01:00,pcie=1", "tags": "", "description": ""}
    told = run("node", "check", "pve1", "-o", "json")
    assert told.code == 3
    assert ids(told.data["cards"][1]["findings"], "blocker") == ["card-in-use"]


def test_the_embedded_node_has_no_ssh(run: Callable[..., Ended]) -> None:
    told = run("node", "prepare", "sandbox", "--check")
    assert (told.code, "node-without-ssh" in told.err) == (2, True)


def test_a_node_is_not_changed_where_nobody_can_be_asked(start: Callable[..., Ended]) -> None:
    told = start("node", "prepare", "pve1", "--yes", PROXMOX_HOST="192.0.2.5")
    assert (told.code, "node-prepare-unasked" in told.err) == (2, True)


def test_hosts(run: Callable[..., Ended]) -> None:
    told = run("doctor", "box", "-o", "json", hosts={"box": "old-system-no-root"})
    assert (told.code, problems(told.data)) == (3, [])
    assert {"os-unsupported", "sudo-missing"} <= set(ids(told.data["hosts"][0]["findings"], "blocker"))
    fine = run("doctor", "box", hosts={"box": "fresh-debian13"})
    assert (fine.code, "fine" in fine.out) == (0, True)


def test_a_host_that_cannot_be_reached_is_a_finding(run: Callable[..., Ended]) -> None:
    told = run("doctor", "box", "nas", "-o", "json", hosts={"box": "down", "nas": "fresh-debian13"})
    assert told.code == 3
    assert [len(one["findings"]) for one in told.data["hosts"]] == [1, 0]
