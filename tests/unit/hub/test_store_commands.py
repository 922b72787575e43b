"""What the store refuses, uploads, locks, and what its other commands say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import SCRIPT, Store, gguf, load_script

MIB = 1 << 20
CONTENT = gguf(2 * MIB)
OTHER = gguf(2 * MIB, seed=2)


@pytest.fixture
def server():
    with FaultServer(CONTENT) as running:
        yield running


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.mark.parametrize(
    "change",
    [
        {"file_name": "../model.gguf"},
        {"file_name": ".model.gguf"},
        {"file_name": "model.bin"},
        {"file_name": "model.gguf.part"},
        {"url": "ftp://127.0.0.1/model.gguf"},
        {"url": "file:///etc/passwd"},
        {"url": ""},
        {"upload_path": "/etc/passwd"},
        {"sha256": "ABC"},
        {"size_bytes": "12"},
        {"trust_first_download": "no"},
    ],
)
def test_malformed_job(store, server, change):
    answer = store.refused({**store.job(server.url(), CONTENT), **change})
    assert answer["error_id"] == "model-job-invalid"
    assert store.names() == []


@pytest.mark.parametrize("text", ["", "[]", "1", "{"])
def test_unreadable_job(store, text):
    argv = [sys.executable, "-I", str(SCRIPT), "pull", "--dir", str(store.directory)]
    done = subprocess.run(argv, check=False, input=text, capture_output=True, text=True)
    assert done.returncode == 3
    assert json.loads(done.stdout)["error_id"] == "model-job-invalid"


def test_hash_missing(store, server):
    answer = store.refused(store.job(server.url(), None, trust_first_download=False))
    assert answer["error_id"] == "model-hash-missing"
    assert server.seen == []


def test_missing_store(store, server):
    store.directory.rmdir()
    assert store.refused(store.job(server.url(), CONTENT))["error_id"] == "model-store-missing"


def test_unwritable_store(store, server):
    (store.directory / "model.gguf.lock").mkdir()
    assert store.refused(store.job(server.url(), CONTENT))["error_id"] == "model-store-unwritable"


def test_unreadable_record(store):
    store.record.mkdir()
    code, answer = store.run("list")
    assert (code, answer["error_id"]) == (3, "model-store-unwritable")


def test_no_space_is_seen_before_a_request(store, server):
    answer = store.refused(store.job(server.url(), CONTENT, free_space_reserve_percent=1e12))
    assert answer["error_id"] == "model-no-space"
    assert server.seen == []
    assert store.names() == []


def test_no_space_with_the_size_told_by_the_server(store, server):
    answer = store.refused(store.job(server.url(), CONTENT, size_bytes=0, free_space_reserve_percent=1e12))
    assert answer["error_id"] == "model-no-space"
    assert server.sent_bytes < len(CONTENT) + 1
    assert store.names() == []


def in_small_filesystem(store, job):
    mount = f"mount -t tmpfs -o size=1m tmpfs {store.directory}"
    command = f"{mount} && exec {sys.executable} -I {SCRIPT} pull --dir {store.directory}"
    argv = ["unshare", "--map-root-user", "--mount", "sh", "-c", command]
    done = subprocess.run(
        argv, check=False, input=json.dumps(job), capture_output=True, text=True, env=store.env
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no private mount: {done.stderr.strip()}")
    return json.loads(done.stdout)


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "unannounced"])
def test_small_filesystem(store, server, chunked):
    server.always = Fault(chunked=chunked)
    answer = in_small_filesystem(store, store.job(server.url(), CONTENT, size_bytes=0))
    assert answer["error_id"] == "model-no-space"


def test_upload_in_the_store_is_moved(store):
    upload = store.directory / ".upload"
    upload.write_bytes(CONTENT)
    answer = store.pull(store.job("", CONTENT, upload_path=str(upload)))
    assert answer["state"] == "pulled"
    assert store.final.read_bytes() == CONTENT
    assert store.names() == ["model.gguf", "model.gguf.json"]


def test_upload_elsewhere_is_copied(store, tmp_path):
    upload = tmp_path / "upload.gguf"
    upload.write_bytes(CONTENT)
    job = store.job("", CONTENT, upload_path=str(upload))
    store.pull(job)
    assert upload.read_bytes() == CONTENT
    upload.unlink()
    assert store.pull(job)["state"] == "present"


def test_upload_with_another_hash(store, tmp_path):
    upload = tmp_path / "upload.gguf"
    upload.write_bytes(OTHER)
    answer = store.refused(store.job("", CONTENT, upload_path=str(upload)))
    assert answer["error_id"] == "model-hash-mismatch"
    assert store.names() == []


def test_upload_that_is_not_there(store, tmp_path):
    answer = store.refused(store.job("", CONTENT, upload_path=str(tmp_path / "none")))
    assert answer["error_id"] == "model-file-missing"


def test_second_pull_of_the_same_file_is_refused_and_the_first_can_be_followed(store, server):
    server.faults.append(Fault(stall_after=MIB))
    job = store.job(server.url(), CONTENT, stall_timeout_s=60)
    first = store.start_pull(job)
    while not store.part.exists() or store.part.stat().st_size < MIB:
        time.sleep(0.01)
    code, now = store.run("follow", "--file", "model.gguf", "--seconds", "0.5")
    assert (code, now["state"]) == (0, "pulling")
    assert (now["bytes"], now["total_bytes"]) == (MIB, 2 * MIB)
    assert store.refused(job)["error_id"] == "model-pull-busy"
    assert store.run("rm", "model.gguf")[1]["error_id"] == "model-pull-busy"
    server.release.set()
    assert store.run("follow", "--file", "model.gguf", "--seconds", "60")[1]["state"] == "done"
    assert first.wait(timeout=60) == 0
    assert server.ranges == ["", f"bytes={MIB}-"]


def test_follow_tells_the_rate(store):
    script = load_script()
    with script.Place(store.directory, "model.gguf").locked():
        store.part.write_bytes(bytes(1000))
        timer = threading.Timer(0.2, store.part.write_bytes, [bytes(MIB)])
        timer.start()
        now = script.follow(store.directory, "model.gguf", 1.0)
        timer.join()
    assert (now["state"], now["bytes"]) == ("pulling", MIB)
    assert 0 < now["bytes_per_s"] <= MIB


def test_different_files_are_pulled_side_by_side(store):
    with FaultServer(CONTENT, bytes_per_s=2_000_000) as server:
        names = ("a.gguf", "b.gguf")
        pulls = [store.start_pull(store.job(server.url(), CONTENT, file_name=name)) for name in names]
        assert [pull.wait(timeout=30) for pull in pulls] == [0, 0]


def test_follow_after_the_end(store, server):
    assert store.run("follow", "--file", "model.gguf", "--seconds", "0.2")[1]["state"] == "absent"
    server.faults.append(Fault(cut_after=MIB))
    job = store.job(server.url(), CONTENT, attempts=1)
    store.refused(job)
    seen = store.run("follow", "--file", "model.gguf", "--seconds", "0.2")[1]
    assert seen == {"state": "failed", "bytes": MIB, "total_bytes": 2 * MIB, "bytes_per_s": 0}
    store.pull(job)
    assert store.run("follow", "--file", "model.gguf", "--seconds", "0.2")[1]["state"] == "done"


def test_follow_ends_soon_when_no_pull_appears(store):
    before = time.monotonic()
    store.run("follow", "--file", "model.gguf", "--seconds", "30")
    assert time.monotonic() - before < 10


def test_status_changes_nothing(store, server):
    job = store.job(server.url(), CONTENT)
    assert store.run("status", job=job) == (0, {"state": "absent", "bytes": 0})
    assert store.names() == []
    server.faults.append(Fault(cut_after=MIB))
    store.refused({**job, "attempts": 1})
    assert store.run("status", job=job) == (0, {"state": "partial", "bytes": MIB})
    store.pull(job)
    before = store.stamps()
    assert store.run("status", job=job) == (0, {"state": "present", "bytes": 2 * MIB})
    other = store.job(server.url(), OTHER)
    assert store.run("status", job=other) == (0, {"state": "different", "bytes": 2 * MIB})
    assert store.stamps() == before
    assert len(server.seen) == 2


def test_list(store, server):
    store.pull(store.job(server.url(), CONTENT))
    for name in ("b.gguf", "c.gguf.part", "notes.txt", "d.gguf.json"):
        (store.directory / name).write_bytes(b"{}")
    code, answer = store.run("list")
    states = {model["file_name"]: model["state"] for model in answer["models"]}
    assert code == 0
    assert states == {
        "b.gguf": "unrecorded",
        "c.gguf": "partial",
        "d.gguf": "missing",
        "model.gguf": "present",
    }


def test_verify_reads_the_file_whatever_its_stamp(store, server):
    store.pull(store.job(server.url(), CONTENT))
    assert store.run("verify")[0] == 0
    assert store.run("verify", "model.gguf")[0] == 0
    stamp = store.final.stat()
    with store.final.open("r+b") as file:
        file.seek(MIB)
        file.write(b"x" * 9)
    os.utime(store.final, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    code, answer = store.run("verify")
    assert code == 3
    assert answer["ok"] is False
    assert [model["ok"] for model in answer["models"]] == [False]


def test_verify_of_a_name_that_is_not_there(store):
    code, answer = store.run("verify", "none.gguf")
    assert (code, answer["ok"]) == (3, False)


def test_rm_leaves_other_files(store, server):
    store.pull(store.job(server.url(), CONTENT))
    shutil.copy(store.final, store.directory / "kept.gguf")
    assert store.run("rm", "model.gguf") == (0, {"changed": True, "freed_bytes": 2 * MIB})
    assert store.names() == ["kept.gguf"]
    assert store.run("rm", "model.gguf") == (0, {"changed": False, "freed_bytes": 0})
