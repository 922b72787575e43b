"""A pull that is killed anywhere is finished by the next one, and no wrong file ever has the final name."""

from __future__ import annotations

import itertools
import json
import random
import time
from pathlib import Path

import pytest

from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import SCRIPT, Store, gguf, sha256

MIB = 1 << 20
CONTENT = gguf(3 * MIB)
OLD = gguf(MIB, seed=7)
DIE_AT = Path(__file__).with_name("die_at.py")


def assert_converged(store):
    assert store.names() == ["model.gguf", "model.gguf.json"]
    assert store.final.read_bytes() == CONTENT
    assert json.loads(store.record.read_text())["sha256"] == sha256(CONTENT)
    assert store.record.stat().st_mtime_ns == store.final.stat().st_mtime_ns


@pytest.mark.parametrize("kind", ["fresh", "replace", "trust", "upload"])
def test_killed_before_every_step_in_the_store(tmp_path, kind):
    reached = 0
    with FaultServer(CONTENT) as server:
        for last in itertools.count(1):
            store = Store(tmp_path / f"store-{last}")
            job = prepare(store, server, kind)
            wrapper = (str(DIE_AT), str(last), str(SCRIPT), str(store.directory))
            if store.start_pull(job, *wrapper).wait(timeout=30) != 137:
                break
            reached = last
            assert not store.final.exists() or store.final.read_bytes() in (OLD, CONTENT)
            finish(store, job, server)
    assert reached >= 12


def prepare(store, server, kind):
    if kind == "upload":
        (store.directory / ".upload").write_bytes(CONTENT)
        return store.job("", CONTENT, upload_path=str(store.directory / ".upload"))
    if kind == "replace":
        server.faults.append(Fault(content=OLD, etag='"old"'))
        store.pull(store.job(server.url("old.gguf"), OLD))
    return store.job(server.url(), None if kind == "trust" else CONTENT)


def finish(store, job, server):
    if job["upload_path"] and not store.final.exists():
        (store.directory / ".upload").write_bytes(CONTENT)
    store.pull(job)
    assert_converged(store)
    requests = len(server.seen)
    assert store.pull(job)["changed"] is False
    assert len(server.seen) == requests


def test_twenty_random_kills(tmp_path):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    store = Store(tmp_path / "store")
    with FaultServer(CONTENT, bytes_per_s=4 * MIB) as server:
        job = store.job(server.url(), CONTENT)
        for _ in range(20):
            pull = store.start_pull(job)
            time.sleep(dice.uniform(0.0, 0.5))
            pull.kill()
            pull.communicate()
            assert not store.final.exists() or store.final.read_bytes() == CONTENT
        store.pull(job)
        assert_converged(store)
        assert server.sent_bytes <= len(CONTENT) + 20 * MIB
    assert store.pull(job)["changed"] is False
