"""Where a token goes, where it never goes, and which servers are believed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from localai_deploy.hub import client, formats
from tests.unit.hub.server import Fault, FaultServer
from tests.unit.hub.store import Store, gguf, load_script

CONTENT = gguf(1 << 20)
TOKEN = "hf_sentinelThatMustNotLeak"
SCRIPT = load_script()


@pytest.fixture
def server():
    with FaultServer(CONTENT) as running:
        yield running


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def authorizations(server):
    return [seen.authorization for seen in server.seen]


def test_token_goes_to_the_own_host_on_every_attempt(store, server):
    server.faults.append(Fault(cut_after=1000))
    store.pull(store.job(server.url(), CONTENT, token=TOKEN))
    assert authorizations(server) == [f"Bearer {TOKEN}"] * 2


def test_token_does_not_follow_to_another_host(store, server):
    with FaultServer(CONTENT) as other:
        server.always = Fault(redirect=other.url("cdn.gguf"))
        store.pull(store.job(server.url(), CONTENT, token=TOKEN))
        assert authorizations(server) == [f"Bearer {TOKEN}"]
        assert authorizations(other) == [""]


def test_token_follows_within_the_host_and_range_everywhere(store, server):
    with FaultServer(CONTENT) as other:
        other.faults.append(Fault(cut_after=1000))
        server.faults.extend([Fault(redirect="/renamed.gguf"), Fault(redirect=other.url())] * 2)
        store.pull(store.job(server.url(), CONTENT, token=TOKEN))
        assert authorizations(server) == [f"Bearer {TOKEN}"] * 4
        assert [(seen.range, seen.if_range) for seen in other.seen] == [("", ""), ("bytes=1000-", other.etag)]


def test_token_is_for_the_hub_only(store, server):
    job = store.job(server.url(), CONTENT, token=TOKEN, reference=f"https://x/{server.url()}")
    store.pull(job)
    assert authorizations(server) == [""]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hub.example/x", True),
        ("http://hub.example/x", False),
        ("http://192.0.2.1/x", False),
        ("http://127.0.0.1:80/x", True),
        ("http://[::1]:80/x", True),
        ("http://localhost/x", True),
        ("http://127.0.0.1.example/x", False),
    ],
)
def test_token_over_plain_http_stays_on_this_machine(url, allowed):
    assert SCRIPT.may_carry_token(SCRIPT.Job("m.gguf", reference="hf:o/r/m.gguf", url=url)) is allowed
    assert client.may_carry_token(url) is allowed


def test_token_is_in_no_file_and_no_argument_list(store, server):
    server.faults.append(Fault(stall_after=70_000))
    pull = store.start_pull(store.job(server.url(), CONTENT, token=TOKEN, stall_timeout_s=60))
    while not store.part.exists() or store.part.stat().st_size == 0:
        time.sleep(0.01)
    process = Path(f"/proc/{pull.pid}")
    shown = [(process / name).read_bytes() for name in ("cmdline", "environ")]
    shown += [path.read_bytes() for path in store.directory.iterdir()]
    server.release.set()
    output = "".join(pull.communicate(timeout=60))
    shown += [path.read_bytes() for path in store.directory.iterdir()]
    assert server.seen[0].authorization == f"Bearer {TOKEN}"
    assert len(shown) >= 7
    assert not any(TOKEN.encode() in data for data in shown)
    assert TOKEN not in output


def test_token_is_in_no_error(store, server):
    server.always = Fault(status=403)
    answer = store.refused(store.job(server.url(), CONTENT, token=TOKEN))
    assert answer["error_id"] == "model-gated"
    assert TOKEN not in str(answer)
    assert TOKEN not in repr(SCRIPT.Job("m.gguf", token=TOKEN))


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x.gguf", "file:///etc/passwd"])
def test_redirect_away_from_http_is_refused(store, server, target):
    server.always = Fault(redirect=target)
    answer = store.refused(store.job(server.url(), CONTENT))
    assert answer["error_id"] in ("model-redirect-refused", "model-download-failed")
    assert store.names() == []


def test_endless_redirects_end(store, server):
    server.always = Fault(redirect="/again.gguf")
    answer = store.refused(store.job(server.url(), CONTENT))
    assert answer["error_id"] == "model-download-failed"
    assert len(server.seen) < 20


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_kinds_of_redirect(store, server, status):
    server.faults.append(Fault(status=status, redirect="/there.gguf"))
    store.pull(store.job(server.url(), CONTENT))
    assert [seen.path for seen in server.seen] == ["/model.gguf", "/there.gguf"]


def test_unknown_certificate_is_refused_at_once(store, certificate):
    with FaultServer(CONTENT, tls=certificate) as server:
        answer = store.refused(store.job(server.url(), CONTENT))
        assert answer["error_id"] == "model-tls-failed"
        assert server.seen == []


def test_known_certificate(tmp_path, certificate):
    store = Store(tmp_path / "store", SSL_CERT_FILE=str(certificate[0]))
    with FaultServer(CONTENT, tls=certificate) as server:
        server.faults.append(Fault(cut_after=70_000))
        store.pull(store.job(server.url(), CONTENT))
        assert store.final.read_bytes() == CONTENT


def test_redirect_down_from_https_is_refused(tmp_path, certificate):
    store = Store(tmp_path / "store", SSL_CERT_FILE=str(certificate[0]))
    with FaultServer(CONTENT) as plain, FaultServer(CONTENT, tls=certificate) as server:
        server.always = Fault(redirect=plain.url())
        answer = store.refused(store.job(server.url(), CONTENT))
        assert answer["error_id"] == "model-redirect-refused"
        assert plain.seen == []


@pytest.mark.parametrize(
    ("name", "head", "right"),
    [
        ("a.gguf", b"GGUF\x03\0\0\0" + bytes(8), True),
        ("a.GGUF", b"GGUF\x02\0\0\0" + bytes(8), True),
        ("a.gguf", b"GGUF\0\0\0\x03" + bytes(8), False),
        ("a.gguf", b"GGUF", False),
        ("a.gguf", b"GGML\x03\0\0\0" + bytes(8), False),
        ("a.gguf", b"<!DOCTYPE html>\n", False),
        ("a.gguf", b"version https://git-lfs", False),
        ("a.safetensors", (64).to_bytes(8, "little") + b'{"a":{}}', True),
        ("a.safetensors", (64).to_bytes(8, "little") + b"<html>  ", False),
        ("a.safetensors", (10**9).to_bytes(8, "little") + b'{"a":{}}', False),
        ("a.safetensors", b"\x80\x04\x95" + bytes(13), False),
        ("a.safetensors", b"PK\x03\x04" + bytes(12), False),
        ("a.safetensors", b"", False),
    ],
)
def test_first_bytes_are_judged_alike_on_host_and_controller(name, head, right):
    assert formats.is_model(name, head) is right
    try:
        SCRIPT.check_magic(name, head)
        judged = True
    except SCRIPT.Refusal:
        judged = False
    assert judged is right
