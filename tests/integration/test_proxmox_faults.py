"""The client against the embedded node while things go wrong: what is repeated, told, and left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection, parse_fingerprint
from localai_deploy.domain.pve.images import CloudImage
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.client import PAUSES_S, PveClient
from localai_deploy.proxmox.images import ImageStore
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.sandbox.fetching import Fetched
from localai_deploy.sandbox.server import Sandbox
from localai_deploy.sandbox.state import Node
from tests.unit.sandbox.talking import DIGEST, IMAGE, example

VM = {"kvm": 0, "memory": 64, "machine": "q35", "ostype": "l26"}
QEMU = "nodes/pve1/qemu"
DOWNLOAD = "POST /nodes/pve1/storage/local/download-url"
WANTED = CloudImage("http://images.example/debian.qcow2", "debian-13.qcow2", DIGEST, "sha256")
VOLUME = "local:import/debian-13.qcow2"


@pytest.fixture(params=[8, 9])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    sandbox = example(request.param)
    sandbox.site.cluster.nodes["pve4"] = Node("pve4")
    with sandbox:
        yield sandbox


@pytest.fixture
def connection(sandbox: Sandbox) -> NodeConnection:
    return connect(sandbox, "root@pam", "sandbox")


def connect(sandbox: Sandbox, user: str, token: str) -> NodeConnection:
    secret = sandbox.site.cluster.users[user].tokens[token].secret
    return NodeConnection(
        "pve1",
        f"127.0.0.1:{sandbox.address[1]}",
        ApiToken(user, token, secret),
        fingerprint=parse_fingerprint(sandbox.certificate.fingerprint),
    )


class Pauses(list[float]):
    """Stands in for sleep, a thousand times faster."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)
        time.sleep(seconds / 1000)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def client(connection: NodeConnection, pauses: Pauses) -> PveClient:
    return PveClient(connection, timeout_s=1.5, sleep=pauses)


@pytest.fixture
def images(client: PveClient) -> ImageStore:
    return ImageStore(client, TaskWaiter(client, sleep=lambda _: time.sleep(0.01)))


def failure(call: Any, *arguments: Any, **parameters: Any) -> LocalaiError:
    with pytest.raises(LocalaiError) as caught:
        call(*arguments, **parameters)
    return caught.value


def calls(sandbox: Sandbox, request: str) -> int:
    return sum(f"{method} {path}" == request for method, path, _ in sandbox.site.requests)


def wait(client: PveClient, upid: object) -> Any:
    return TaskWaiter(client, sleep=lambda _: time.sleep(0.01)).wait(str(upid), 20)


# Reads and changes

PASSING = {"503": "pve-overloaded", "595": "pve-node-offline", "reset-before": "pve-interrupted"}
FINAL = {"401": "pve-auth-failed", "403": "pve-forbidden", "500": "pve-overloaded"}


@pytest.mark.parametrize("fault", PASSING)
def test_reads_outlive_a_moment(sandbox: Sandbox, client: PveClient, pauses: Pauses, fault: str) -> None:
    sandbox.site.faults.add(fault, "GET /version", times=2)
    assert client.version().major == sandbox.site.cluster.release.major
    assert pauses == [0.5, 1.0]


@pytest.mark.parametrize("fault", ["reset-after-success", "timeout-after-success"])
def test_reads_whose_answer_is_lost(sandbox: Sandbox, client: PveClient, pauses: Pauses, fault: str) -> None:
    sandbox.site.faults.add(fault, "GET /version")
    assert client.version().major == sandbox.site.cluster.release.major
    assert calls(sandbox, "GET /version") == 2


@pytest.mark.parametrize(("fault", "error_id"), PASSING.items())
def test_reads_give_up(
    sandbox: Sandbox, client: PveClient, pauses: Pauses, fault: str, error_id: str
) -> None:
    sandbox.site.faults.add(fault, "GET /version", times=-1)
    assert failure(client.version).error_id == error_id
    assert pauses == list(PAUSES_S)


@pytest.mark.parametrize(("fault", "error_id"), [*PASSING.items(), *FINAL.items()])
def test_changes_are_sent_once(
    sandbox: Sandbox, client: PveClient, pauses: Pauses, fault: str, error_id: str
) -> None:
    sandbox.site.faults.add(fault, "POST /pools")
    assert failure(client.post, "pools", poolid="localai").error_id == error_id
    assert pauses == []
    assert client.get("pools") == []


