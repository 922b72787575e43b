"""A VM from nothing to gone on the embedded node: what is sent, what is there, what stays."""

from __future__ import annotations

import getpass
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.pve.ownership import OwnershipBlock
from localai_deploy.domain.pve.roles import run_access
from localai_deploy.domain.pve.seed import StaticAddress
from localai_deploy.domain.pve.version import PveVersion
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.sandbox.body import GuestPlan
from localai_deploy.sandbox.state import Node, Vm, Volume
from localai_deploy.targets import proxmox_vm
from localai_deploy.targets.openssh import known_hosts_file
from localai_deploy.targets.ssh_host import SshHost
from tests.integration.pve_flow import grant
from tests.integration.ssh_server import SshServer, logins, make_key, start_server
from tests.integration.vm_place import (
    ADDRESS,
    HOST_KEY,
    Guest,
    Machine,
    Place,
    Ssh,
    isolate,
    new_site,
    serving,
)

VMID = 9209
VM = f"/nodes/pve1/qemu/{VMID}"
VERSIONS = {8: PveVersion(8, 4), 9: PveVersion(9, 2)}
TEMPLATE = 900


@pytest.fixture(params=[9])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    isolate(tmp_path, monkeypatch)
    with serving(new_site(request.param)) as place:
        yield place


both = pytest.mark.parametrize("place", [8, 9], indirect=True)


def config_of(place: Place) -> dict[str, Any]:
    return place.site.cluster.vms[VMID].config


def seeds(place: Place) -> list[str]:
    return [volid for volid in place.site.cluster.volumes if ":iso/" in volid]


def restricted(place: Place, *, deletes_seeds: bool = False, **given: Any) -> Machine:
    """A machine whose token has the rights of the run role and no more."""
    where = {"vm_storage": "disks", "image_storage": "local", "seed_storage": "seeds", **given}
    spec = VmSpec("ai1", "pve1", **where)
    version = VERSIONS[place.site.cluster.release.major]
    grant(place.sandbox, run_access(spec, version, deletes_seeds=deletes_seeds))
    place.forget()
    return place.machine("localai@pve!localai", **where)


@both
def test_a_vm_is_made_as_it_should_be(place: Place) -> None:
    ended = place.machine().up()
    assert (ended.code, ended.text, ended.notes) == (0, "", ())
    assert ended.actions == {"image": "create", "vm": "create", "start": "create"}
    config = config_of(place)
    mac, uuid = config["net0"][7:24], config["smbios1"].removeprefix("uuid=")
    image = f"http://127.0.0.1:{place.web.image.split(':')[2]}"
    recorded = {
        "name": "ai1",
        "node": "pve1",
        "cores": 2,
        "memory_mib": 1024,
        "disk_gib": 4,
        "vm_storage": "local",
        "image_storage": "local",
        "seed_storage": "local",
        "bridge": "vmbr0",
        "vlan": 0,
        "vmid": 0,
        "image": image,
        "template": 0,
        "user": "admin",
        "static": None,
        "gpus": [],
        "accepted": [],
    }
    assert mac.startswith("BC:24:11:")
    assert {key: value for key, value in config.items() if key not in {"vmgenid", "meta"}} == {
        "name": "ai1",
        "tags": "localai",
        "description": OwnershipBlock("ai1", VMID, uuid, recorded).render(),
        "smbios1": f"uuid={uuid}",
        "ostype": "l26",
        "machine": "q35",
        "bios": "ovmf",
        "cpu": "host",
        "cores": 2,
        "memory": "1024",
        "balloon": 0,
        "scsihw": "virtio-scsi-single",
        "efidisk0": f"local:{VMID}/vm-{VMID}-disk-0.raw,efitype=4m,pre-enrolled-keys=0,size=528K",
        "scsi0": f"local:{VMID}/vm-{VMID}-disk-1.raw,discard=on,iothread=1,size=4G",
        "boot": "order=scsi0",
        "net0": f"virtio={mac},bridge=vmbr0",
        "serial0": "socket",
        "vga": "serial0",
        "agent": "1,fstrim_cloned_disks=1",
        "onboot": 1,
    }
    assert place.web.fetched == 1
    assert place.state()["pools"] == {"localai": [VMID]}
    assert place.state()["vms"][VMID]["power"] == "running"
    assert seeds(place) == []


