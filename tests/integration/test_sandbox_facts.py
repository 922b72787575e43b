"""Every row of the facts about formats, answers and tasks, as one literal case each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.sandbox.talking import DIGEST, GPU0, IMAGE, Reply, Talk, example

VM = {"kvm": 0, "memory": 64, "machine": "q35", "ostype": "l26"}
QEMU = "/nodes/pve1/qemu"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDwTZKhpTxaifkK6r7GjjK/yfg2S544Rs2GsFwZDYN7V lab@pve"
DOWNLOAD = "/nodes/pve1/storage/local/download-url"
BAD = "Parameter verification failed."


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def talk(stack: ExitStack) -> Talk:
    return speak(stack, 9)


def speak(stack: ExitStack, major: int) -> Talk:
    sandbox = example(major)
    credentials = sandbox.start()
    stack.callback(sandbox.stop)
    return Talk(sandbox, credentials)


def create(talk: Talk, vmid: int = 200, **options: Any) -> Reply:
    return talk("POST", QEMU, {"vmid": vmid, **VM, **{k.replace("_", "-"): v for k, v in options.items()}})


def start(talk: Talk, vmid: int = 200) -> Reply:
    return talk("POST", f"{QEMU}/{vmid}/status/start")


def config(talk: Talk, vmid: int = 200) -> dict[str, Any]:
    return talk("GET", f"{QEMU}/{vmid}/config").data


def put(talk: Talk, vmid: int = 200, **options: Any) -> Reply:
    return talk("PUT", f"{QEMU}/{vmid}/config", **options)


class TestFormats:
    def test_pcie_needs_q35(self, talk: Talk) -> None:
        create(talk, hostpci0="mapping=gpu0,pcie=1", machine="pc")
        talk("PUT", f"{QEMU}/200/config", delete="machine")
        reply = start(talk)
        assert reply.status == 200
        assert (reply.exitstatus or "").startswith("q35 machine model is not enabled at ")

    def test_mapping_path_is_full(self, talk: Talk) -> None:
        short = talk(
            "POST", "/cluster/mapping/pci", {"id": "aa", "map": "node=pve1,path=01:00.0,id=10de:2684"}
        )
        assert short.errors == {
            "map[0]": "invalid format - format error\nmap[0].path: value does not match the regex pattern\n"
        }
        whole = GPU0.replace("01:00.0", "01:00")
        assert talk("POST", "/cluster/mapping/pci", {"id": "slot", "map": whole}).status == 200
        create(talk, hostpci0="mapping=slot,pcie=1")
        assert start(talk).exitstatus == "OK"
        assert talk.sandbox.site.cluster.vms[200].devices == ["0000:01:00.0", "0000:01:00.1"]

    def test_mapping_without_group_is_taken_and_fails_at_start(self, talk: Talk) -> None:
        entry = "node=pve1,path=0000:02:00.0,id=10de:2684"
        assert talk("POST", "/cluster/mapping/pci", {"id": "bare", "map": entry}).status == 200
        create(talk, hostpci0="mapping=bare,pcie=1")
        text = (
            "PCI device mapping invalid (hardware probably changed): missing expected property 'iommugroup'"
        )
        assert (start(talk).exitstatus or "").startswith(text)

    def test_mapping_is_checked_on_request_only(self, talk: Talk) -> None:
        talk("POST", "/cluster/mapping/pci", {"id": "gone", "map": GPU0.replace("01:00.0", "09:00.0")})
        listed = {m["id"]: m for m in talk("GET", "/cluster/mapping/pci", check_node="pve1").data}
        assert listed["gpu0"]["checks"] == []
        assert listed["gone"]["checks"] == [
            {"severity": "error", "message": "Invalid configuration: pci device '0000:09:00.0' not found\n"}
        ]
        assert "checks" not in talk("GET", "/cluster/mapping/pci").data[0]

    def test_mapping_ids_have_two_characters(self, talk: Talk) -> None:
        reply = talk("POST", "/cluster/mapping/pci", {"id": "x", "map": GPU0})
        assert reply.errors == {"id": "invalid format - invalid configuration ID 'x'\n"}

    def test_map_repeats(self, talk: Talk) -> None:
        pairs = [("id", "pair"), ("map", GPU0), ("map", GPU0.replace("01:00", "02:00").replace("=14", "=15"))]
        assert talk("POST", "/cluster/mapping/pci", pairs).status == 200
        assert len(talk("GET", "/cluster/mapping/pci/pair").data["map"]) == 2

    def test_efidisk(self, talk: Talk) -> None:
        create(talk, efidisk0="local:0,efitype=4m,pre-enrolled-keys=0")
        assert (
            config(talk)["efidisk0"] == "local:200/vm-200-disk-0.raw,efitype=4m,pre-enrolled-keys=0,size=528K"
        )

    def test_import_needs_the_zero(self, talk: Talk) -> None:
        assert create(talk, scsi0=f"local:0,import-from={IMAGE}").exitstatus == "OK"
        assert config(talk)["scsi0"] == "local:200/vm-200-disk-0.qcow2,size=2G"
        assert create(talk, 201, scsi0=f"local,import-from={IMAGE}").status == 400

    @pytest.mark.parametrize(
        ("content", "name", "errors"),
        [
            ("import", "b.img", {"filename": "invalid filename or wrong extension"}),
            ("iso", "b.qcow2", {"filename": "wrong file extension"}),
            ("import", "b.qcow2", {}),
            ("import", "b.raw", {}),
            ("iso", "b.img", {}),
        ],
    )
    def test_download_names(self, talk: Talk, content: str, name: str, errors: dict[str, str]) -> None:
        reply = talk("POST", DOWNLOAD, content=content, filename=name, url="http://mirror/debian.qcow2")
        assert (reply.status, reply.errors) == ((400, errors) if errors else (200, {}))

    def test_download_with_the_same_checksum_fetches_nothing(self, talk: Talk) -> None:
        options = {"content": "import", "filename": "debian.qcow2", "checksum": DIGEST}
        reply = talk("POST", DOWNLOAD, url="http://mirror/nope", checksum_algorithm="sha256", **options)
        assert reply.exitstatus == "OK"
        assert reply.log[1] == (
            "calculating checksum of existing file...OK, got correct file already, no need to download"
        )

    def test_sshkeys_are_encoded(self, talk: Talk) -> None:
        plain = create(talk, sshkeys=KEY)
        assert (plain.status, plain.reason, list(plain.errors)) == (400, BAD, ["sshkeys"])
        assert create(talk, sshkeys=quote(KEY, safe="")).status == 200
        assert config(talk)["sshkeys"] == quote(KEY, safe="")
        assert create(talk, 201, sshkeys="not%20a%20key").status == 500

    @pytest.mark.parametrize(
        ("value", "status"),
        [("ip=10.0.0.5/24,gw=10.0.0.1", 200), ("ip=dhcp", 200), ("gw=10.0.0.1", 400), ("ip=10.0.0.5", 400)],
    )
    def test_ipconfig(self, talk: Talk, value: str, status: int) -> None:
        assert create(talk, ipconfig0=value).status == status

    def test_agent(self, talk: Talk) -> None:
        create(talk, agent="1,fstrim_cloned_disks=1,type=virtio")
        assert config(talk)["agent"] == "1,fstrim_cloned_disks=1,type=virtio"

    def test_snippets_are_not_uploaded_and_are_missed_at_start(self, talk: Talk) -> None:
        reply = talk.upload(
            "/nodes/pve1/storage/local/upload", {"content": "snippets"}, "u.yaml", b"#cloud-config"
        )
        assert reply.errors == {
            "content": "value 'snippets' does not have a value in the enumeration 'iso, vztmpl, import'"
        }
        assert create(talk, cicustom="user=local:snippets/u.yaml", scsi1="local:cloudinit").status == 200
        assert start(talk).exitstatus == "volume 'local:snippets/u.yaml' does not exist"

    @pytest.mark.parametrize(("major", "status"), [(7, 400), (8, 200), (9, 200)])
    def test_ciupgrade(self, stack: ExitStack, major: int, status: int) -> None:
        assert create(speak(stack, major), ciupgrade=0).status == status

    def test_booleans_are_digits(self, talk: Talk) -> None:
        assert create(talk, onboot="True").errors == {"onboot": "type check ('boolean') failed - got 'True'"}

    def test_cloudinit_drive_moves_in_two_steps(self, talk: Talk) -> None:
        create(talk, ide2="local:cloudinit")
        assert config(talk)["ide2"] == "local:200/vm-200-cloudinit.qcow2,media=cdrom"
        assert put(talk, delete="ide2").status == 200
        assert put(talk, scsi1="local:cloudinit").status == 200
        assert config(talk)["scsi1"] == "local:200/vm-200-cloudinit.qcow2,media=cdrom"
        assert start(talk).log[0] == "generating cloud-init ISO"


class TestAnswers:
    def test_bad_parameter(self, talk: Talk) -> None:
        reply = create(talk, cores=0)
        assert (reply.status, reply.reason) == (400, BAD)
        assert reply.body == {
            "data": None,
            "message": f"{BAD}\n",
            "errors": {"cores": "value must have a minimum value of 1"},
        }

    def test_old_release_has_no_message(self, stack: ExitStack) -> None:
        reply = create(speak(stack, 7), cores=0)
        assert reply.body == {"data": None, "errors": {"cores": "value must have a minimum value of 1"}}

    def test_no_permission(self, talk: Talk) -> None:
        talk("PUT", "/access/roles/Tool", privs="VM.Audit")
        create(talk)
        tool = talk.as_token("tool@pve!prov")
        refused = start(tool)
        assert (refused.status, refused.reason) == (403, "Permission check failed (/vms/200, VM.PowerMgmt)")
        plain = create(tool, 201)
        assert (plain.status, plain.reason) == (403, "Permission check failed")

    @pytest.mark.parametrize(
        ("major", "reason"),
        [(7, "invalid token value!"), (8, "Authentication failed!"), (9, "Authentication failed!")],
    )
    def test_bad_token(self, stack: ExitStack, major: int, reason: str) -> None:
        talk = speak(stack, major)
        talk.headers = {"Authorization": "PVEAPIToken=root@pam!sandbox=nonsense"}
        reply = talk("GET", "/version")
        assert (reply.status, reply.reason, reply.body) == (401, reason, None)

    def test_wrong_password(self, talk: Talk) -> None:
        reply = talk("POST", "/access/ticket", username="root@pam", password="wrong")
        assert (reply.status, reply.reason) == (401, "authentication failure")

    def test_no_csrf(self, talk: Talk) -> None:
        ticket = talk.as_root_ticket()
        del ticket.headers["CSRFPreventionToken"]
        assert create(ticket).status == 401
        assert ticket("GET", "/version").status == 200

    def test_vmid_in_use(self, talk: Talk) -> None:
        create(talk, 320)
        reply = create(talk, 320)
        text = "unable to create VM 320 - VM 320 already exists on node 'pve1'"
        assert (reply.status, reply.reason) == (500, text)

    def test_vm_missing(self, talk: Talk) -> None:
        text = "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"
        reply = talk("GET", f"{QEMU}/999/config")
        assert (reply.status, reply.reason) == (500, text)
        task = start(talk, 999)
        assert (task.status, task.exitstatus) == (200, text)

    def test_vm_locked(self, talk: Talk) -> None:
        create(talk.as_root_ticket(), lock="backup")
        reply = put(talk, cores=2)
        assert (reply.status, reply.reason) == (500, "VM is locked (backup)")
        assert start(talk).exitstatus == "VM is locked (backup)"
        assert talk("DELETE", f"{QEMU}/200").exitstatus == "VM is locked (backup)"
        assert talk("POST", f"{QEMU}/200/status/stop").exitstatus == "OK"

    def test_pci_busy(self, talk: Talk) -> None:
        for vmid in (100, 101):
            create(talk, vmid, hostpci0="mapping=gpu0,pcie=1")
        assert start(talk, 100).exitstatus == "OK"
        assert start(talk, 101).exitstatus == "PCI device '0000:01:00.0' already in use by VMID '100'"
        for vmid in (102, 103):
            create(talk, vmid, hostpci0="mapping=both,pcie=1")
        assert start(talk, 102).exitstatus == "OK"
        assert start(talk, 103).exitstatus == "could not find a free device for 'hostpci0'"

    def test_mapping_unknown_or_changed(self, talk: Talk) -> None:
        create(talk, 100, hostpci0="mapping=nosuch,pcie=1")
        assert start(talk, 100).exitstatus == "PCI device mapping not found for 'nosuch'"
        talk.sandbox.site.cluster.nodes["pve1"].pci_devices[0]["device"] = "0x2204"
        create(talk, 101, hostpci0="mapping=gpu0,pcie=1")
        assert start(talk, 101).exitstatus == (
            "PCI device mapping invalid (hardware probably changed): "
            "'id' does not match for 'gpu0' (10de:2204 != 10de:2684) "
        )

    def test_no_iommu(self, talk: Talk) -> None:
        talk.sandbox.site.cluster.nodes["pve1"].iommu = False
        create(talk, hostpci0="mapping=gpu0,pcie=1")
        assert start(talk).exitstatus == "cannot prepare PCI pass-through, IOMMU not present"

    def test_no_kvm(self, talk: Talk) -> None:
        create(talk, kvm=1)
        assert (start(talk).exitstatus or "").startswith("KVM virtualisation configured, but not available. ")

    def test_storage_unknown_disabled_or_without_images(self, talk: Talk) -> None:
        unknown = create(talk, scsi0="nosuch:1")
        assert (unknown.status, unknown.reason) == (500, "storage 'nosuch' does not exist")
        assert create(talk, scsi0="off:1").exitstatus == "unable to create VM 200 - storage 'off' is disabled"
        assert create(talk, scsi0="iso:1").errors == {"storage": "storage 'iso' does not support vm images"}

    def test_storage_full_is_found_by_the_import(self, talk: Talk) -> None:
        talk.sandbox.site.cluster.storages["local"].avail = 1 << 20
        reply = create(talk, scsi0=f"local:0,import-from={IMAGE}")
        assert reply.status == 200
        assert (reply.exitstatus or "").endswith("failed: exit code 1")
        assert any("No space left on device" in line for line in reply.log)
        assert talk("GET", f"{QEMU}/200/config").status == 500

    @pytest.mark.parametrize(
        ("url", "options", "end"),
        [
            ("http://mirror/nope", {}, "download failed: exit code 8"),
            (
                "http://nosuch.invalid/x",
                {},
                "download failed: wget: unable to resolve host address 'nosuch.invalid'",
            ),
            (
                "http://mirror/debian.qcow2",
                {"checksum": "0" * 64, "checksum_algorithm": "sha256"},
                f"checksum mismatch: got '{DIGEST}' != expect '{'0' * 64}'",
            ),
            (
                "http://mirror/debian.qcow2",
                {"filename": "debian.qcow2"},
                "refusing to override existing file '/var/lib/vz/import/debian.qcow2'",
            ),
        ],
    )
    def test_download(self, talk: Talk, url: str, options: dict[str, str], end: str) -> None:
        reply = talk("POST", DOWNLOAD, **{"content": "import", "filename": "n.qcow2", "url": url, **options})
        assert (reply.status, reply.exitstatus) == (200, end)

    def test_node_offline_or_unknown(self, talk: Talk) -> None:
        for node, reason in (("pve2", "No route to host"), ("pve3", "Connection refused")):
            reply = talk("GET", f"/nodes/{node}/status")
            assert (reply.status, reply.reason, reply.body) == (595, reason, None)
        unknown = talk("GET", "/nodes/x/status")
        assert unknown.status == 500
        assert unknown.reason.startswith("hostname lookup 'x' failed - ")

    def test_unknown_path(self, talk: Talk) -> None:
        reply = talk("GET", "/x")
        assert (reply.status, reply.reason) == (501, "Method 'GET /x' not implemented")

    def test_delete(self, talk: Talk) -> None:
        create(talk, 100)
        start(talk, 100)
        running = talk("DELETE", f"{QEMU}/100")
        assert (running.status, running.reason) == (500, "VM 100 is running - destroy failed")
        create(talk, 802, protection=1)
        protected = talk("DELETE", f"{QEMU}/802")
        assert (protected.status, protected.reason) == (500, "can't remove VM 802 - protection mode enabled")

    def test_agent(self, talk: Talk) -> None:
        ping = f"{QEMU}/100/agent/ping"
        create(talk, 100)
        assert talk("POST", ping).reason == "No QEMU guest agent configured"
        put(talk, 100, agent=1)
        assert talk("POST", ping).reason == "VM 100 is not running"
        start(talk, 100)
        silent = talk("POST", ping)
        assert (silent.status, silent.reason) == (500, "QEMU guest agent is not running")

    @pytest.mark.parametrize(("major", "word"), [(7, "missmatch"), (8, "mismatch"), (9, "mismatch")])
    def test_stale_digest(self, stack: ExitStack, major: int, word: str) -> None:
        talk = speak(stack, major)
        create(talk)
        reply = put(talk, cores=2, digest="0" * 40)
        assert (reply.status, reply.reason) == (500, f"checksum {word} (file change by other user?)")


class TestSurprises:
    """The list of surprises in the recorded conversations, where no recording is replayed for it."""

    @pytest.mark.parametrize("call", ["start", "stop"])
    def test_power_of_an_absent_vm_fails_in_the_task(self, talk: Talk, call: str) -> None:
        reply = talk("POST", f"{QEMU}/999/status/{call}")
        assert reply.status == 200
        assert "999" in (reply.exitstatus or "")

    def test_resize_of_an_absent_vm_fails_in_the_task(self, talk: Talk) -> None:
        reply = talk("PUT", f"{QEMU}/999/resize", disk="scsi0", size="1G")
        assert (reply.status, reply.exitstatus) == (
            200,
            "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist",
        )

    def test_reset_of_a_stopped_vm_fails_at_once(self, talk: Talk) -> None:
        create(talk)
        reply = talk("POST", f"{QEMU}/200/status/reset")
        assert (reply.status, reply.reason) == (500, "VM 200 not running")
        for call in ("shutdown", "stop"):
            assert talk("POST", f"{QEMU}/200/status/{call}").exitstatus == "OK"

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("ipconfig0", "ip=10.0.0.5/24,gw=192.168.0.1"),
            ("ipconfig0", "ip=dhcp,gw=10.0.0.1"),
            ("nameserver", "notanip"),
            ("sshkeys", ""),
            ("hostpci0", "mapping=nosuch"),
            ("tags", "x" * 300),
        ],
    )
    def test_accepted_without_complaint(self, talk: Talk, option: str, value: str) -> None:
        assert create(talk, **{option: value}).exitstatus == "OK"

    @pytest.mark.parametrize(
        ("major", "end"), [(8, "start failed: QEMU exited with code 1"), (9, "bridge 'vmbr9' does not exist")]
    )
    def test_unknown_bridge(self, stack: ExitStack, major: int, end: str) -> None:
        talk = speak(stack, major)
        assert create(talk, net0="virtio,bridge=vmbr9").exitstatus == "OK"
        assert start(talk).exitstatus == end

    def test_texts_and_deletes(self, talk: Talk) -> None:
        create(talk, tags="")
        assert config(talk)["tags"] == " "
        assert put(talk, delete="agent").status == 200
        assert put(talk, delete="nosuchkey").errors == {"delete": "unknown option 'nosuchkey'"}
        nothing = put(talk)
        assert (nothing.status, nothing.reason) == (500, "no options specified")

    @pytest.mark.parametrize(("major", "kind"), [(8, "sdn"), (9, "network")])
    def test_resources_carry_the_zone(self, stack: ExitStack, major: int, kind: str) -> None:
        entries = speak(stack, major)("GET", "/cluster/resources").data
        assert [entry["type"] for entry in entries if "localnetwork" in entry["id"]] == [kind]

    @pytest.mark.parametrize(("major", "refused"), [(8, "VM.GuestAgent.Audit"), (9, "VM.Monitor")])
    def test_privileges_of_the_other_release(self, stack: ExitStack, major: int, refused: str) -> None:
        reply = speak(stack, major)("POST", "/access/roles", roleid="R", privs=refused)
        assert reply.errors == {"privs": f"invalid format - invalid privilege '{refused}'\n"}


class TestTasks:
    def test_upid_and_status(self, talk: Talk) -> None:
        reply = create(talk)
        parts = reply.data.split(":")
        assert [parts[i] for i in (0, 1, 5, 6, 7, 8)] == [
            "UPID",
            "pve1",
            "qmcreate",
            "200",
            "root@pam!sandbox",
            "",
        ]
        assert [len(part) for part in parts[2:5]] == [8, 8, 8]
        status = talk("GET", f"/nodes/pve1/tasks/{reply.data}/status").data
        assert (status["status"], status["exitstatus"], status["user"], status["tokenid"]) == (
            "stopped",
            "OK",
            "root@pam",
            "sandbox",
        )

    def test_running_task_has_no_exitstatus(self, talk: Talk) -> None:
        talk.sandbox.site.pace.import_s = 0.5
        reply = talk("POST", QEMU, {"vmid": 200, **VM, "scsi0": f"local:0,import-from={IMAGE}"}, wait=False)
        status = talk("GET", f"/nodes/pve1/tasks/{reply.data}/status").data
        assert status["status"] == "running"
        assert "exitstatus" not in status
        assert set(config(talk)) == {"lock", "digest"}
        assert config(talk)["lock"] == "create"

    def test_warnings_are_no_error(self, talk: Talk) -> None:
        create(talk, bios="ovmf")
        reply = start(talk)
        assert reply.exitstatus == "WARNINGS: 1"
        assert reply.log[-2:] == (
            "WARN: no efidisk configured! Using temporary efivars disk.",
            "TASK WARNINGS: 1",
        )
        assert talk("GET", f"{QEMU}/200/status/current").data["status"] == "running"

    def test_log_limits(self, talk: Talk) -> None:
        reply = create(talk, scsi0=f"local:0,import-from={IMAGE}", efidisk0="local:0")
        task = talk.sandbox.site.tasks.all[reply.data]
        task.log[:0] = [f"line {n}" for n in range(60)]
        path = f"/nodes/pve1/tasks/{reply.data}/log"
        assert len(talk("GET", path).data) == 50
        assert len(talk("GET", path, limit=0).data) == len(task.log)
        assert talk("GET", path, start=2, limit=1).data == [{"n": 3, "t": "line 2"}]

    def test_token_sees_its_own_tasks_only(self, talk: Talk) -> None:
        mine, tool = create(talk, 100).data, talk.as_token("tool@pve!prov")
        own = create(tool, 101)
        assert own.status == 403
        refused = tool("GET", f"/nodes/pve1/tasks/{mine}/status")
        assert (refused.status, refused.reason) == (403, "Permission check failed (/nodes/pve1, Sys.Audit)")
        started = start(tool, 100)
        assert tool("GET", f"/nodes/pve1/tasks/{started.data}/status").status == 200
        assert [task["upid"] for task in tool("GET", "/nodes/pve1/tasks").data] == [started.data]

    def test_create_with_start_ends_well_though_the_start_fails(self, talk: Talk) -> None:
        reply = create(talk, kvm=1, start=1)
        assert reply.exitstatus == "OK"
        assert talk("GET", f"{QEMU}/200/status/current").data["status"] == "stopped"

    @pytest.mark.parametrize(("major", "is_task"), [(7, False), (8, True), (9, True)])
    def test_resize_answers_a_task(self, stack: ExitStack, major: int, is_task: bool) -> None:
        talk = speak(stack, major)
        create(talk, scsi0="local:1")
        reply = talk("PUT", f"{QEMU}/200/resize", disk="scsi0", size="3G")
        assert (reply.status, reply.data is not None) == (200, is_task)
        assert config(talk)["scsi0"].endswith(",size=3G")

    def test_fresh_vm_has_no_name_in_resources(self, talk: Talk) -> None:
        talk.sandbox.site.pace.status_round_s = 10
        create(talk, name="fresh", tags="ours")
        [entry] = talk("GET", "/cluster/resources", type="vm").data
        assert "name" not in entry
        assert "tags" not in entry
        assert config(talk)["tags"] == "ours"

    def test_stopped_create_cleans_up(self, talk: Talk) -> None:
        talk.sandbox.site.pace.import_s = 10
        reply = talk("POST", QEMU, {"vmid": 200, **VM, "scsi0": f"local:0,import-from={IMAGE}"}, wait=False)
        assert talk("DELETE", f"/nodes/pve1/tasks/{reply.data}").status == 200
        talk.finish(reply)
        assert reply.exitstatus != "OK"
        assert talk("GET", f"{QEMU}/200/config").status == 500
        assert talk("GET", "/nodes/pve1/storage/local/content", content="images").data == []

    def test_change_of_a_running_vm_is_pending(self, talk: Talk) -> None:
        create(talk)
        start(talk)
        put(talk, cores=4)
        assert {"key": "cores", "pending": 4} in talk("GET", f"{QEMU}/200/pending").data

    def test_nextid_reserves_nothing(self, talk: Talk) -> None:
        assert talk("GET", "/cluster/nextid").data == "100"
        assert talk("GET", "/cluster/nextid").data == "100"
        create(talk, 100)
        assert talk("GET", "/cluster/nextid").data == "101"
        assert talk("GET", "/cluster/nextid", vmid=100).errors == {"vmid": "VM 100 already exists"}
