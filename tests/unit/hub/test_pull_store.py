"""The store's own promises: records, adoption, locks, uploads, space, and what the other commands say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import SCRIPT, Store, gguf, load_script, sha256

MIB = 1 << 20
CONTENT = gguf(2 * MIB)
OTHER = gguf(2 * MIB, seed=2)
HASH = sha256(CONTENT)


@pytest.fixture
def server():
    with FaultServer(CONTENT) as running:
        yield running


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def seen(store):
    """What a change of any file would alter."""
    stats = {path.name: path.stat() for path in store.directory.iterdir()}
    return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats.items()}


def test_record_says_where_the_file_came_from(store, server):
    store.pull(store.job(server.url(), CONTENT, revision="a" * 40))
    assert json.loads(store.record.read_text()) == {
        "reference": "hf:lab/model/model.gguf",
        "revision": "a" * 40,
        "sha256": HASH,
        "size_bytes": 2 * MIB,
        "trusted_first_download": False,
        "url": server.url(),
    }


def test_second_pull_asks_nobody_and_reads_no_model(store, server):
    job = store.job(server.url(), CONTENT)
    store.pull(job)
    before = seen(store)
    answer = store.pull(job)
    assert (answer["changed"], answer["state"]) == (False, "present")
    assert len(server.seen) == 1
    assert seen(store) == before


def test_file_without_record_is_hashed_and_recorded(store, server):
    store.final.write_bytes(CONTENT)
    answer = store.pull(store.job(server.url(), CONTENT))
    assert (answer["changed"], answer["state"]) == (True, "recorded")
    assert server.seen == []
    assert json.loads(store.record.read_text())["sha256"] == HASH


def test_other_reference_to_the_same_content_changes_the_record_only(store, server):
    store.pull(store.job(server.url(), CONTENT))
    answer = store.pull(store.job(server.url("mirror.gguf"), CONTENT))
    assert answer["state"] == "recorded"
    assert len(server.seen) == 1


def test_altered_file_is_noticed_and_restored(store, server):
    job = store.job(server.url(), CONTENT)
    store.pull(job)
    store.final.write_bytes(OTHER)
    assert store.run("status", job=job) == (0, {"state": "different", "bytes": 2 * MIB})
    assert store.pull(job)["state"] == "pulled"
    assert store.final.read_bytes() == CONTENT


def test_touched_file_is_read_again_and_kept(store, server):
    job = store.job(server.url(), CONTENT)
    store.pull(job)
    os.utime(store.final, (1, 1))
    assert store.pull(job)["changed"] is False
    assert len(server.seen) == 1
    assert store.record.stat().st_mtime_ns == store.final.stat().st_mtime_ns


def test_new_revision_replaces_the_file_at_once(store, server):
    store.pull(store.job(server.url(), CONTENT))
    server.always = Fault(content=OTHER, etag='"other"')
    with store.final.open("rb") as reader:
        store.pull(store.job(server.url("new.gguf"), OTHER))
        assert reader.read() == CONTENT
    assert store.final.read_bytes() == OTHER
    assert store.names() == ["model.gguf", "model.gguf.json"]


def test_failed_replacement_leaves_the_old_file(store, server):
    store.pull(store.job(server.url(), CONTENT))
    store.refused(store.job(server.url("new.gguf"), OTHER))
    assert store.final.read_bytes() == CONTENT
    assert json.loads(store.record.read_text())["sha256"] == HASH


def test_part_is_resumed_by_another_process_from_another_mirror(store, server):
    server.always = Fault(cut_after=MIB)
    store.refused(store.job(server.url(), CONTENT, attempts=1))
    server.always = Fault()
    store.pull(store.job(server.url("mirror.gguf"), CONTENT))
    assert server.ranges == ["", f"bytes={MIB}-"]
    assert server.seen[1].if_range == ""


def test_part_of_another_content_is_not_used(store, server):
    server.always = Fault(cut_after=MIB)
    store.refused(store.job(server.url(), CONTENT, attempts=1))
    server.always = Fault(content=OTHER, etag='"other"')
    store.pull(store.job(server.url("other.gguf"), OTHER))
    assert server.ranges == ["", ""]


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"synced_bytes": 0}'])
def test_damaged_sidecar_means_a_fresh_start(store, server, damage):
    server.faults.append(Fault(cut_after=MIB))
    job = store.job(server.url(), CONTENT, attempts=1)
    store.refused(job)
    store.sidecar.write_text(damage)
    store.pull(job)
    assert server.ranges == ["", ""]


def test_hole_in_the_part_is_found_by_the_hash(store, server):
    server.faults.append(Fault(cut_after=MIB))
    job = store.job(server.url(), CONTENT, attempts=1)
    store.refused(job)
    with store.part.open("r+b") as part:
        part.seek(MIB // 2)
        part.write(bytes(4096))
    store.pull(job)
    assert server.ranges == ["", f"bytes={MIB}-", ""]
    assert store.final.read_bytes() == CONTENT


@pytest.mark.parametrize("synced", [0, 4096, 2 * MIB])
def test_after_a_power_cut_only_forced_bytes_count(store, server, synced):
    server.faults.append(Fault(cut_after=MIB))
    job = store.job(server.url(), CONTENT, attempts=1)
    store.refused(job)
    left = json.loads(store.sidecar.read_text())
    store.sidecar.write_text(json.dumps({**left, "boot_id": "another boot", "synced_bytes": synced}))
    kept = min(synced, MIB)
    with store.part.open("r+b") as part:
        part.seek(kept)
        part.write(bytes(MIB - kept))
    store.pull(job)
    assert server.ranges == ["", f"bytes={kept}-" if kept else ""]


def test_trusted_first_download_is_recorded_and_demanded_later(store, server):
    job = store.job(server.url(), None)
    assert store.pull(job)["sha256"] == HASH
    assert json.loads(store.record.read_text())["trusted_first_download"] is True
    assert store.pull(job)["changed"] is False
    store.final.unlink()
    server.always = Fault(content=OTHER, etag='"other"')
    answer = store.refused(job)
    assert answer["error_id"] == "model-hash-mismatch"
    assert HASH in answer["why"]
    server.always = Fault()
    assert store.pull(job)["sha256"] == HASH


def test_trusted_file_that_was_published_but_not_recorded_is_kept(store, server):
    job = store.job(server.url(), None)
    store.pull(job)
    record = json.loads(store.record.read_text())
    store.sidecar.write_text(json.dumps({"url": record["url"], "sha256": record["sha256"]}))
    store.record.unlink()
    assert store.pull(job)["state"] == "recorded"
    assert len(server.seen) == 1


def test_trust_counts_for_one_url_only(store, server):
    store.pull(store.job(server.url(), None))
    server.always = Fault(content=OTHER, etag='"other"')
    assert store.pull(store.job(server.url("other.gguf"), None))["sha256"] == sha256(OTHER)


def test_trusted_download_is_not_continued_without_a_strong_etag(store, server):
    server.faults.extend([Fault(etag='W/"weak"', cut_after=MIB)])
    store.pull(store.job(server.url(), None))
    assert store.final.read_bytes() == CONTENT


def test_trusted_download_never_mixes_two_contents(store, server):
    server.faults.extend(
        [Fault(content=OTHER, etag='"other"', cut_after=MIB), Fault(if_range=False, etag=""), Fault()]
    )
    assert store.pull(store.job(server.url(), None))["sha256"] == HASH


def test_trusted_file_of_unknown_origin_is_fetched(store, server):
    store.final.write_bytes(OTHER)
    assert store.pull(store.job(server.url(), None))["sha256"] == HASH


def test_safetensors(store, server):
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    server.always = Fault(content=content, etag='"st"')
    store.pull(store.job(server.url(), content, file_name="model.safetensors"))
    assert (store.directory / "model.safetensors").read_bytes() == content


def test_gguf_under_a_safetensors_name(store, server):
    answer = store.refused(store.job(server.url(), CONTENT, file_name="model.safetensors"))
    assert answer["error_id"] == "model-format-wrong"


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


def test_bytes_are_on_disk_before_the_name_and_the_name_before_the_record(store, server, monkeypatch):
    script, steps = load_script(), []

    def noted(kind, operation, name):
        def run(*args):
            steps.append((kind, name(*args)))
            return operation(*args)

        return run

    def opened(descriptor):
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync, opened))
    for method in ("rename", "replace"):
        operation = noted("rename", getattr(Path, method), lambda _path, target: Path(target).name)
        monkeypatch.setattr(Path, method, operation)
    job = script.read_job(json.dumps(store.job(server.url(), CONTENT)))
    assert script.pull(store.directory, job)["state"] == "pulled"
    published = steps.index(("rename", "model.gguf"))
    assert steps[published - 1 : published + 4] == [
        ("sync", "model.gguf.part"),
        ("rename", "model.gguf"),
        ("sync", "store"),
        ("sync", "model.gguf.json.new"),
        ("rename", "model.gguf.json"),
    ]


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
    before = seen(store)
    assert store.run("status", job=job) == (0, {"state": "present", "bytes": 2 * MIB})
    other = store.job(server.url(), OTHER)
    assert store.run("status", job=other) == (0, {"state": "different", "bytes": 2 * MIB})
    assert seen(store) == before
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
