"""Which VM may begin as a saved guest, which one that is, and what becomes of saved ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import replace

import pytest
import yaml

from localai_deploy.sandbox.body import AgentRefused, AgentSilent, GuestPlan, SourceImage
from localai_deploy.sandbox.guest_scripts import PREPARE, ScriptFailed, run_script, take_over
from localai_deploy.sandbox.neutral_seed import neutral_user_data, read_documents, write_neutral_disc
from localai_deploy.sandbox.resumption import NotResumable, Resumption, resumption_of
from localai_deploy.sandbox.saved_guest import SavedGuests, key_of

MISSING = [name for name in ("bsdtar", "blkid", "qemu-img") if shutil.which(name) is None]
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"commands are missing: {' '.join(MISSING)}")
MIB = 1 << 20
USER_DATA = """\
#cloud-config
hostname: vm-a
users:
- name: admin
  ssh_authorized_keys: [ssh-ed25519 AAAA]
package_update: true
package_upgrade: false
packages: [qemu-guest-agent, curl]
apt: {primary: [{uri: http://mirror}]}
runcmd: [[touch, /etc/mine]]
"""
CONFIG = {
    "machine": "q35",
    "bios": "ovmf",
    "agent": "1",
    "cores": 2,
    "memory": "1024",
    "scsihw": "virtio-scsi-single",
    "smbios1": "uuid=00000000-0000-4000-8000-000000000001",
    "vmgenid": "00000000-0000-4000-8000-000000000002",
    "efidisk0": "local:100/vm-100-disk-0.raw",
    "scsi0": "local:100/vm-100-disk-1.qcow2,size=6G",
    "scsi1": "local:iso/seed.iso,media=cdrom",
    "net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0",
}
IMAGE = SourceImage("a" * 64, 8 * MIB)
DOCUMENTS = {"user-data": USER_DATA, "meta-data": "instance-id: one\n", "network-config": "version: 2\n"}


@pytest.fixture
def plan(tmp_path):
    """A VM with its disks, as big as asked for, and a seed."""
    disk, variables, seed = tmp_path / "disk.qcow2", tmp_path / "vars.raw", tmp_path / "seed.iso"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, str(32 * MIB)], check=True)
    variables.write_bytes(b"\1" * 540672)
    write_neutral_disc(seed, yaml.safe_load(USER_DATA), "version: 2\n")
    disks = {"efidisk0": str(variables), "scsi0": str(disk), "scsi1": str(seed)}
    return GuestPlan(100, "vm-a", dict(CONFIG), disks, {"scsi0": IMAGE})


def virtual_size(file):
    done = subprocess.run(["qemu-img", "info", "--output=json", file], capture_output=True, check=True)
    return json.loads(done.stdout)["virtual-size"]


def test_a_neutral_seed_installs_and_knows_nobody():
    assert neutral_user_data(USER_DATA) == {
        "package_update": True,
        "package_upgrade": False,
        "apt": {"primary": [{"uri": "http://mirror"}]},
        "packages": ["qemu-guest-agent", "curl"],
        "users": [],
        "growpart": {"mode": "off"},
        "resize_rootfs": False,
        "runcmd": [["systemctl", "enable", "--now", "qemu-guest-agent"]],
    }


@pytest.mark.parametrize(
    "text", ["", "#!/bin/sh\necho\n", "#cloud-config\n- a\n", "#cloud-config\n{", "packages: [x]"]
)
def test_what_cannot_be_read_still_gives_the_agent(text):
    assert neutral_user_data(text)["packages"] == ["qemu-guest-agent"]
    assert neutral_user_data(text)["package_update"] is True


@needs_tools
def test_a_seed_disc_is_read_as_it_was_written(tmp_path):
    write_neutral_disc(tmp_path / "seed.iso", {"users": []}, "version: 2\n")
    assert read_documents(tmp_path / "seed.iso") == {
        "meta-data": "instance-id: saved\nlocal-hostname: localhost\n",
        "user-data": "#cloud-config\nusers: []\n",
        "network-config": "version: 2\n",
    }
    write_neutral_disc(tmp_path / "other.iso", {}, None)
    assert set(read_documents(tmp_path / "other.iso")) == {"meta-data", "user-data"}


@needs_tools
def test_a_vm_that_can_be_resumed(plan):
    wanted = resumption_of(plan)
    assert wanted.plugged == {"scsi1", "net0"}
    assert wanted.macs == ["bc:24:11:00:00:01"]
    assert wanted.documents["network-config"] == "version: 2\n"


@needs_tools
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"images": {}}, "an image that no guest has written to"),
        ({"config": CONFIG | {"bios": "seabios"}}, "bios=ovmf"),
        ({"config": CONFIG | {"machine": "pc"}}, "machine=q35"),
        ({"config": CONFIG | {"agent": "0"}}, "agent is not enabled"),
    ],
)
def test_what_has_to_be_booted(plan, change, why):
    with pytest.raises(NotResumable, match=why):
        resumption_of(replace(plan, **change))


@needs_tools
def test_other_disks_and_missing_ones(plan):
    with pytest.raises(NotResumable, match="SCSI disks only, this one has virtio0"):
        resumption_of(replace(plan, disks=plan.disks | {"virtio0": "/x.raw"}))
    with pytest.raises(NotResumable, match="have an efidisk0"):
        resumption_of(replace(plan, disks={k: v for k, v in plan.disks.items() if k != "efidisk0"}))
    with pytest.raises(NotResumable, match="no seed"):
        resumption_of(replace(plan, disks={k: v for k, v in plan.disks.items() if k != "scsi1"}))


def key(config=CONFIG, *, documents=DOCUMENTS, image=IMAGE, qemu="QEMU 7.2", kvm=False):
    disks = {"efidisk0": "/v.raw", "scsi0": "/d.qcow2", "scsi1": "/seed.iso"}
    plan = GuestPlan(100, "vm-a", config, disks, {"scsi0": image})
    return Resumption(plan, image, documents).key(qemu, kvm=kvm)


def test_what_is_only_the_vm_s_own_changes_no_key():
    own = {
        "smbios1": "uuid=x",
        "vmgenid": "y",
        "net0": "virtio=BC:24:11:00:00:09,bridge=vmbr1",
        "scsi0": "other:200/d.qcow2,size=99G",
        "name": "b",
        "description": "c",
    }
    other_user = USER_DATA.replace("admin", "me").replace("vm-a", "vm-b").replace("/etc/mine", "/etc/yours")
    assert key(CONFIG | own, documents=DOCUMENTS | {"user-data": other_user}) == key()


@pytest.mark.parametrize(
    "other",
    [
        {"config": CONFIG | {"cores": 4}},
        {"config": CONFIG | {"memory": "2048"}},
        {"config": CONFIG | {"vga": "serial0"}},
        {"documents": DOCUMENTS | {"user-data": USER_DATA.replace("curl", "wget")}},
        {"image": SourceImage("b" * 64, 8 * MIB)},
        {"qemu": "QEMU 10.0"},
        {"kvm": True},
    ],
)
def test_what_shapes_the_saved_guest_changes_the_key(other):
    assert key(**other) != key()


@needs_tools
def test_the_guest_that_is_saved_has_the_image_s_disk_and_nobody_s_seed(plan, tmp_path):
    (tmp_path / "cache").mkdir()
    wanted = resumption_of(plan)
    with SavedGuests(tmp_path / "cache").making("k", lambda: None) as empty:
        boot = wanted.boot_plan(empty)
        assert virtual_size(empty.disk) == 8 * MIB
        assert virtual_size(plan.disks["scsi0"]) == 32 * MIB
        assert empty.variables.read_bytes() == b"\1" * 540672
        documents = read_documents(empty.folder / "seed.iso")
        assert "admin" not in documents["user-data"]
        assert documents["network-config"] == "version: 2\n"
        assert set(boot.disks) == {"scsi0", "efidisk0", "scsi1"}
        assert boot.config["net0"] == CONFIG["net0"]
        assert "000000000001" not in boot.config["smbios1"]


def fill(guests, name):
    with guests.making(name, lambda: None) as empty:
        assert empty is not None
        empty.memory.write_text(name)


def test_a_guest_counts_as_saved_when_it_is_whole(tmp_path):
    guests = SavedGuests(tmp_path / "cache")
    assert guests.find("k") is None

    def break_off():
        with guests.making("k", lambda: None) as empty:
            empty.memory.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert guests.find("k") is None
    fill(guests, "k")
    assert guests.find("k").memory.read_text() == "k"
    with guests.making("k", lambda: None) as again:
        assert again is None


def test_the_ones_not_used_for_longest_go(tmp_path):
    guests = SavedGuests(tmp_path)
    for age, name in enumerate(("a", "b", "c")):
        fill(guests, name)
        os.utime(guests.find(name).memory, (1000 + age, 1000 + age))
    assert guests.find("a")
    fill(guests, "d")
    assert [name for name in "abcd" if (tmp_path / name).exists()] == ["a", "c", "d"]


def test_two_do_not_make_the_same_one(tmp_path):
    guests, order = SavedGuests(tmp_path), []

    def second():
        with guests.making("k", lambda: None) as empty:
            order.append(empty)

    with guests.making("k", lambda: None) as empty:
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        assert order == []
        empty.memory.write_text("k")
    thread.join(5)
    assert order == [None]


def test_waiting_for_another_can_be_given_up(tmp_path):
    guests = SavedGuests(tmp_path)

    def give_up():
        raise InterruptedError

    with guests.making("k", lambda: None), pytest.raises(InterruptedError), guests.making("k", give_up):
        pass


def test_keys_are_names_of_folders():
    assert key_of({"a": 1}) != key_of({"a": 2})
    assert key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1})
    assert len(key()) == 16


@pytest.mark.parametrize(
    "script", [PREPARE, take_over("ab" * 16, ["bc:24:11:00:00:01", "bc:24:11:00:00:02"], 5)]
)
def test_scripts_are_posix_shell(script):
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_take_over_has_what_a_saved_guest_cannot_know():
    script = take_over("ab" * 16, ["bc:24:11:00:00:01", "bc:24:11:00:00:02"], 1_800_000_000)
    assert "date --utc --set=@1800000000 " in script
    assert f"echo {'ab' * 16} > /etc/machine-id" in script
    assert "for mac in bc:24:11:00:00:01 bc:24:11:00:00:02; do" in script


class Agent:
    """Plays answers to exec-status."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, command, arguments):
        self.asked.append((command, arguments))
        if command == "exec":
            return 7
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_script_is_run_to_its_end():
    agent = Agent({"exited": 0}, AgentSilent(), {"exited": 1, "exitcode": 0, "out-data": "done\n"})
    assert run_script(agent, "true", 5) == "done\n"
    assert agent.asked[0] == ("exec", {"command": ["/bin/sh", "-c", "true"]})
    assert agent.asked[1] == ("exec-status", {"pid": 7})


def test_a_script_that_fails_says_how():
    with pytest.raises(ScriptFailed, match="no seed"):
        run_script(Agent({"exited": 1, "exitcode": 1, "err-data": "no seed\n"}), "false", 5)
    with pytest.raises(ScriptFailed, match="it ended with 3"):
        run_script(Agent({"exited": 1, "exitcode": 3}), "exit 3", 5)
    with pytest.raises(ScriptFailed, match="unknown pid"):
        run_script(Agent(AgentRefused("unknown pid")), "true", 5)
    with pytest.raises(ScriptFailed, match="did not end within 0 s"):
        run_script(Agent({"exited": 0}, {"exited": 0}), "sleep 9", 0)