@both
def test_what_is_sent_and_in_which_order(place: Place) -> None:
    place.machine().up()
    seed = r"local:iso/localai-seed-ai1-"
    changes = place.changes()
    assert changes[-1].startswith(f"DELETE /nodes/pve1/storage/local/content/{seed}")
    assert changes[:-1] == [
        "POST /nodes/pve1/storage/local/download-url",
        "POST /pools",
        "POST /nodes/pve1/storage/local/upload",
        "POST /nodes/pve1/qemu",
        f"PUT {VM}/config",
        f"PUT {VM}/resize",
        f"POST {VM}/status/start",
        f"PUT {VM}/config",
    ]


@both
def test_the_guest_is_known_before_anybody_logs_in(place: Place) -> None:
    place.machine().up()
    uuid = config_of(place)["smbios1"].removeprefix("uuid=")
    ((connection, known),) = Ssh.logins
    assert (connection.destination, connection.user) == (ADDRESS, "admin")
    assert [(key.host, key.key_type, key.key) for key in known] == [
        (f"localai-{uuid}", "ssh-ed25519", HOST_KEY)
    ]
    assert connection.ssh_args[-1] == f"HostKeyAlias=localai-{uuid}"
    assert known_hosts_file().read_text().count("\n") == 1
    paths = [path for _, path, _ in place.site.requests]
    assert paths.index(f"{VM}/agent/file-read") > paths.index(f"{VM}/status/start")


@both
def test_a_second_run_changes_nothing(place: Place) -> None:
    place.machine().up()
    before = place.state()
    place.forget()
    again = place.machine().up()
    assert (again.code, again.notes) == (0, ())
    assert again.actions == {"image": "keep", "vm": "keep", "start": "keep"}
    assert place.changes() == []
    assert place.state() == before
    assert place.web.fetched == 1


@both
def test_down_takes_the_vm_with_its_disks_and_names_the_image(place: Place) -> None:
    place.machine().up()
    ended = place.machine().down()
    assert (ended.code, ended.notes) == (0, ())
    image = "local:import/debian-30e14955ebf1.raw"
    assert ended.text == f"image {image} stays on node pve1 for other VMs"
    assert place.state() == {
        "vms": {},
        "pending": {},
        "volumes": {image: 1 << 20},
        "pools": {"localai": []},
        "used": {"local": (10 << 30) + (1 << 20), "disks": 10 << 30, "seeds": 10 << 30},
    }
    place.forget()
    assert place.machine().down().code == 0
    assert place.changes() == []


def test_an_image_with_another_checksum_is_refused(place: Place) -> None:
    url = place.web.image.partition("#")[0]
    ended = place.machine(image=f"{url}#sha256={'0' * 64}").up()
    assert (ended.code, ended.error_id) == (5, "pve-image-checksum")
    assert (place.state()["volumes"], place.state()["vms"]) == ({}, {})
    assert place.changes() == ["POST /nodes/pve1/storage/local/download-url"]


def test_another_file_has_the_name_of_the_image(place: Place) -> None:
    """It is not ours to replace it."""
    volid = "local:import/debian-30e14955ebf1.raw"
    there = Volume(volid, "import", "raw", 7, 0, used=7, digests={"sha256": "1" * 64})
    place.site.cluster.volumes[volid] = there
    ended = place.machine().up()
    assert (ended.code, ended.error_id) == (5, "pve-image-other")
    assert place.site.cluster.volumes == {volid: there}
    assert place.state()["vms"] == {}


@both
def test_the_rights_of_the_run_role_are_enough(place: Place) -> None:
    machine = restricted(place, deletes_seeds=True)
    ended = machine.up()
    assert (ended.code, ended.text, ended.notes) == (0, "", ())
    assert seeds(place) == []
    place.forget()
    again = machine.up()
    assert (again.code, place.changes()) == (0, [])
    assert machine.down().code == 0
    assert place.state()["vms"] == {}
    assert list(place.state()["volumes"]) == ["local:import/debian-30e14955ebf1.raw"]


@both
def test_a_seed_that_may_not_be_deleted_is_named(place: Place) -> None:
    machine = restricted(place)
    ended = machine.up()
    assert ended.code == 0
    (seed,) = seeds(place)
    assert seed.startswith("seeds:iso/localai-seed-ai1-")
    (note,) = ended.notes
    assert note.startswith(f"{seed} stays on node pve1 (")
    assert "Datastore.Allocate" in note
    assert note.endswith(f"there: pvesm free {seed}")
    assert "scsi1" not in config_of(place)
    place.forget()
    again = machine.up()
    assert (again.code, again.notes, place.changes()) == (0, (), [])
    down = machine.down()
    assert down.code == 0
    assert f"ISO {seed} stays on node pve1" in down.text
    assert seeds(place) == [seed]


