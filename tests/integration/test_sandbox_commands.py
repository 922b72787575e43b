"""``sandbox start|status|reset|stop`` as a user runs them, here without guests: no root needed."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import PveClient
from localai_deploy.sandbox_record import running_pid
from tests.integration.sandbox_user import Sandboxed, fill, has_ended, new_user, wait_until_ended


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Sandboxed]:
    user = new_user(tmp_path)
    yield user
    assert user.sandbox("stop").code == 0


def test_from_start_to_stop(user: Sandboxed) -> None:
    assert user.sandbox("status").data["state"] == "absent"
    started = user.started()
    assert (started["started"], started["state"], started["node"]) == (True, "running", "sandbox")
    assert (started["body"], started["pve"], started["vms"]) == ("bare", 9, [])
    assert started["api"].startswith("https://127.0.0.1:")
    assert stat.S_IMODE(Path(started["record"]).stat().st_mode) == 0o600
    assert stat.S_IMODE(user.runtime.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(started["data"]).stat().st_mode) == 0o700
    assert user.client().version().major == 9
    seen = user.sandbox("status")
    assert seen.code == 0
    assert {**seen.data, "schema": ""} == {k: v for k, v in started.items() if k != "started"} | {
        "schema": ""
    }
    stopped = user.sandbox("stop")
    assert (stopped.code, stopped.data["was"], stopped.data["vms"]) == (0, "running", [])
    assert has_ended(started["pid"])
    assert not user.runtime.exists()
    assert user.data == []
    assert user.sandbox("stop").data["was"] == "absent"


def test_a_person_is_told_how_to_go_on(user: Sandboxed) -> None:
    told = user.run("sandbox", "start", "--body", "bare").stdout
    for words in (
        "embedded Proxmox VE 9 node",
        "https://127.0.0.1:",
        "bare: ",
        "up --node sandbox",
        "sandbox stop",
    ):
        assert words in told
    secret = user.connection().token.secret
    everything = (
        told + user.run("sandbox", "status").stdout + user.run("sandbox", "status", "-o", "json").stdout
    )
    assert secret not in everything
    assert "runs already" in user.run("sandbox", "start").stdout


def test_the_secret_is_in_no_argument_of_the_process(user: Sandboxed) -> None:
    pid, secret = user.started()["pid"], user.connection().token.secret
    assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert secret not in (user.runtime / "daemon.log").read_text()


def test_starting_what_runs_changes_nothing(user: Sandboxed) -> None:
    first = user.started()
    for words in ((), ("--body", "bare"), ("--pve", "9")):
        again = user.sandbox("start", *words).data
        assert again == first | {"started": False}
    error = user.refused(3, "sandbox-other-settings", "sandbox", "start", "--pve", "8")
    assert "pve is 9, not 8" in error.stderr
    user.refused(3, "sandbox-other-settings", "sandbox", "start", "--forward", "192.0.2.1:80")
    assert user.sandbox("status").data["pid"] == first["pid"]


def test_two_starts_at_once_make_one_sandbox(user: Sandboxed) -> None:
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(lambda _: user.started(), range(4)))
    assert sorted(one["started"] for one in ended) == [False, False, False, True]
    assert len({(one["pid"], one["api"], one["fingerprint"]) for one in ended}) == 1


def test_two_users_of_one_machine_do_not_meet(user: Sandboxed, tmp_path: Path) -> None:
    other = new_user(tmp_path / "other")
    one, two = user.started(), other.started("--body", "bare", "--pve", "8")
    assert {one["api"], one["data"]}.isdisjoint({two["api"], two["data"]})
    assert other.client().version().major == 8
    assert other.sandbox("stop").data["was"] == "running"
    assert user.client().version().major == 9


def test_credentials_differ_from_start_to_start(user: Sandboxed) -> None:
    seen: list[NodeConnection] = []
    for _ in range(2):
        user.started()
        seen.append(user.connection())
        user.sandbox("stop")
    one, two = seen
    assert one.token.secret != two.token.secret
    assert one.fingerprint != two.fingerprint


def test_the_client_pins_the_recorded_certificate(user: Sandboxed) -> None:
    user.started()
    good = user.connection()
    assert PveClient(good).get("nodes")[0]["node"] == "sandbox"
    wrong = NodeConnection(good.node, good.host, good.token, fingerprint="00" * 32)
    with pytest.raises(LocalaiError) as caught:
        PveClient(wrong).get("nodes")
    assert caught.value.error_id == "tls-fingerprint-mismatch"
    with pytest.raises(LocalaiError) as caught:
        PveClient(NodeConnection(good.node, good.host, good.token)).get("nodes")
    assert caught.value.error_id == "tls-untrusted"


def test_figures_of_the_node_are_the_machines(user: Sandboxed) -> None:
    user.started()
    client = user.client()
    node = client.get("nodes/sandbox/status")
    total_kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert node["memory"]["total"] == total_kib << 10
    assert 0 < node["memory"]["used"] < node["memory"]["total"]
    assert node["cpuinfo"]["cpus"] == os.cpu_count()
    (storage,) = client.get("nodes/sandbox/storage")
    disk = os.statvfs(user.state)
    assert (storage["storage"], storage["total"]) == ("local", disk.f_blocks * disk.f_frsize)
    assert 0 < storage["avail"] < storage["total"]
    assert sorted(storage["content"].split(",")) == [
        "backup",
        "images",
        "import",
        "iso",
        "snippets",
        "vztmpl",
    ]


def test_reset_leaves_nothing_but_the_credentials(user: Sandboxed) -> None:
    started = user.started()
    before, client = user.connection(), user.client()
    fill(client)
    assert user.sandbox("status").data["vms"] == [{"vmid": 100, "name": "one", "status": "running"}]
    files = [path for path in Path(started["data"]).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".iso", ".raw", ".log"}
    reset = user.sandbox("reset").data
    assert {**reset, "schema": ""} == {k: v for k, v in started.items() if k != "started"} | {"schema": ""}
    assert user.connection() == before
    for path in ("nodes/sandbox/qemu", "pools", "cluster/mapping/pci", "access/acl", "nodes/sandbox/tasks"):
        assert client.get(path) == [], path
    assert client.get("nodes/sandbox/storage/local/content") == []
    kept = [path.name for path in Path(started["data"]).rglob("*") if path.is_file()]
    assert kept == ["requests.log"]
    fill(client)
    assert user.sandbox("reset").data["vms"] == []


def test_what_was_answered_is_written_down_without_secrets(user: Sandboxed) -> None:
    log = Path(user.started()["data"], "requests.log")
    client = user.client()
    client.get("nodes")
    client.post("pools", poolid="one", comment="planted-secret")
    with pytest.raises(LocalaiError):
        client.get("nodes/sandbox/qemu/999/config")
    assert log.read_text().splitlines()[-3:] == [
        "GET /nodes 200",
        "POST /pools 200",
        "GET /nodes/sandbox/qemu/999/config 500",
    ]
    assert "planted" not in log.read_text()


def test_reset_and_use_need_a_sandbox(user: Sandboxed) -> None:
    user.refused(3, "sandbox-not-running", "sandbox", "reset")
    with pytest.raises(LocalaiError) as caught:
        user.connection()
    assert caught.value.error_id == "sandbox-not-running"


def kill(user: Sandboxed) -> int:
    pid = int(user.started()["pid"])
    fill(user.client())
    os.kill(pid, signal.SIGKILL)
    wait_until_ended(pid)
    assert running_pid(user.runtime) is None
    return pid


def test_stop_after_the_process_was_killed(user: Sandboxed) -> None:
    kill(user)
    with pytest.raises(LocalaiError) as caught:
        user.connection()
    assert caught.value.error_id == "sandbox-died"
    seen = user.sandbox("status")
    assert (seen.code, seen.data["state"]) == (1, "remains")
    assert str(user.runtime) in seen.data["trouble"]
    assert "sandbox stop" in user.run("sandbox", "status").stdout
    assert user.sandbox("stop").data["was"] == "remains"
    assert not user.runtime.exists()
    assert user.data == []


def test_start_after_the_process_was_killed(user: Sandboxed) -> None:
    pid = kill(user)
    started = user.started()
    assert started["started"]
    assert started["pid"] != pid
    assert user.client().get("nodes/sandbox/qemu") == []


def test_a_process_that_is_asked_to_end_clears_all_away_itself(user: Sandboxed) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        pid = int(user.started()["pid"])
        fill(user.client())
        os.kill(pid, number)
        wait_until_ended(pid)
        assert list(user.runtime.iterdir()) == []
        assert user.data == []
        assert user.sandbox("status").data["state"] == "absent"


@pytest.mark.parametrize("damage", ["record", "mode", "settings", "all"])
def test_stop_whatever_became_of_the_files(user: Sandboxed, damage: str) -> None:
    pid = int(user.started()["pid"])
    record, settings = user.runtime / "connection.json", user.runtime / "settings.json"
    if damage == "mode":
        record.chmod(0o644)
    for path in {"record": [record], "settings": [settings], "all": [record, settings]}.get(damage, []):
        path.write_text("no json")
    seen = user.run("sandbox", "status")
    assert seen.code == (0 if damage == "settings" else 3)
    assert "Traceback" not in seen.stderr
    assert user.sandbox("stop").code == 0
    assert has_ended(pid)
    assert not user.runtime.exists()
    assert user.data == []


def test_a_directory_of_somebody_else_is_refused(user: Sandboxed) -> None:
    user.runtime.mkdir(mode=0o755)
    user.refused(3, "sandbox-directory-unusable", "sandbox", "start", "--body", "bare")
    user.runtime.rmdir()


def test_bad_words_are_refused_before_anything_is_made(user: Sandboxed) -> None:
    user.refused(2, "sandbox-forward-invalid", "sandbox", "start", "--body", "bare", "--forward", "mirror:80")
    user.refused(
        2, "sandbox-mirror-invalid", "sandbox", "start", "--body", "bare", "--debian-mirror", "debian"
    )
    user.refused(2, "usage", "sandbox", "start", "--pve", "7")
    assert not user.runtime.exists()


def test_the_api_listens_on_loopback_only(user: Sandboxed) -> None:
    port = int(user.started()["api"].rpartition(":")[2])
    wanted = f"{port:04X}"
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = [row.split()[1] for row in rows if row.split()[3] == "0A"]
    assert [one for one in listening if one.endswith(f":{wanted}")] == [f"0100007F:{wanted}"]
    assert f":{wanted} " not in Path("/proc/net/tcp6").read_text()
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_without_its_token_nothing_is_told(user: Sandboxed) -> None:
    user.started()
    good = user.connection()
    token = type(good.token)(good.token.user, good.token.name, "00000000-0000-0000-0000-000000000000")
    with pytest.raises(LocalaiError) as caught:
        PveClient(NodeConnection(good.node, good.host, token, fingerprint=good.fingerprint)).get("nodes")
    assert caught.value.error_id == "pve-auth-failed"


def test_purge_empties_the_cache(user: Sandboxed) -> None:
    cache = user.home / ".cache/localai-deploy/sandbox"
    (cache / "container").mkdir(parents=True)
    (cache / "container/file").write_bytes(b"x" * 4096)
    stopped = user.sandbox("stop").data["cache"]
    assert (stopped["directory"], stopped["purged"]) == (str(cache), False)
    assert stopped["bytes"] >= 4096
    assert user.sandbox("stop", "--purge").data["cache"]["purged"]
    assert not cache.exists()


def test_settings_are_private(user: Sandboxed) -> None:
    user.started()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in user.runtime.iterdir()}
    assert modes["connection.json"] == modes["settings.json"] == 0o600
    assert json.loads((user.runtime / "settings.json").read_text())["body"] == "bare"
