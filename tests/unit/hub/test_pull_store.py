"""The store's own promises: records, adoption, resumption, trust and durability."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import Store, gguf, load_script, sha256

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
    before = store.stamps()
    answer = store.pull(job)
    assert (answer["changed"], answer["state"]) == (False, "present")
    assert len(server.seen) == 1
    assert store.stamps() == before


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
