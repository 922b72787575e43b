"""Pulls that are at work are ended before their store is taken away, and no others."""

from __future__ import annotations

import time

from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import Store, gguf

CONTENT = gguf(1 << 20)


def wait_for_part(store):
    deadline = time.monotonic() + 10
    while not (store.part.exists() and store.part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_pull_at_work_is_ended_and_can_go_on(tmp_path):
    store, other = Store(tmp_path / "store"), Store(tmp_path / "other")
    with FaultServer(CONTENT) as server:
        stalled = Fault(stall_after=1 << 18, stall_s=60)
        server.faults += [stalled, stalled]
        job = store.job(server.url(), CONTENT, stall_timeout_s=60)
        pull, untouched = store.start_pull(job), other.start_pull(job)
        wait_for_part(store)
        wait_for_part(other)
        assert store.run("stop") == (0, {"changed": True, "stopped": 1})
        assert pull.wait(timeout=10) == -9
        assert untouched.poll() is None
        assert store.part.stat().st_size >= 1 << 18
        assert other.run("stop") == (0, {"changed": True, "stopped": 1})
        untouched.wait(timeout=10)
        server.release.set()
        assert store.pull(job)["state"] == "pulled"
        assert server.sent_bytes < 2 * len(CONTENT) + (1 << 18)


def test_where_nothing_pulls_nothing_is_stopped(tmp_path):
    store = Store(tmp_path / "store")
    assert store.run("stop") == (0, {"changed": False, "stopped": 0})
    store.directory.rmdir()
    assert store.run("stop") == (0, {"changed": False, "stopped": 0})
