"""QEMU's words for a VM, literally."""

from __future__ import annotations

import json

from localai_deploy.sandbox.body import GuestPlan
from localai_deploy.sandbox.qemu_command import GuestCommand, Machine, boot_order, properties

CONFIG = {
    "name": "vm-a",
    "machine": "q35",
    "bios": "ovmf",
    "cpu": "host",
    "cores": 4,
    "sockets": 1,
    "memory": "2048",
    "smbios1": "uuid=00000000-0000-4000-8000-000000000001",
    "scsihw": "virtio-scsi-single",
    "scsi0": "local:100/vm-100-disk-1.qcow2,discard=on,size=8G",
    "scsi1": "local:iso/seed.iso,media=cdrom,size=370K",
    "efidisk0": "local:100/vm-100-disk-0.raw,efitype=4m,pre-enrolled-keys=0,size=528K",
    "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0",
    "boot": "order=scsi0",
    "serial0": "socket",
    "vga": "serial0",
    "agent": "1,fstrim_cloned_disks=1",
    "vmgenid": "00000000-0000-4000-8000-000000000002",
}
DISKS = {
    "efidisk0": "/s/images/100/vm-100-disk-0.raw",
    "scsi0": "/s/images/100/vm-100-disk-1.qcow2",
    "scsi1": "/s/template/iso/seed,1.iso",
}
SCSI = {"bus": "scsihw.0"}
CARD = {
    "driver": "virtio-net-pci",
    "id": "net0",
    "netdev": "net0",
    "mac": "bc:24:11:00:00:01",
    "bus": "port0",
}
CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"


def words(config=CONFIG, disks=DISKS, *, kvm=False, **rest):
    plan = GuestPlan(100, "vm-a", dict(config), disks)
    return GuestCommand(plan, Machine(kvm, CODE, "/g/variables.fd"), {"net0": "tap100i0"}, **rest).argv()


def values(argv, option):
    """What follows each `option`; JSON as data."""
    found = [argv[n + 1] for n, word in enumerate(argv) if word == option]
    return [json.loads(value) if value.startswith("{") else value for value in found]


def devices(argv):
    return {device["id"]: device for device in values(argv, "-device") if "id" in device}


def test_a_whole_command():
    cache = {"direct": False, "no-flush": True}
    disk = {
        "driver": "qcow2",
        "node-name": "scsi0",
        "cache": cache,
        "file": {"driver": "file", "filename": "/s/images/100/vm-100-disk-1.qcow2", "cache": cache},
        "discard": "unmap",
    }
    disc = {
        "driver": "raw",
        "node-name": "scsi1",
        "cache": cache,
        "file": {"driver": "file", "filename": "/s/template/iso/seed,1.iso", "cache": cache},
        "read-only": True,
    }
    channel = {"driver": "virtserialport", "chardev": "agent", "name": "org.qemu.guest_agent.0"}
    assert [json.loads(word) if word.startswith("{") else word for word in words()] == [
        "qemu-system-x86_64",
        *("-name", "localai-sandbox-100", "-nodefaults", "-no-user-config"),
        *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off"),
        *("-smp", "4,sockets=1,cores=4", "-m", "2048M"),
        *("-smbios", "type=1,uuid=00000000-0000-4000-8000-000000000001"),
        *("-device", {"driver": "vmgenid", "guid": "00000000-0000-4000-8000-000000000002"}),
        *("-rtc", "base=utc", "-display", "none", "-vga", "none"),
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={CODE}"),
        *("-drive", "if=pflash,unit=1,format=raw,readonly=off,file=/s/images/100/vm-100-disk-0.raw"),
        *("-device", {"driver": "pcie-root-port", "id": "port0", "chassis": 1, "port": 0}),
        *("-device", {"driver": "pcie-root-port", "id": "port1", "chassis": 2, "port": 1}),
        *("-device", {"driver": "pcie-root-port", "id": "port2", "chassis": 3, "port": 2}),
        *("-device", {"driver": "pcie-root-port", "id": "port3", "chassis": 4, "port": 3}),
        *("-device", {"driver": "virtio-scsi-pci", "id": "scsihw"}),
        *("-blockdev", disk),
        *(
            "-device",
            SCSI | {"id": "scsi0", "drive": "scsi0", "driver": "scsi-hd", "scsi-id": 0, "bootindex": 0},
        ),
        *("-blockdev", disc),
        *("-device", SCSI | {"id": "scsi1", "drive": "scsi1", "driver": "scsi-cd", "scsi-id": 1}),
        *("-netdev", {"type": "tap", "id": "net0", "ifname": "tap100i0", "script": "no", "downscript": "no"}),
        *("-device", CARD),
        *("-qmp", "unix:qmp.sock,server=on,wait=off"),
        *("-chardev", "file,id=serial0,path=serial.log,append=on", "-serial", "chardev:serial0"),
        *("-device", {"driver": "virtio-serial-pci", "id": "qga"}),
        *("-chardev", "socket,id=agent,path=agent.sock,server=on,wait=off", "-device", channel),
    ]


