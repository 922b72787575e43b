"""Hardware files at the API of a node: what is listed, and what the start of a VM founders on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from localai_deploy.sandbox.body import BareBody, GuestPlan
from localai_deploy.sandbox.equipping import equip
from localai_deploy.sandbox.hardware_file import load_hardware
from localai_deploy.sandbox.server import Sandbox, make_site, new_cluster
from localai_deploy.sandbox.site import Pace
from localai_deploy.sandbox.state import Vm
from tests.unit.sandbox.talking import Talk


@contextmanager
def serving(name: str) -> Iterator[Talk]:
    cluster = new_cluster(9, "sandbox")
    equip(cluster, load_hardware(name))
    sandbox = Sandbox(make_site(cluster, Pace(scale=0.0001, import_s=0, status_round_s=0)))
    credentials = sandbox.start()
    try:
        yield Talk(sandbox, credentials)
    finally:
        sandbox.stop()


class Noting(BareBody):
    """A guest that keeps what it was started with."""

    plan: GuestPlan | None = None

    def start(self, plan: GuestPlan) -> None:
        self.plan = plan
        super().start(plan)


def add_vm(talk: Talk, vmid: int, card: str, node: str = "sandbox") -> Noting:
    body = Noting(powers_off=True)
    config = {"name": f"vm-{vmid}", "machine": "q35", "memory": "512", "hostpci0": card}
    talk.sandbox.site.cluster.vms[vmid] = Vm(vmid, node, config, body)
    return body


def power(talk: Talk, vmid: int, action: str, node: str = "sandbox"):
    return talk("POST", f"/nodes/{node}/qemu/{vmid}/status/{action}")


def test_two_nodes_with_their_cards() -> None:
    with serving("two-nodes") as talk:
        names = sorted(one["node"] for one in talk("GET", "/nodes").data)
        assert names == ["sandbox", "sandbox2"]
        ids = {one["id"]: one for one in talk("GET", "/nodes/sandbox/hardware/pci").data}
        assert sorted(ids) == ["0000:01:00.0", "0000:01:00.1", "0000:02:00.0", "0000:02:00.1"]
        assert ids["0000:01:00.0"] == {
            "id": "0000:01:00.0",
            "class": "0x030000",
            "vendor": "0x10de",
            "device": "0x2684",
            "iommugroup": 14,
            "subsystem_vendor": "0x1043",
            "subsystem_device": "0x889c",
            "vendor_name": "NVIDIA Corporation",
            "device_name": "AD102 [GeForce RTX 4090]",
        }
        other = talk("GET", "/nodes/sandbox2/hardware/pci").data
        assert [one["iommugroup"] for one in other] == [22, 22]
        add_vm(talk, 200, "05:00,pcie=1", "sandbox2")
        assert power(talk, 200, "start", "sandbox2").exitstatus == "OK"


def test_a_group_that_is_shared() -> None:
    with serving("shared-group") as talk:
        add_vm(talk, 200, "01:00,pcie=1")
        reply = power(talk, 200, "start")
        assert reply.exitstatus == "start failed: QEMU exited with code 1"
        assert any("group 1 is not viable" in line for line in reply.log)
        talk.sandbox.site.cluster.nodes["sandbox"].drivers["0000:02:00.0"] = "vfio-pci"
        assert power(talk, 200, "start").exitstatus == "OK"


def test_a_busy_card() -> None:
    with serving("busy") as talk:
        add_vm(talk, 200, "mapping=gaming-card,pcie=1")
        busy = "PCI device '0000:01:00.0' already in use by VMID '100'"
        assert power(talk, 200, "start").exitstatus == busy
        assert power(talk, 100, "shutdown").exitstatus == "OK"
        assert power(talk, 200, "start").exitstatus == "OK"
        assert power(talk, 100, "start").exitstatus == busy.replace("100", "200")


def test_iommu_off() -> None:
    with serving("iommu-off") as talk:
        assert {one["iommugroup"] for one in talk("GET", "/nodes/sandbox/hardware/pci").data} == {-1}
        add_vm(talk, 200, "01:00,pcie=1")
        assert power(talk, 200, "start").exitstatus == "cannot prepare PCI pass-through, IOMMU not present"


def test_hardware_that_changed() -> None:
    with serving("changed") as talk:
        (mapping,) = talk("GET", "/cluster/mapping/pci", check_node="sandbox").data
        assert mapping["checks"][0]["severity"] == "error"
        add_vm(talk, 200, "mapping=gpu0,pcie=1")
        assert "PCI device mapping invalid" in str(power(talk, 200, "start").exitstatus)


def test_a_card_that_is_good_for_one_start() -> None:
    with serving("bad-reset") as talk:
        add_vm(talk, 200, "01:00,pcie=1")
        assert power(talk, 200, "start").exitstatus == "OK"
        assert power(talk, 200, "stop").exitstatus == "OK"
        reply = power(talk, 200, "start")
        assert reply.exitstatus == "start failed: QEMU exited with code 1"
        assert any("not ready 65535ms after FLR" in line for line in reply.log)


def test_a_start_that_takes_too_long() -> None:
    with serving("slow-start") as talk:
        add_vm(talk, 200, "01:00,pcie=1")
        assert str(power(talk, 200, "start").exitstatus).endswith("failed: got timeout")
        assert talk.sandbox.site.cluster.vms[200].devices == []


@pytest.mark.parametrize(("name", "models"), [("emulated", ("secondary-vga",)), ("one-card", ())])
def test_what_a_guest_gets(name: str, models: tuple[str, ...]) -> None:
    with serving(name) as talk:
        body = add_vm(talk, 200, "01:00,pcie=1")
        assert power(talk, 200, "start").exitstatus == "OK"
        assert body.plan is not None
        assert body.plan.passed == models


def test_of_two_that_start_at_once_one_gets_the_card() -> None:
    with serving("one-card") as talk:
        for vmid in (200, 201):
            add_vm(talk, vmid, "01:00,pcie=1")
        replies = [talk("POST", f"/nodes/sandbox/qemu/{v}/status/start", wait=False) for v in (200, 201)]
        for reply in replies:
            talk.finish(reply)
        ends = sorted(str(one.exitstatus) for one in replies)
        assert ends[0] == "OK"
        assert "already in use by VMID" in ends[1]