@pytest.mark.parametrize(
    ("fault", "error_id"),
    [("reset-after-success", "pve-interrupted"), ("timeout-after-success", "pve-timeout")],
)
def test_a_change_whose_answer_is_lost_is_told_as_such(
    sandbox: Sandbox, client: PveClient, fault: str, error_id: str
) -> None:
    sandbox.site.faults.add(fault, "POST /pools")
    error = failure(client.post, "pools", poolid="localai")
    assert error.error_id == error_id
    assert "may have been carried out" in error.hint
    assert [pool["poolid"] for pool in client.get("pools")] == ["localai"]
    assert calls(sandbox, "POST /pools") == 1


def test_an_id_that_somebody_else_took(sandbox: Sandbox, client: PveClient) -> None:
    sandbox.site.faults.add("id-race", "create 200")
    assert failure(client.post, QEMU, vmid=200, **VM).error_id == "pve-vmid-taken"


def test_a_silent_agent(sandbox: Sandbox, client: PveClient) -> None:
    wait(client, client.post(QEMU, vmid=200, agent="1", **VM))
    wait(client, client.post(f"{QEMU}/200/status/start"))
    assert failure(client.get, f"{QEMU}/200/agent/network-get-interfaces").error_id == "pve-agent-silent"
    wait(client, client.post(f"{QEMU}/200/status/stop"))
    assert failure(client.get, f"{QEMU}/200/agent/network-get-interfaces").error_id == "pve-vm-stopped"


def test_a_node_that_does_not_answer(client: PveClient, pauses: Pauses) -> None:
    assert failure(client.get, "nodes/pve3/status").error_id == "pve-node-offline"
    assert pauses == list(PAUSES_S)


def test_a_node_behind_the_one_that_is_asked(connection: NodeConnection) -> None:
    client = PveClient(replace(connection, node="pve4"))
    assert client.get(f"nodes/{client.node}/status")
    assert wait(client, client.post(f"nodes/{client.node}/qemu", vmid=300, **VM))
    assert client.get(f"nodes/{client.node}/qemu/300/config")["memory"] in {64, "64"}


def test_no_such_node(connection: NodeConnection) -> None:
    error = failure(PveClient(replace(connection, node="pve9")).get, "nodes/pve9/status")
    assert error.error_id == "pve-node-unknown"


def test_a_wrong_secret(connection: NodeConnection, pauses: Pauses) -> None:
    wrong = replace(connection, token=replace(connection.token, secret="1" * 8))
    assert failure(PveClient(wrong, sleep=pauses).version).error_id == "pve-auth-failed"
    assert pauses == []


