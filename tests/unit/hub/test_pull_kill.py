"""A pull that is killed anywhere is finished by the next one, and no wrong file ever has the final name."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import SCRIPT, Store, gguf, sha256

MIB = 1 << 20
CONTENT = gguf(2 * MIB)
OLD = gguf(MIB // 4, seed=7)
DIE_AT = Path(__file__).with_name("die_at.py")


def assert_converged(store):
    assert store.names() == ["model.gguf", "model.gguf.json"]
    assert store.final.read_bytes() == CONTENT
    assert json.loads(store.record.read_text())["sha256"] == sha256(CONTENT)
    assert store.record.stat().st_mtime_ns == store.final.stat().st_mtime_ns


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("replace", "trust", "upload")]


@pytest.mark.parametrize("kind", ["fresh", *SLOW])
def test_killed_before_every_step_in_the_store(tmp_path, kind):
    steps = 0
    with FaultServer(CONTENT) as server:
        before = Store(tmp_path / "before")
        if kind == "replace":
            server.faults.append(Fault(content=OLD, etag='"old"'))
            before.pull(before.job(server.url("old.gguf"), OLD))
        while die_and_finish(tmp_path, kind, server, steps + 1):
            steps += 1
    print(f"{kind}: {steps} steps")
    assert steps >= 20


def die_and_finish(tmp_path, kind, server, last):
    """Whether there is a step ``last`` to die at."""
    shutil.copytree(tmp_path / "before", tmp_path / f"store-{last}")
    store = Store(tmp_path / f"store-{last}")
    job = store.job(server.url(), None if kind == "trust" else CONTENT)
    upload = store.directory / ".upload"
    if kind == "upload":
        job |= {"url": "", "upload_path": str(upload)}
        upload.write_bytes(CONTENT)
    wrapper = (str(DIE_AT), str(last), str(SCRIPT), str(store.directory))
    if store.start_pull(job, *wrapper).wait(timeout=30) != 137:
        return False
    assert not store.final.exists() or store.final.read_bytes() in (OLD, CONTENT)
    if kind == "upload" and store.final.exists():
        upload.unlink(missing_ok=True)
    elif kind == "upload":
        upload.write_bytes(CONTENT)
    store.pull(job)
    assert_converged(store)
    return True


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