@both
def test_a_missing_pool_is_made_or_named(place: Place) -> None:
    machine = restricted(place)
    place.site.cluster.pools.clear()
    place.forget()
    ended = machine.up()
    assert (ended.code, ended.error_id) == (3, "pve-pool-missing")
    assert "pveum pool add localai" in ended.text
    assert place.changes() == []
    assert place.machine().up().code == 0
    assert "POST /pools" in place.changes()


@both
def test_a_template_is_cloned(place: Place) -> None:
    cluster = place.site.cluster
    volid = f"disks:{TEMPLATE}/base-{TEMPLATE}-disk-0.raw"
    cluster.volumes[volid] = Volume(volid, "images", "raw", 2 << 30, 0, vmid=TEMPLATE)
    config = {"name": "t", "template": 1, "scsi0": f"{volid},size=2G", "memory": "512", "tags": "old"}
    drive = f"disks:{TEMPLATE}/vm-{TEMPLATE}-cloudinit.qcow2"
    cluster.volumes[drive] = Volume(drive, "images", "qcow2", 4 << 20, 0, vmid=TEMPLATE)
    config["ide2"] = f"{drive},media=cdrom,size=4M"
    cluster.vms[TEMPLATE] = Vm(TEMPLATE, "pve1", config, Guest())
    machine = place.machine(template=TEMPLATE, vm_storage="disks")
    ended = machine.up()
    assert (ended.code, ended.text) == (0, "")
    assert ended.actions == {"image": "keep", "vm": "create", "start": "create"}
    assert place.web.fetched == 0
    made = config_of(place)
    assert made["scsi0"].startswith(f"disks:{VMID}/vm-{VMID}-disk-")
    assert made["scsi0"].endswith("size=4G")
    assert {key: made[key] for key in ("machine", "bios", "cores", "memory", "tags", "boot")} == {
        "machine": "q35",
        "bios": "ovmf",
        "cores": 2,
        "memory": "1024",
        "tags": "localai",
        "boot": "order=scsi0",
    }
    assert not [key for key, value in made.items() if "cloudinit" in str(value)]
    place.forget()
    again = place.machine(template=TEMPLATE).up()
    assert (again.code, again.text, place.changes()) == (0, "", [])
    assert machine.down().code == 0
    assert list(cluster.vms) == [TEMPLATE]
    assert sorted(cluster.volumes) == [volid, drive]


@both
def test_on_several_storages_with_vlan_and_address(place: Place) -> None:
    static = StaticAddress("192.0.2.10/24", "192.0.2.1", ("192.0.2.1",))
    machine = place.machine(vm_storage="disks", seed_storage="seeds", vlan=20, static=static)
    assert machine.up().code == 0
    config = config_of(place)
    assert config["scsi0"].startswith("disks:")
    assert config["efidisk0"].startswith("disks:")
    assert config["net0"].endswith(",bridge=vmbr0,tag=20")
    place.forget()
    again = place.machine().up()
    assert (again.code, again.plan and again.plan.spec.static, place.changes()) == (0, static, [])


def test_a_guest_that_keeps_the_drive(place: Place) -> None:
    """It is let go at the next stop; nothing restarts the guest for it."""
    place.site.make_body = lambda vmid: Guest(keeps=("scsi1",))
    ended = place.machine().up()
    assert (ended.code, ended.notes) == (0, (f"VM {VMID} keeps scsi1 until it is next shut down",))
    assert seeds(place) == []
    place.forget()
    again = place.machine().up()
    assert (again.code, again.notes, place.changes()) == (0, (), [])


def test_values_are_changed_and_the_guest_restarted(place: Place) -> None:
    place.machine().up()
    place.forget()
    ended = place.machine(cores=4, memory_mib=2048).up()
    assert (ended.code, ended.notes) == (0, ())
    assert [step.kind.value for step in ended.plan.steps if step.reboot] == ["start"]  # type: ignore[union-attr]
    assert place.changes() == [
        f"PUT {VM}/config",
        f"POST {VM}/status/shutdown",
        f"POST {VM}/status/start",
    ]
    place.forget()
    again = place.machine(cores=4, memory_mib=2048).up()
    assert (again.code, place.changes()) == (0, [])


