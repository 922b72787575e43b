"""What real servers said, said again over TLS: every refusal becomes an error that is explained."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.cli.catalogue import catalogue
from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.rules import RULES
from localai_deploy.proxmox.tasks import TaskWaiter
from tests.unit.proxmox.tls_server import Pem, TlsServer, make_pem, serving

TRANSCRIPTS = Path(__file__).parents[4] / "shared" / "data" / "pve-transcripts"
FILES = sorted(TRANSCRIPTS.glob("pve*.json")) if TRANSCRIPTS.exists() else []
GENERIC = {"pve-failed"}
UPID = "UPID:pve1:0000A1B2:0012D687:65F0C1A2:{type}:100:tool@pve!prov:"

pytestmark = pytest.mark.skipif(not FILES, reason="the recorded conversations are not here")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Pem:
    return make_pem(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def server(pem: Pem) -> Iterator[TlsServer]:
    with serving(pem) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: TlsServer, pem: Pem) -> PveClient:
    connection = NodeConnection(
        "pve1", server.host, ApiToken("a@pam", "b", "c"), ca_file=str(pem.certificate)
    )
    return PveClient(connection, 10, sleep=lambda _: None)


def steps(file: Path) -> list[dict[str, Any]]:
    return [step for step in json.loads(file.read_text())["steps"] if "host_action" not in step]


def play(server: TlsServer, client: PveClient, step: dict[str, Any]) -> Any:
    """The recorded answer through the real client; PATCH, which it never sends, is asked as PUT."""
    body = step.get("body")
    server.answer = (step["status"], step["reason"], body)
    method = {"PATCH": "put"}.get(step["method"], step["method"].lower())
    path = step["path"].lstrip("/").replace("{{", "x").replace("}}", "x")
    return getattr(client, method)(path)


def distinct_refusals() -> Iterator[dict[str, Any]]:
    seen = set()
    for file in FILES:
        for step in steps(file):
            errors = (step.get("body") or {}).get("errors") if isinstance(step.get("body"), dict) else None
            key = (step["status"], step["reason"], json.dumps(errors, sort_keys=True))
            if step["status"] >= 400 and key not in seen:
                seen.add(key)
                yield step


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_answer_is_data_or_an_explained_error(server: TlsServer, client: PveClient, file: Path) -> None:
    known = catalogue()
    for step in steps(file):
        if step["status"] == 200:
            body = step.get("body")
            if isinstance(body, dict) and "data" in body:
                assert play(server, client, step) == body["data"]
            continue
        with pytest.raises(LocalaiError) as caught:
            play(server, client, step)
        assert caught.value.error_id in known
        assert caught.value.hint


def test_coverage_of_refusals(server: TlsServer, client: PveClient) -> None:
    ids: Counter[str] = Counter()
    generic = []
    for step in distinct_refusals():
        with pytest.raises(LocalaiError) as caught:
            play(server, client, step)
        ids[caught.value.error_id] += 1
        if caught.value.error_id in GENERIC:
            generic.append(step["reason"])
    total = sum(ids.values())
    print(f"\n{total} distinct recorded refusals: {total - len(generic)} specific, {len(generic)} generic")
    print(", ".join(f"{name} {count}" for name, count in sorted(ids.items())))
    assert total > 100
    assert generic == []


def recorded_tasks() -> list[dict[str, Any]]:
    found = {}
    for file in FILES:
        for step in steps(file):
            task = step.get("task")
            if task and task.get("exitstatus") != "OK":
                found.setdefault((task.get("type"), str(task.get("exitstatus"))), task)
    return list(found.values())


def test_coverage_of_failed_tasks(server: TlsServer, client: PveClient) -> None:
    ids: Counter[str] = Counter()
    for task in recorded_tasks():
        log = [{"n": number, "t": text} for number, text in enumerate(task.get("log_tail") or [])]
        status = {"status": "stopped", "exitstatus": task["exitstatus"]}
        server.script = [(200, "OK", {"data": status}), (200, "OK", {"data": log})]
        with pytest.raises(LocalaiError) as caught:
            TaskWaiter(client).wait(UPID.format(type=task["type"]), 10)
        ids[caught.value.error_id] += 1
        assert caught.value.error_id in catalogue()
        assert server.script == []
    total = sum(ids.values())
    print(
        f"\n{total} distinct failed tasks: {total - ids['pve-failed']} specific, {ids['pve-failed']} generic"
    )
    print(", ".join(f"{name} {count}" for name, count in sorted(ids.items())))
    assert total > 20
    assert not GENERIC & set(ids)


def test_recorded_tasks_that_went_well(server: TlsServer, client: PveClient) -> None:
    count = 0
    for file in FILES:
        for step in steps(file):
            task = step.get("task")
            if task and task.get("exitstatus") == "OK":
                log = [{"n": number, "t": text} for number, text in enumerate(task.get("log_tail") or [])]
                status = {"status": "stopped", "exitstatus": "OK"}
                server.script = [(200, "OK", {"data": status}), (200, "OK", {"data": log})]
                assert TaskWaiter(client).wait(UPID.format(type=task["type"]), 10).warnings == ()
                count += 1
    assert count > 100


def test_pve_7_is_refused(server: TlsServer, client: PveClient) -> None:
    file = TRANSCRIPTS / "pve7-version-nodes.json"
    found = [step for step in steps(file) if step["path"] == "/version" and step["status"] == 200]
    server.answer = (200, "OK", found[0]["body"])
    with pytest.raises(LocalaiError) as caught:
        client.version()
    assert caught.value.error_id == "pve-version-unsupported"
    assert "7.4" in caught.value.what


@pytest.mark.parametrize("major", [8, 9])
def test_supported_versions(server: TlsServer, client: PveClient, major: int) -> None:
    file = TRANSCRIPTS / f"pve{major}-version-nodes.json"
    found = [step for step in steps(file) if step["path"] == "/version" and step["status"] == 200]
    server.answer = (200, "OK", found[0]["body"])
    assert client.version().major == major


def test_every_rule_is_explained() -> None:
    assert {rule.error_id for rule in RULES} <= set(catalogue())
