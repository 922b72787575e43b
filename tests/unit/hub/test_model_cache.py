"""One host gives its models to others: real processes, real TLS, on loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.hub.hub_double import Hub
from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import SCRIPT, Store, gguf, load_script, sha256

CONTENT = gguf(3 << 20)
OPEN_KEY = "a" * 64
TOKEN = "hf_sentinelThatMustNotLeak"
GATED_KEY = hashlib.sha256((OPEN_KEY + TOKEN).encode()).hexdigest()
PROGRAM = SCRIPT.with_name("model_cache.py")


@dataclass(frozen=True)
class Offer:
    """A cache that runs, and how its clients reach it."""

    process: subprocess.Popen[bytes]
    runtime: Path
    port: int
    certificate: str

    def job(self, key: str = OPEN_KEY) -> dict[str, str]:
        """What it adds to a job."""
        url = f"https://127.0.0.1:{self.port}"
        return {"cache_url": url, "cache_certificate": self.certificate, "cache_key": key}

    def ask(
        self, path: str, key: str = OPEN_KEY, **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """One request of somebody who holds the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers


@contextmanager
def offer_of(directory: Path, runtime: Path) -> Iterator[Offer]:
    runtime.mkdir()
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in (OPEN_KEY, GATED_KEY)]
    words = ["--dir", directory, "--runtime-dir", runtime, "--address", "127.0.0.1"]
    words += ["--open-key-sha256", hashes[0], "--gated-key-sha256", hashes[1]]
    process = subprocess.Popen([sys.executable, "-I", "-c", LOOPBACK, PROGRAM, *words])
    try:
        place = runtime / "offer.json"
        for _ in range(400):
            if place.exists() and place.stat().st_size:
                break
            assert process.poll() is None
            time.sleep(0.05)
        told = json.loads(place.read_text())
        yield Offer(process, runtime, told["port"], told["certificate"])
    finally:
        process.kill()
        process.wait()


LOOPBACK = """
import runpy, socket, sys
sys.argv = sys.argv[1:]
program = runpy.run_path(sys.argv[0])
program["main"].__globals__["own_address"] = lambda: "127.0.0.1"
program["main"]()
"""
"""Other hosts are not reached at loopback; these tests have nothing else."""


@pytest.fixture
def origin() -> Iterator[FaultServer]:
    with FaultServer(CONTENT) as running:
        yield running


@pytest.fixture
def giver(tmp_path: Path, origin: FaultServer) -> Store:
    """A store that has the model."""
    store = Store(tmp_path / "giver")
    store.pull(store.job(origin.url(), CONTENT))
    origin.seen.clear()
    return store


@pytest.fixture
def offer(giver: Store, tmp_path: Path) -> Iterator[Offer]:
    with offer_of(giver.directory, tmp_path / "run") as running:
        yield running


@pytest.fixture
def taker(tmp_path: Path) -> Store:
    return Store(tmp_path / "taker")


def test_what_the_cache_has_is_not_fetched_twice(offer: Offer, taker: Store, origin: FaultServer) -> None:
    job = taker.job(origin.url(), CONTENT, **offer.job())
    answer = taker.pull(job)
    assert (answer["changed"], answer["state"], answer["sha256"]) == (True, "pulled", sha256(CONTENT))
    assert taker.final.read_bytes() == CONTENT
    # The cache asks the origin whether it is open; the taker fetches nothing there.
    assert [seen.method for seen in origin.seen] == ["HEAD"]
    assert json.loads(taker.record.read_text())["url"] == origin.url()
    assert OPEN_KEY not in "".join(path.read_text() for path in taker.directory.glob("*.json"))
    assert taker.pull(job)["changed"] is False


def test_a_pull_goes_on_from_either_source(offer: Offer, taker: Store, origin: FaultServer) -> None:
    origin.always = Fault(cut_after=1 << 20)
    job = taker.job(origin.url(), CONTENT, attempts=1)
    taker.refused(job)
    begun = taker.part.stat().st_size
    assert begun == 1 << 20
    origin.seen.clear()
    taker.pull({**job, **offer.job()})
    assert [seen.method for seen in origin.seen] == ["HEAD"]
    assert taker.final.read_bytes() == CONTENT


def test_a_cache_that_is_gone_is_done_without(taker: Store, origin: FaultServer, offer: Offer) -> None:
    offer.process.kill()
    offer.process.wait()
    taker.pull(taker.job(origin.url(), CONTENT, **offer.job()))
    assert origin.ranges == [""]


def test_a_cache_that_dies_in_the_middle(
    taker: Store, origin: FaultServer, certificate: tuple[Path, Path]
) -> None:
    with FaultServer(CONTENT, tls=certificate) as dying:
        dying.faults.append(Fault(cut_after=1 << 20, etag=""))
        dying.always = Fault(status=500)
        url = dying.url("").rstrip("/")
        more = {"cache_url": url, "cache_certificate": certificate[0].read_text(), "cache_key": OPEN_KEY}
        taker.pull(taker.job(origin.url(), CONTENT, **more))
    assert origin.ranges == [f"bytes={1 << 20}-"]
    assert taker.final.read_bytes() == CONTENT
    assert {seen.path for seen in dying.seen} == {f"/{sha256(CONTENT)}"}


