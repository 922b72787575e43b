"""Named faults, and the parts of the API that no recording holds."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from localai_deploy.sandbox.body import BareBody
from tests.unit.sandbox.talking import IMAGE, Reply, Talk, example

VM = {"kvm": 0, "memory": 64, "machine": "q35", "ostype": "l26"}
QEMU = "/nodes/pve1/qemu"


@pytest.fixture
def talk() -> Iterator[Talk]:
    sandbox = example()
    credentials = sandbox.start()
    yield Talk(sandbox, credentials)
    sandbox.stop()


def create(talk: Talk, vmid: int = 200, **options: object) -> Reply:
    return talk("POST", QEMU, {"vmid": vmid, **VM, **options})


@pytest.mark.parametrize(
    ("name", "status"), [("401", 401), ("403", 403), ("500", 500), ("503", 503), ("595", 595)]
)
def test_refusals_strike_once(talk: Talk, name: str, status: int) -> None:
    talk.sandbox.site.faults.add(name, "GET /version")
    assert talk("GET", "/nodes").status == 200
    assert talk("GET", "/version").status == status
    assert talk("GET", "/version").status == 200


def test_reset_before_the_call_changes_nothing(talk: Talk) -> None:
    talk.sandbox.site.faults.add("reset-before", "POST /pools")
    with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
        talk("POST", "/pools", poolid="localai")
    assert talk("GET", "/pools").data == []


def test_reset_after_success(talk: Talk) -> None:
    talk.sandbox.site.faults.add("reset-after-success", "POST /pools")
    with pytest.raises((ConnectionError, http.client.HTTPException, ssl.SSLError)):
        talk("POST", "/pools", poolid="localai")
    assert talk("GET", "/pools").data == [{"poolid": "localai"}]


def test_time_out_after_success(talk: Talk) -> None:
    talk.sandbox.site.faults.add("timeout-after-success", "POST /pools")
    connection = http.client.HTTPSConnection(*talk.sandbox.address, context=talk.context, timeout=0.5)
    headers = {**talk.headers, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/api2/json/pools", "poolid=localai", headers)
    with pytest.raises(TimeoutError):
        connection.getresponse()
    assert talk("GET", "/pools").data == [{"poolid": "localai"}]


def test_lost_task(talk: Talk) -> None:
    talk.sandbox.site.faults.add("task-lost", "task qmcreate 200")
    reply = talk("POST", QEMU, {"vmid": 200, **VM}, wait=False)
    status = talk("GET", f"/nodes/pve1/tasks/{reply.data}/status")
    assert (status.status, status.errors) == (400, {"upid": "no such task"})


def test_storage_full_in_mid_import(talk: Talk) -> None:
    talk.sandbox.site.faults.add("storage-full", "import")
    reply = create(talk, scsi0=f"local:0,import-from={IMAGE}")
    assert (reply.exitstatus or "").endswith("failed: exit code 1")
    assert create(talk, scsi0=f"local:0,import-from={IMAGE}").exitstatus == "OK"


def test_id_race(talk: Talk) -> None:
    talk.sandbox.site.faults.add("id-race", "create 200")
    reply = create(talk)
    assert reply.reason == "unable to create VM 200 - VM 200 already exists on node 'pve1'"
    assert talk("GET", "/cluster/nextid").data == "100"


def test_four_creates_of_one_id(talk: Talk) -> None:
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(create(talk, 300))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reply.status for reply in replies) == [200, 500, 500, 500]


def test_agent(talk: Talk) -> None:
    create(talk, agent="1")
    talk("POST", f"{QEMU}/200/status/start")
    body = talk.sandbox.site.cluster.vms[200].body
    assert isinstance(body, BareBody)
    body.network = [{"name": "lo", "hardware-address": "00:00:00:00:00:00"}]
    body.answers = {
        "ping": {},
        "exec": 7,
        "exec-status": {"exited": 1, "exitcode": 0, "out-data": "hello\n"},
        "file-read": lambda given: f"content of {given['file']}".encode(),
        "file-write": None,
    }
    agent = f"{QEMU}/200/agent"
    assert talk("POST", f"{agent}/ping").data == {"result": {}}
    assert talk("GET", f"{agent}/network-get-interfaces").data == {"result": body.network}
    assert talk("POST", f"{agent}/exec", [("command", "echo"), ("command", "hello")]).data == {"pid": 7}
    assert talk("GET", f"{agent}/exec-status", pid=7).data["exitcode"] == 0
    assert talk("GET", f"{agent}/file-read", file="/etc/x").data == {"content": "content of /etc/x"}
    assert talk("POST", f"{agent}/file-write", file="/etc/x", content="y").data is None
    talk.sandbox.site.faults.add("agent-missing", "agent 200 ping")
    assert talk("POST", f"{agent}/ping").reason == "QEMU guest agent is not running"


def test_iso_lifecycle(talk: Talk) -> None:
    content = b"\x00CD001" * 500
    path = "/nodes/pve1/storage/local"
    reply = talk.upload(f"{path}/upload", {"content": "iso"}, "cidata.iso", content)
    assert (reply.exitstatus, reply.log[-2]) == ("OK", "finished file import successfully")
    volume = talk.sandbox.site.cluster.volumes["local:iso/cidata.iso"]
    assert Path(volume.file or "").read_bytes() == content
    create(talk, scsi2="local:iso/cidata.iso,media=cdrom")
    talk("POST", f"{QEMU}/200/status/start")
    assert talk("PUT", f"{QEMU}/200/config", delete="scsi2").status == 200
    assert "scsi2" not in talk("GET", f"{QEMU}/200/config", current=1).data
    assert talk("DELETE", f"{path}/content/local:iso/cidata.iso").exitstatus == "OK"
    assert not Path(volume.file or "").exists()


def test_pool(talk: Talk) -> None:
    assert talk("POST", "/pools", poolid="localai", comment="ours").status == 200
    assert create(talk, pool="nosuch").reason == "pool 'nosuch' does not exist"
    create(talk, pool="localai", name="vm-a")
    assert [m["vmid"] for m in talk("GET", "/pools/localai").data["members"]] == [200]
    full = talk("DELETE", "/pools/localai")
    assert (full.status, full.reason) == (500, "delete pool failed: pool 'localai' is not empty")
    talk("DELETE", f"{QEMU}/200")
    assert talk("DELETE", "/pools/localai").status == 200


def test_a_pool_is_enough_to_create_in_it(talk: Talk) -> None:
    talk("POST", "/pools", poolid="localai")
    talk("PUT", "/access/acl", {"path": "/vms", "roles": "Tool", "users": "tool@pve", "delete": 1})
    talk(
        "POST",
        "/access/roles",
        roleid="InPool",
        privs="VM.Allocate,VM.Audit,VM.Config.CPU,VM.Config.Memory,"
        "VM.Config.HWType,VM.Config.Options,VM.PowerMgmt",
    )
    talk("PUT", "/access/acl", {"path": "/pool/localai", "roles": "InPool", "users": "tool@pve"})
    tool = talk.as_token("tool@pve!prov")
    assert create(tool).reason == "Permission check failed"
    assert create(tool, pool="localai").exitstatus == "OK"
    assert tool("POST", f"{QEMU}/200/status/start").exitstatus == "OK"
    create(talk, 201)
    refused = tool("POST", f"{QEMU}/201/status/start")
    assert refused.reason == "Permission check failed (/vms/201, VM.PowerMgmt)"


def test_credentials_are_new_at_each_start_and_requests_are_logged(talk: Talk) -> None:
    other = example().start()
    assert other.token_secret != talk.credentials.token_secret
    assert other.root_password != talk.credentials.root_password
    talk("GET", "/version")
    assert talk.sandbox.site.requests[-1] == ("GET", "/version", 200)