def test_under_kvm_the_cpu_is_what_the_vm_asks_for():
    argv = words(kvm=True)
    assert values(argv, "-accel") == ["kvm"]
    assert values(argv, "-cpu") == ["host"]
    assert values(words(CONFIG | {"cpu": "cputype=max"}, kvm=True), "-cpu") == ["max"]
    assert values(words(CONFIG | {"cpu": "x86-64-v2-AES"}, kvm=True), "-cpu") == ["host"]


def test_an_emulated_cpu_has_all_that_can_be_emulated_whatever_is_asked():
    for cpu in ("host", "max", "x86-64-v2-AES", "qemu64"):
        assert values(words(CONFIG | {"cpu": cpu}), "-cpu") == ["max,la57=off"]


def test_what_a_bare_vm_gets():
    argv = words({"name": "bare"}, {})
    assert values(argv, "-machine") == ["pc"]
    assert values(argv, "-m") == ["512M"]
    assert values(argv, "-smp") == ["1,sockets=1,cores=1"]
    assert values(argv, "-vga") == ["std"]
    assert values(argv, "-device") == [{"driver": "lsi53c895a", "id": "scsihw"}]
    for absent in ("-drive", "-serial", "-chardev", "-smbios", "-netdev", "-blockdev"):
        assert absent not in argv


def test_firmware_without_a_disk_for_its_variables():
    without = {slot: file for slot, file in DISKS.items() if slot != "efidisk0"}
    assert values(words(disks=without), "-drive")[1].endswith("format=raw,readonly=off,file=/g/variables.fd")


def test_a_comma_in_a_path_of_the_firmware_ends_no_option():
    argv = words(disks=DISKS | {"efidisk0": "/a,b/vars.qcow2"})
    assert values(argv, "-drive")[1] == "if=pflash,unit=1,format=qcow2,readonly=off,file=/a,,b/vars.qcow2"


def test_a_silent_agent_has_no_channel():
    for agent in ("0", "enabled=0,type=virtio"):
        assert "qga" not in devices(words(CONFIG | {"agent": agent}))
    assert "qga" in devices(words(CONFIG | {"agent": "enabled=1"}))


def test_other_disks_and_cards():
    config = CONFIG | {
        "virtio0": "local:100/vm-100-disk-2.raw,size=1G",
        "sata0": "local:iso/other.iso,media=cdrom",
        "net0": "e1000=BC:24:11:00:00:02,bridge=vmbr0,tag=5",
        "boot": "order=virtio0;net0;scsi0",
    }
    argv = words(config, DISKS | {"virtio0": "/s/d2.raw", "sata0": "/s/other.iso"})
    found = devices(argv)
    assert found["virtio0"] == {
        "id": "virtio0",
        "drive": "virtio0",
        "driver": "virtio-blk-pci",
        "bootindex": 0,
    }
    assert found["sata0"]["driver"] == "ide-cd"
    assert found["scsi0"]["bootindex"] == 2
    assert (found["net0"]["driver"], found["net0"]["mac"]) == ("e1000", "bc:24:11:00:00:02")
    assert [b["driver"] for b in values(argv, "-blockdev")] == ["raw", "qcow2", "raw", "raw"]


def test_devices_that_are_left_out():
    argv = words(without=frozenset({"net0", "scsi1"}))
    assert {"net0", "scsi1"} & set(devices(argv)) == set()
    assert "-netdev" not in argv
    assert len(values(argv, "-blockdev")) == 1


def test_cards_of_a_machine_without_express_ports_are_placed_by_qemu():
    config = {key: value for key, value in CONFIG.items() if key != "machine"}
    found = devices(words(config))
    assert "bus" not in found["net0"]
    assert "port0" not in found


def test_property_strings():
    assert properties("1,fstrim_cloned_disks=1", "enabled") == {"enabled": "1", "fstrim_cloned_disks": "1"}
    assert properties("", "enabled") == {}
    assert properties(2048, "current") == {"current": "2048"}
    assert boot_order({"boot": "order=scsi0;net0"}) == ["scsi0", "net0"]
    assert boot_order({}) == []


def test_cards_are_qemus_devices():
    plan = GuestPlan(100, "vm-a", dict(CONFIG), DISKS, passed=("secondary-vga", "secondary-vga"))
    argv = GuestCommand(plan, Machine(False, CODE, "/g/variables.fd"), {"net0": "tap100i0"}).argv()
    found = devices(argv)
    assert found["passed0"] == {"driver": "secondary-vga", "id": "passed0"}
    assert found["passed1"] == {"driver": "secondary-vga", "id": "passed1"}
    assert "passed0" not in devices(words())
