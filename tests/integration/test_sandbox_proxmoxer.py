"""The sandbox through proxmoxer, as any client of the real server would use it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.server import Credentials, Sandbox
from tests.unit.sandbox.talking import GPU0, IMAGE, example

proxmoxer = pytest.importorskip("proxmoxer")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Sandbox, Credentials, str]]:
    sandbox = example()
    credentials = sandbox.start()
    authority = tmp_path / "ca.pem"
    authority.write_text(sandbox.certificate.certificate_pem)
    yield sandbox, credentials, str(authority)
    sandbox.stop()


@pytest.fixture
def api(started: tuple[Sandbox, Credentials, str]) -> Any:
    sandbox, credentials, authority = started
    user, _, name = credentials.token_id.partition("!")
    host, port = sandbox.address
    return proxmoxer.ProxmoxAPI(
        host,
        port=port,
        user=user,
        token_name=name,
        token_value=credentials.token_secret,
        verify_ssl=authority,
    )


def finish(sandbox: Sandbox, upid: str) -> str | None:
    assert sandbox.site.tasks.all[upid].ended.wait(10)
    return sandbox.site.tasks.all[upid].exitstatus


def test_password_login(started: tuple[Sandbox, Credentials, str]) -> None:
    sandbox, credentials, authority = started
    host, port = sandbox.address
    api = proxmoxer.ProxmoxAPI(
        host, port=port, user="root@pam", password=credentials.root_password, verify_ssl=authority
    )
    assert api.version.get()["version"] == "9.2.11"
    api.pools.post(poolid="localai")
    assert [pool["poolid"] for pool in api.pools.get()] == ["localai"]


def test_errors_carry_their_fields(api: Any) -> None:
    with pytest.raises(proxmoxer.ResourceException) as caught:
        api.nodes("pve1").qemu.post(vmid=99)
    assert caught.value.status_code == 400
    assert caught.value.errors == {"vmid": "invalid format - value does not look like a valid VM ID\n"}
    with pytest.raises(proxmoxer.ResourceException) as caught:
        api.nodes("pve1").qemu(999).config.get()
    assert caught.value.content == "Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"


def test_a_vm_from_image_to_agent(api: Any, started: tuple[Sandbox, Credentials, str]) -> None:
    sandbox = started[0]
    node = api.nodes("pve1")
    api.cluster.mapping.pci.post(id="card", map=[GPU0])
    upload = node.storage("local").upload.post(content="iso", filename=named("seed.iso", b"data"))
    assert finish(sandbox, upload) == "OK"
    created = node.qemu.post(
        vmid=100, name="vm-a", machine="q35", bios="ovmf", kvm=0, memory=512, agent="enabled=1",
        efidisk0="local:0,efitype=4m,pre-enrolled-keys=0", scsi0=f"local:0,import-from={IMAGE}",
        scsi1="local:iso/seed.iso,media=cdrom", net0="virtio,bridge=vmbr0", hostpci0="mapping=card,pcie=1",
    )  # fmt: skip
    assert finish(sandbox, created) == "OK"
    assert finish(sandbox, node.qemu(100).resize.put(disk="scsi0", size="8G")) == "OK"
    assert finish(sandbox, node.qemu(100).status.start.post()) == "OK"
    body = sandbox.site.cluster.vms[100].body
    assert isinstance(body, BareBody)
    body.answers = {"exec": 42, "exec-status": {"exited": 1, "exitcode": 0}}
    body.network = [{"name": "eth0", "hardware-address": "bc:24:11:00:00:01"}]
    assert node.qemu(100).agent.exec.post(command=["true"]) == {"pid": 42}
    assert node.qemu(100).agent("network-get-interfaces").get()["result"][0]["name"] == "eth0"
    assert finish(sandbox, node.qemu(100).status.stop.post()) == "OK"
    assert finish(sandbox, node.qemu(100).delete(purge=1)) == "OK"
    assert node.storage("local").content.get(content="images") == []


def named(name: str, content: bytes) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name
    return file
