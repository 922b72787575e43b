"""What a server can do wrong, and what the pull makes of it."""

from __future__ import annotations

import email.utils
import json
import time
from pathlib import Path

import pytest

from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import Store, gguf

MIB = 1 << 20
CONTENT = gguf(3 * MIB)


@pytest.fixture
def server():
    with FaultServer(CONTENT) as running:
        yield running


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def pulled(store, server, **more):
    answer = store.pull(store.job(server.url(), CONTENT, **more))
    assert store.final.read_bytes() == CONTENT
    assert store.names() == ["model.gguf", "model.gguf.json"]
    return answer


def test_sound_server_one_request(store, server):
    answer = pulled(store, server)
    assert answer["changed"] is True
    assert answer["state"] == "pulled"
    assert server.ranges == [""]
    assert store.final.stat().st_mode & 0o7777 == 0o644
    assert store.record.stat().st_mode & 0o7777 == 0o644


def test_cut_connection_is_resumed_where_it_broke(store, server):
    server.faults.extend([Fault(cut_after=MIB), Fault(cut_after=MIB)])
    pulled(store, server)
    assert server.ranges == ["", f"bytes={MIB}-", f"bytes={2 * MIB}-"]
    assert [seen.if_range for seen in server.seen] == ["", server.etag, server.etag]
    assert server.sent_bytes == len(CONTENT)


