"""One folder is one case of a VM: ``spec.yml + node.json [+ vm.json] → plan.txt [, create.json]``.

``GOLDEN_UPDATE=1`` writes the expected files anew; the difference is then read in review.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from localai_deploy.cli.plan_text import plan_lines
from localai_deploy.domain.plan import HostPlan
from localai_deploy.domain.pve.card_claims import CardUser, CardWorld
from localai_deploy.domain.pve.facts import BegunVm, NodeFacts, StorageFacts, VmFacts
from localai_deploy.domain.pve.hardware import PciDevice, parse_devices
from localai_deploy.domain.pve.hostpci import cards_in
from localai_deploy.domain.pve.images import parse_image
from localai_deploy.domain.pve.mapping import parse_mapping
from localai_deploy.domain.pve.ownership import OwnershipBlock, owned_block
from localai_deploy.domain.pve.planning import VmPlan, plan_vm
from localai_deploy.domain.pve.version import parse_version
from localai_deploy.domain.pve.vm import VmSpec, candidate_ids, creation, disks_of, new_identity
from localai_deploy.domain.pve.wish import recorded_spec, vm_spec
from localai_deploy.domain.settings import Sourced, resolve_settings

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("vm_cases/*/spec.yml"))
IDENTITY = new_identity("golden")
SEED = "localai-seed-ai1-golden00.iso"


def read(case: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((case / "spec.yml").read_text()))


def node_facts(data: dict[str, Any]) -> NodeFacts:
    """A node out of the JSON of a case; its keys are the fields' names."""
    storages = tuple(
        StorageFacts(**one | {"content": frozenset(one["content"])}) for one in data.pop("storages")
    )
    names = {name: tuple(ids) for name, ids in data.pop("names", {}).items()}
    bridges = data.pop("bridges")
    return NodeFacts(
        devices=devices(data.pop("devices", None)),
        world=world(data.pop("mappings", {}), data.pop("users", ())),
        version=parse_version(data.pop("version")),
        storages=storages,
        names=names,
        bridges=None if bridges is None else tuple(bridges),
        seeds=tuple(data.pop("seeds", ())),
        half_made=tuple(data.pop("half_made", ())),
        **data,
    )


def devices(rows: list[str] | None) -> tuple[PciDevice, ...] | None:
    """``ADDRESS CLASS VENDOR:DEVICE SUBSYSTEM GROUP NAME`` each, as ``lspci`` would tell them."""
    return None if rows is None else parse_devices(map(device, rows))


def device(row: str) -> dict[str, Any]:
    address, class_id, pci_id, subsystem, group, name = row.split(" ", 5)
    keys = ("vendor", "device", "subsystem_vendor", "subsystem_device")
    numbers = dict(zip(keys, [*pci_id.split(":"), *subsystem.split(":")], strict=True))
    return {"id": address, "class": class_id, "iommugroup": int(group), "device_name": name} | numbers


def world(mappings: dict[str, Any], users: list[dict[str, Any]]) -> CardWorld:
    """Mappings by name (entries, or entries and description), and VMs with a config."""
    found = [parse_mapping({"id": name, **one}) for name, one in mappings.items()]
    seen = [CardUser(**one | {"cards": cards_in(one["cards"])}) for one in users]
    return CardWorld(tuple(found), tuple(seen), frozenset(one.vmid for one in seen))


def vm_facts(name: str, data: dict[str, Any]) -> VmFacts | BegunVm:
    """A VM of ours; its description and UUID are those of its block."""
    begun, tested, gave = data.get("begun", False), tuple(data.get("tested", ())), tuple(data.get("gave", ()))
    block = OwnershipBlock(name, data["vmid"], IDENTITY.uuid, data["spec"], begun, tested, gave)
    if block.begun:
        return BegunVm(block.vmid, data["node"], block)
    config = {"description": block.render(), "smbios1": f"uuid={IDENTITY.uuid}", **data["config"]}
    assert owned_block(block.vmid, config, "localai") == block
    return VmFacts(
        vmid=block.vmid,
        node=data["node"],
        block=block,
        config=config,
        status=data["status"],
        pending=tuple(data.get("pending", ())),
        address=data.get("address", ""),
        disks=disks_of(config),
    )


def load(case: Path) -> VmPlan:
    data = read(case)
    node = node_facts(json.loads((case / "node.json").read_text()))
    layer = {key: Sourced(value, "spec.yml") for key, value in data["settings"].items()}
    spec, given = vm_spec(data.get("name", "ai1"), node.node, resolve_settings([layer]))
    found = (
        vm_facts(spec.name, json.loads(vm_file.read_text()))
        if (vm_file := case / "vm.json").exists()
        else None
    )
    vm = found if isinstance(found, VmFacts) else None
    begun = found if isinstance(found, BegunVm) else None
    if vm is not None:
        spec = recorded_spec(spec, vm.block.spec, given)
    return plan_vm(spec, parse_image(spec.image), node, vm, has_key=data.get("has_key", True), begun=begun)


def created(plan: VmPlan) -> dict[str, Any]:
    """The call that begins the VM, and what is set afterwards."""
    spec: VmSpec = plan.spec
    vmid = plan.begun.vmid if plan.begun else next(candidate_ids(spec))
    call = creation(
        spec,
        vmid,
        IDENTITY,
        image=plan.image.volume_on(spec.image_storage),
        seed=f"{spec.seed_storage}:iso/{SEED}",
        acceleration=plan.acceleration,
    )
    if plan.begun:
        return {"put": f"qemu/{vmid}/config", "parameters": call.config}
    return {
        "post": call.path,
        "parameters": dict(call.sent),
        "put": f"qemu/{vmid}/config",
        "then": call.missing({} if spec.template else call.sent),
    }


def host_plan(case: Path, plan: VmPlan) -> HostPlan:
    """As the command shows it."""
    host = HostPlan(plan.spec.name, plan.steps, plan.findings)
    return host.strict() if read(case).get("strict") else host


def outputs(case: Path) -> dict[str, str]:
    plan = load(case)
    host = host_plan(case, plan)
    files = {"plan.txt": click.unstyle("\n".join(plan_lines(host))) + "\n"}
    if plan.vm is None and not host.blockers:
        files["create.json"] = json.dumps(created(plan), indent=2) + "\n"
    return files


def test_there_are_cases() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Path) -> None:
    expected = outputs(case)
    for name, text in expected.items():
        path = case / name
        if os.environ.get("GOLDEN_UPDATE"):
            path.write_text(text)
        assert path.read_text() == text, f"{path.relative_to(HERE)} differs; GOLDEN_UPDATE=1 writes it anew"
    assert (case / "create.json").exists() == ("create.json" in expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_expectation_is_literal(case: Path) -> None:
    """What each case is there for is written by hand, so that an update cannot agree with a bug."""
    plan, expected = load(case), read(case)["expect"]
    host = host_plan(case, plan)
    assert {step.kind.value: step.action.value for step in plan.steps} == expected["actions"]
    assert [finding.finding_id for finding in host.blockers] == expected.get("blockers", [])
    assert [finding.finding_id for finding in host.warnings] == expected.get("warnings", [])
    assert [finding.finding_id for finding in host.unknowns] == expected.get("unknowns", [])
    assert [step.kind.value for step in plan.steps if step.reboot] == expected.get("reboots", [])
    for text in expected.get("says", []):
        assert text in (case / "plan.txt").read_text()
    for key, value in expected.get("sends", {}).items():
        assert json.loads((case / "create.json").read_text())["parameters"][key] == value