def test_a_cache_that_gives_something_else(
    taker: Store, origin: FaultServer, certificate: tuple[Path, Path]
) -> None:
    with FaultServer(CONTENT, tls=certificate) as wrong:
        wrong.always = Fault(corrupt_at=1000)
        url = wrong.url("").rstrip("/")
        more = {"cache_url": url, "cache_certificate": certificate[0].read_text(), "cache_key": OPEN_KEY}
        taker.pull(taker.job(origin.url(), CONTENT, **more))
    assert origin.ranges == [""]
    assert taker.final.read_bytes() == CONTENT


def test_somebody_elses_certificate_gets_no_key(
    offer: Offer, taker: Store, origin: FaultServer, certificate: tuple[Path, Path]
) -> None:
    with FaultServer(CONTENT, tls=certificate) as impostor:
        more = {**offer.job(), "cache_url": impostor.url("").rstrip("/")}
        taker.pull(taker.job(origin.url(), CONTENT, **more))
        assert impostor.seen == []
    assert origin.ranges == [""]


@pytest.mark.parametrize("key", ["", "b" * 64, GATED_KEY[:-1]])
def test_without_a_key_of_the_run_nothing_is_told(offer: Offer, key: str) -> None:
    assert offer.ask(f"/{sha256(CONTENT)}", key)[0] == 401
    assert offer.ask("/nothing", key)[0] == 401


@pytest.mark.parametrize(
    "path", ["/", "/model.gguf", "/../giver/model.gguf", f"/{'0' * 64}", "/model.gguf.json"]
)
def test_only_hashes_of_models_are_names(offer: Offer, path: str) -> None:
    assert offer.ask(path)[0] == 404


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ("", 200, None),
        ("bytes=0-", 206, f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"),
        ("bytes=1048577-", 206, f"bytes 1048577-{len(CONTENT) - 1}/{len(CONTENT)}"),
        (f"bytes={len(CONTENT)}-", 416, f"bytes */{len(CONTENT)}"),
        ("bytes=5-9", 200, None),
    ],
)
def test_ranges(offer: Offer, asked: str, status: int, told: str | None) -> None:
    headers = {"Range": asked} if asked else {}
    found, body, answer = offer.ask(f"/{sha256(CONTENT)}", **headers)
    assert (found, answer["Content-Range"]) == (status, told)
    start = int(asked[6:-1]) if status == 206 else 0
    assert body == (b"" if status == 416 else CONTENT[start:])


def test_a_model_that_was_touched_is_not_given(offer: Offer, giver: Store) -> None:
    giver.final.write_bytes(CONTENT[:-1] + b"x")
    assert offer.ask(f"/{sha256(CONTENT)}")[0] == 404


def test_gated_weights_need_the_gates_token(tmp_path: Path, taker: Store, origin: FaultServer) -> None:
    with Hub(files={"model.gguf": ("ab" * 32, 1)}, token=TOKEN) as hub:
        giver = Store(tmp_path / "giver")
        giver.pull(giver.job(origin.url(), CONTENT))
        record = json.loads(giver.record.read_text())
        stamp = giver.record.stat()
        giver.record.write_text(
            json.dumps({**record, "url": f"{hub.endpoint}/lab/model/resolve/main/model.gguf"})
        )
        os.utime(giver.record, ns=(stamp.st_mtime_ns, stamp.st_mtime_ns))
        with offer_of(giver.directory, tmp_path / "run") as offer:
            path = f"/{sha256(CONTENT)}"
            assert [offer.ask(path)[0], offer.ask(path)[0], offer.ask(path, GATED_KEY)[0]] == [403, 403, 200]
            hub.token = ""
            assert offer.ask(path)[0] == 403
        assert [(method, token) for method, _, token, _ in hub.seen] == [("HEAD", "")]
        with offer_of(giver.directory, tmp_path / "again") as offer:
            assert offer.ask(path)[0] == 200


def test_an_origin_that_cannot_be_asked_counts_as_gated(
    offer: Offer, giver: Store, origin: FaultServer
) -> None:
    origin.always = Fault(status=503)
    path = f"/{sha256(CONTENT)}"
    assert (offer.ask(path)[0], offer.ask(path, GATED_KEY)[0]) == (403, 200)


def test_the_private_key_is_on_no_disk(offer: Offer) -> None:
    assert sorted(path.name for path in offer.runtime.iterdir()) == ["certificate.pem", "offer.json"]
    assert "PRIVATE" not in (offer.runtime / "offer.json").read_text()


def test_arguments_hold_no_key(offer: Offer) -> None:
    words = Path(f"/proc/{offer.process.pid}/cmdline").read_text()
    assert OPEN_KEY not in words
    assert GATED_KEY not in words


def test_a_cache_without_a_certificate_is_not_asked(taker: Store, origin: FaultServer) -> None:
    job = taker.job(origin.url(), CONTENT, cache_url="https://127.0.0.1:9", cache_key=OPEN_KEY)
    taker.pull(job)
    assert origin.ranges == [""]


def test_keys_go_to_the_cache_only() -> None:
    script = load_script()
    job = script.Job("model.gguf", "hf:a/b/model.gguf", "https://hub/model.gguf", cache_url="https://c:1")
    assert script.may_carry_token(script.cache_job(job, "0" * 64))
    assert script.cache_job(job, "0" * 64).url == f"https://c:1/{'0' * 64}"
    plain = script.Job("model.gguf", "hf:a/b/model.gguf", "https://hub/model.gguf", cache_url="http://c:1")
    assert not script.may_carry_token(script.cache_job(plain, "0" * 64))