def test_many_threads_through_one_client(sandbox: Sandbox, client: PveClient) -> None:
    made: list[object] = []

    def make(vmid: int) -> None:
        made.append(wait(client, client.post(QEMU, vmid=vmid, name=f"vm-{vmid}", **VM)))

    threads = [threading.Thread(target=make, args=(400 + number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 12
    assert {vm["name"] for vm in client.get(QEMU)} == {f"vm-{400 + number}" for number in range(12)}


# Tasks


def test_a_lost_task(sandbox: Sandbox, client: PveClient) -> None:
    sandbox.site.faults.add("task-lost", "task qmcreate 200")
    error = failure(wait, client, client.post(QEMU, vmid=200, **VM))
    assert (error.error_id, error.exit_code) == ("pve-task-lost", ExitCode.PARTIAL)


def test_a_full_storage_is_found_in_the_log(sandbox: Sandbox, client: PveClient) -> None:
    sandbox.site.faults.add("storage-full", "import")
    upid = client.post(QEMU, vmid=200, scsi0=f"local:0,import-from={IMAGE}", **VM)
    error = failure(wait, client, upid)
    assert error.error_id == "pve-storage-full"
    assert "No space left on device" in str(error)


def test_a_node_that_restarts_during_a_task(sandbox: Sandbox, client: PveClient) -> None:
    upid = str(client.post(QEMU, vmid=200, scsi0=f"local:0,import-from={IMAGE}", **VM))
    task = sandbox.site.tasks.all[upid]
    assert task.ended.wait(20)
    task.exitstatus, task.log = "unexpected status", task.log[:1]
    sandbox.site.faults.add("595", f"tasks/{upid}/status", times=2)
    error = failure(wait, client, upid)
    assert (error.error_id, error.exit_code) == ("pve-task-cut-off", ExitCode.PARTIAL)


def test_the_api_is_away_for_long_while_a_task_runs(
    sandbox: Sandbox, client: PveClient, pauses: Pauses
) -> None:
    upid = client.post(QEMU, vmid=200, **VM)
    sandbox.site.faults.add("595", "/status$", times=10)
    assert wait(client, upid).upid == upid
    assert len(pauses) == 8


def test_a_task_that_the_token_may_not_see(sandbox: Sandbox, client: PveClient) -> None:
    upid = client.post(QEMU, vmid=200, **VM)
    other = PveClient(connect(sandbox, "tool@pve", "prov"))
    error = failure(wait, other, upid)
    assert error.error_id == "pve-task-hidden"
    assert "root@pam!sandbox" in error.why


def test_start_of_what_is_not_there_fails_in_its_task(client: PveClient) -> None:
    error = failure(wait, client, client.post(f"{QEMU}/999/status/start"))
    assert error.error_id == "pve-vm-missing"


# Images


def test_an_image_is_downloaded_once(sandbox: Sandbox, images: ImageStore) -> None:
    fetches = count_fetches(sandbox)
    assert images.ensure_image("local", WANTED) == VOLUME
    assert images.ensure_image("local", WANTED) == VOLUME
    assert fetches == [WANTED.url]


@pytest.mark.parametrize("fault", ["reset-after-success", "timeout-after-success"])
def test_an_answer_that_is_lost_begins_no_second_download(
    sandbox: Sandbox, images: ImageStore, fault: str
) -> None:
    fetches = count_fetches(sandbox, seconds=0.3)
    sandbox.site.faults.add(fault, DOWNLOAD)
    assert images.ensure_image("local", WANTED) == VOLUME
    assert fetches == [WANTED.url]


@pytest.mark.parametrize("fault", ["503", "595", "reset-before"])
def test_a_download_that_never_began(sandbox: Sandbox, images: ImageStore, fault: str) -> None:
    sandbox.site.faults.add(fault, DOWNLOAD, times=2)
    assert images.ensure_image("local", WANTED) == VOLUME


def test_a_download_that_never_begins(sandbox: Sandbox, images: ImageStore) -> None:
    sandbox.site.faults.add("503", DOWNLOAD, times=-1)
    assert failure(images.ensure_image, "local", WANTED).error_id == "pve-overloaded"
    assert calls(sandbox, DOWNLOAD) == 3


def test_a_task_of_the_download_is_lost(sandbox: Sandbox, images: ImageStore) -> None:
    sandbox.site.faults.add("task-lost", "task download")
    assert images.ensure_image("local", WANTED) == VOLUME


def test_a_download_of_an_earlier_run_is_waited_for(
    sandbox: Sandbox, client: PveClient, images: ImageStore
) -> None:
    fetches = count_fetches(sandbox, seconds=0.5)
    client.post(
        "nodes/pve1/storage/local/download-url",
        content="import",
        url=WANTED.url,
        filename=WANTED.file_name,
        checksum=WANTED.checksum,
        checksum_algorithm=WANTED.algorithm,
    )
    assert images.ensure_image("local", WANTED) == VOLUME
    assert fetches == [WANTED.url]


def test_refusals_of_a_download_are_final(sandbox: Sandbox, images: ImageStore) -> None:
    wrong = replace(WANTED, checksum="0" * 64)
    assert failure(images.ensure_image, "local", wrong).error_id == "pve-image-checksum"
    gone = replace(WANTED, url="http://images.example/gone.qcow2")
    assert failure(images.ensure_image, "local", gone).error_id == "pve-download-failed"
    nowhere = replace(WANTED, url="http://nosuch.invalid/debian.qcow2")
    assert failure(images.ensure_image, "local", nowhere).error_id == "pve-download-failed"
    junk = replace(WANTED, url="http://images.example/junk.qcow2")
    assert failure(images.ensure_image, "local", junk).error_id == "pve-image-unreadable"
    assert calls(sandbox, DOWNLOAD) == 4
    images.ensure_image("local", WANTED)
    assert failure(images.ensure_image, "local", wrong).error_id == "pve-image-other"
    assert failure(images.ensure_image, "iso", WANTED).error_id == "pve-content-missing"


def count_fetches(sandbox: Sandbox, seconds: float = 0.0) -> list[str]:
    """URLs that the node really fetches, each taking that long."""
    fetched, fetch = [], sandbox.site.fetch

    def slow(url: str, target: str | None) -> Fetched:
        fetched.append(url)
        time.sleep(seconds)
        return fetch(url, target)

    sandbox.site.fetch = slow
    return fetched


@pytest.mark.parametrize("name", ["401", "403", "500", "503", "595"])
def test_every_refusal_by_name_is_ours(sandbox: Sandbox, client: PveClient, name: str) -> None:
    sandbox.site.faults.add(name, "PUT /")
    assert failure(client.put, f"{QEMU}/100/config", cores=2).error_id != "pve-failed"


def test_pve_7_is_refused() -> None:
    with example(7) as sandbox:
        error = failure(PveClient(connect(sandbox, "root@pam", "sandbox")).version)
    assert error.error_id == "pve-version-unsupported"