def test_a_disk_grows_while_the_guest_runs(place: Place) -> None:
    place.machine().up()
    place.forget()
    assert place.machine(disk_gib=6).up().code == 0
    assert place.changes() == [f"PUT {VM}/resize"]
    assert config_of(place)["scsi0"].endswith("size=6G")
    assert any("growpart" in command for command in Ssh.commands)
    place.forget()
    smaller = place.machine(disk_gib=4).up()
    assert (smaller.code, place.changes()) == (0, [])
    assert [finding.finding_id for finding in smaller.plan.findings] == ["vm-disk-larger"]  # type: ignore[union-attr]


def test_a_vm_that_was_shut_down_is_started(place: Place) -> None:
    place.machine().up()
    place.site.cluster.vms[VMID].body.stop()
    place.forget()
    assert place.machine().up().code == 0
    assert place.changes() == [f"POST {VM}/status/start"]


def test_a_guest_that_moved_to_another_node(place: Place) -> None:
    """The VM is found in its pool, on whichever node it is, and taken away from there."""
    place.machine().up()
    place.site.cluster.nodes["pve2"] = Node("pve2")
    place.site.cluster.vms[VMID].node = "pve2"
    place.forget()
    again = place.machine().up()
    assert (again.code, again.text, place.changes()) == (0, "", [])
    assert place.machine().down().code == 0
    assert place.state()["vms"] == {}


def test_down_of_a_guest_that_does_not_power_off(place: Place) -> None:
    place.site.make_body = lambda vmid: Guest(powers_off=False)
    place.machine().up()
    place.forget()
    assert place.machine().down().code == 0
    assert place.changes() == [f"POST {VM}/status/shutdown", f"POST {VM}/status/stop", f"DELETE {VM}"]


def test_a_disk_of_the_node_itself_is_not_counted(place: Place) -> None:
    place.machine().up()
    config_of(place)["scsi2"] = "/dev/disk/by-id/ata-big,size=8T"
    plan = place.machine().plan()
    assert plan.vm is not None
    assert sorted(plan.vm.disks) == [
        f"local:{VMID}/vm-{VMID}-disk-0.raw",
        f"local:{VMID}/vm-{VMID}-disk-1.raw",
    ]


RELAY = """\
import os, socket, sys, threading

def pump(source, target):
    while chunk := os.read(source, 65536):
        while chunk:
            chunk = chunk[os.write(target, chunk):]

far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
threading.Thread(target=pump, args=(0, far.fileno()), daemon=True).start()
pump(far.fileno(), 1)
os._exit(0)
"""


class Told(Guest):
    """Its agent tells the key of an SSH server of this machine."""

    key = b""

    def start(self, plan: GuestPlan) -> None:
        super().start(plan)
        self.answers = {"file-read": self.key}


class Near(Machine):
    """Reaches the guest's address through a relay to that server."""

    ssh_args: tuple[str, ...] = ()
    key_file = ""

    def wish(self) -> VmWish:
        wish = super().wish()
        return replace(
            wish, node=replace(wish.node, guest_ssh_args=self.ssh_args), private_key_file=self.key_file
        )


@pytest.fixture
def near(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Near, SshServer]]:
    server = start_server(tmp_path / "server")
    (tmp_path / "relay.py").write_text(RELAY)
    command = shlex.join([sys.executable, str(tmp_path / "relay.py"), str(server.port)])
    monkeypatch.setattr(Told, "key", (server.directory / "host_ed25519.pub").read_bytes())
    monkeypatch.setattr(Near, "ssh_args", ("-F", "none", "-o", f"ProxyCommand={command}"))
    monkeypatch.setattr(Near, "key_file", str(server.client_key))
    monkeypatch.setattr(proxmox_vm, "SshHost", SshHost)
    monkeypatch.setattr(proxmox_vm, "await_first_boot", lambda guest, vmid, patience: guest.run(["true"]))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    place.site.make_body = lambda vmid: Told()
    yield Near(place, place.machine().token, {"user": getpass.getuser()}), server
    server.stop()


def test_a_real_login_with_the_key_that_the_agent_told(near: tuple[Near, SshServer]) -> None:
    """OpenSSH itself, with our known_hosts alone: an unknown key would be refused."""
    machine, server = near
    ended = machine.up()
    assert (ended.code, ended.text, ended.notes) == (0, "", ())
    assert logins(server) == 1


def test_a_real_login_to_another_guest_than_the_agent_told(
    near: tuple[Near, SshServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else answers at the guest's address: nobody logs in there."""
    machine, server = near
    make_key(server.directory / "other")
    monkeypatch.setattr(Told, "key", (server.directory / "other.pub").read_bytes())
    ended = machine.up()
    assert (ended.code, ended.error_id) == (5, "host-key-changed")
    assert logins(server) == 0