def test_server_without_ranges_is_read_from_the_start(store, server):
    server.faults.extend([Fault(cut_after=MIB)])
    server.always = Fault(ranges=False)
    pulled(store, server)
    assert server.ranges == ["", f"bytes={MIB}-"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_server_is_asked_again(store, server, status):
    server.faults.extend([Fault(status=status)] * 3)
    pulled(store, server)
    assert len(server.seen) == 4


def test_retry_after_is_honoured_in_seconds_and_as_a_date(store, server):
    date = email.utils.formatdate(time.time() + 3, usegmt=True)
    server.faults.extend([Fault(status=503, retry_after="1"), Fault(status=429, retry_after=date)])
    before = time.monotonic()
    pulled(store, server)
    assert time.monotonic() - before >= 1.9


def test_server_that_stays_busy_is_given_up(store, server):
    server.always = Fault(status=503)
    answer = store.refused(store.job(server.url(), CONTENT, attempts=3))
    assert answer["error_id"] == "model-download-failed"
    assert "503" in answer["why"]
    assert len(server.seen) == 3
    assert store.names() == []


def test_long_retry_after_is_not_waited_for(store, server):
    server.always = Fault(status=503, retry_after="3600")
    answer = store.refused(store.job(server.url(), CONTENT))
    assert answer["error_id"] == "model-download-failed"
    assert len(server.seen) == 1


def test_cuts_without_progress_are_bounded_and_the_part_stays(store, server):
    server.faults.append(Fault(cut_after=MIB))
    server.always = Fault(cut_after=0)
    answer = store.refused(store.job(server.url(), CONTENT, attempts=4))
    assert answer["error_id"] == "model-download-failed"
    assert len(server.seen) == 4
    assert store.part.stat().st_size == MIB
    server.always = Fault()
    pulled(store, server)
    assert server.ranges[-1] == f"bytes={MIB}-"


def test_server_without_ranges_that_always_cuts_is_given_up(store, server):
    server.always = Fault(ranges=False, cut_after=2 * MIB)
    answer = store.refused(store.job(server.url(), CONTENT, attempts=3))
    assert answer["error_id"] == "model-download-failed"
    assert len(server.seen) == 3


def test_stall_is_noticed_and_resumed(store, server):
    server.faults.append(Fault(stall_after=MIB))
    pulled(store, server, stall_timeout_s=1)
    assert server.ranges == ["", f"bytes={MIB}-"]


def test_slow_drip_counts_as_a_stall(store, server):
    server.faults.append(Fault(drip_bytes=20))
    pulled(store, server, stall_timeout_s=1)
    assert server.ranges[1].startswith("bytes=")


def test_stall_before_the_answer(store, server):
    server.faults.append(Fault(stall_after=0))
    pulled(store, server, stall_timeout_s=1)


@pytest.mark.parametrize("announced", [len(CONTENT) - 5, len(CONTENT) + 5])
def test_wrong_content_length_once(store, server, announced):
    server.faults.append(Fault(announce=announced))
    pulled(store, server)


@pytest.mark.parametrize("announced", [len(CONTENT) - 5, len(CONTENT) + 5])
def test_wrong_content_length_of_unknown_size(store, server, announced):
    server.faults.append(Fault(announce=announced))
    pulled(store, server, size_bytes=0)


def test_wrong_content_length_for_ever(store, server):
    server.always = Fault(announce=len(CONTENT) - 5)
    answer = store.refused(store.job(server.url(), CONTENT, attempts=3))
    assert answer["error_id"] == "model-download-failed"
    assert str(len(CONTENT)) in answer["why"]


def test_wrong_answer_in_the_middle_leaves_the_part_alone(store, server):
    page = b"<html>please log in</html>" * 10
    server.faults.extend([Fault(cut_after=2 * MIB), Fault(content=page, etag='"portal"')])
    pulled(store, server)
    assert server.ranges == ["", f"bytes={2 * MIB}-", f"bytes={2 * MIB}-"]


def test_changed_etag_in_the_middle_starts_from_zero(store, server):
    server.faults.extend([Fault(content=gguf(3 * MIB, seed=2), etag='"old"', cut_after=MIB)])
    pulled(store, server)
    assert server.ranges == ["", f"bytes={MIB}-"]
    assert server.seen[1].if_range == '"old"'


def test_changed_etag_of_a_server_that_ignores_if_range(store, server):
    old = gguf(3 * MIB, seed=2)
    server.faults.extend([Fault(content=old, etag='"old"', cut_after=MIB), Fault(if_range=False)])
    pulled(store, server)
    assert server.ranges == ["", f"bytes={MIB}-", ""]


def test_mixed_content_without_any_etag_is_found_by_the_hash(store, server):
    old = gguf(3 * MIB, seed=2)
    server.faults.extend([Fault(content=old, etag="", cut_after=MIB), Fault(etag="")])
    pulled(store, server)
    assert server.ranges == ["", f"bytes={MIB}-", ""]


def test_corrupt_byte_is_fetched_once_more(store, server):
    server.faults.append(Fault(corrupt_at=MIB + 7))
    pulled(store, server)
    assert server.ranges == ["", ""]


def test_corrupt_source_is_refused(store, server):
    server.always = Fault(corrupt_at=MIB + 7)
    answer = store.refused(store.job(server.url(), CONTENT))
    assert answer["error_id"] == "model-hash-mismatch"
    assert len(server.seen) == 2
    assert store.names() == []


@pytest.mark.parametrize(
    ("status", "error_id"),
    [
        (401, "model-gated"),
        (403, "model-gated"),
        (404, "model-not-found"),
        (410, "model-not-found"),
        (418, "model-download-failed"),
    ],
)
def test_final_answers_are_not_repeated(store, server, status, error_id):
    server.always = Fault(status=status)
    answer = store.refused(store.job(server.url(), CONTENT))
    assert answer["error_id"] == error_id
    assert len(server.seen) == 1
    assert store.names() == []


def test_web_page_is_refused_before_it_is_kept(store, server):
    server.always = Fault(content=b"<!DOCTYPE html><title>hello</title>")
    answer = store.refused(store.job(server.url(), None))
    assert answer["error_id"] == "model-format-wrong"
    assert store.names() == []


def test_encoded_body_is_refused(store, server):
    server.always = Fault(encoding="gzip")
    answer = store.refused(store.job(server.url(), CONTENT, attempts=2))
    assert answer["error_id"] == "model-download-failed"


def test_chunked_answer_without_length(store, server):
    server.always = Fault(chunked=True)
    pulled(store, server)


def test_chunked_answer_cut_short(store, server):
    server.faults.append(Fault(chunked=True, cut_after=MIB))
    pulled(store, server, size_bytes=0)


def test_endless_answer_is_left(store, server):
    server.always = Fault(chunked=True, content=gguf(60 * MIB))
    answer = store.refused(store.job(server.url(), CONTENT, attempts=1))
    assert "more than" in answer["why"]
    assert server.sent_bytes < 30 * MIB
    assert store.names() == []


def test_answer_without_length_or_hash_cannot_be_trusted(store, server):
    server.always = Fault(length=False)
    answer = store.refused(store.job(server.url(), None, attempts=2))
    assert answer["error_id"] == "model-download-failed"
    assert "cut-off" in answer["why"]


def test_answer_without_length_cut_short_is_found_by_the_hash(store, server):
    server.faults.append(Fault(length=False, cut_after=MIB))
    pulled(store, server, size_bytes=0)


def test_wrong_content_range(store, server):
    server.faults.extend([Fault(cut_after=MIB), Fault(content_range=f"bytes 5-9/{len(CONTENT)}")])
    pulled(store, server)
    assert server.ranges == ["", f"bytes={MIB}-", ""]


def test_range_behind_the_end_means_complete(store, server):
    store.part.write_bytes(CONTENT)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    job = store.job(server.url(), CONTENT, size_bytes=0)
    left = {"boot_id": boot_id, "etag": server.etag, "sha256": job["sha256"], "url": job["url"]}
    store.sidecar.write_text(json.dumps({**left, "synced_bytes": 0, "total_bytes": 0}))
    store.pull(job)
    assert server.ranges == [f"bytes={len(CONTENT)}-"]
    assert store.final.read_bytes() == CONTENT


def test_nobody_listens(store):
    answer = store.refused(store.job("http://127.0.0.1:9/model.gguf", CONTENT, attempts=2))
    assert answer["error_id"] == "model-download-failed"
    assert "refused" in answer["why"].lower()


def test_unknown_host(store):
    answer = store.refused(store.job("http://nowhere.invalid/model.gguf", CONTENT, attempts=2))
    assert answer["error_id"] == "model-download-failed"
