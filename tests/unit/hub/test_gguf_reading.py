"""GGUF headers from files and over the wire: requests, bytes, parts, refusals, tokens."""

from __future__ import annotations

import pytest

from localai_deploy.errors import LocalaiError
from localai_deploy.hub.gguf import read_local, read_remote
from localai_deploy.hub.ranges import RemoteFile
from tests.unit.domain.gguf_writing import gguf, pair, tensor
from tests.unit.hub.server import Fault, FaultServer

NAMED = pair("general.architecture", "str", "llama")
SMALL = gguf([NAMED], [tensor("t", (32,))]) + bytes(128)
WORDS = pair("tokenizer.ggml.tokens", "[str]", ["some-longer-word"] * 400_000)
LARGE = gguf([WORDS, NAMED], [tensor("t", (32,))]) + bytes(1 << 20)


def part(number: int) -> bytes:
    pairs = [NAMED, pair("split.no", "u32", number), pair("split.count", "u32", 3)]
    return gguf(pairs, [tensor(f"t{number}", (32,))]) + bytes(128)


def test_a_small_header_takes_one_request() -> None:
    with FaultServer(SMALL) as server:
        assert read_remote(server.url()).architecture == "llama"
    assert len(server.seen) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_a_large_header_takes_two(ranges: bool) -> None:
    with FaultServer(LARGE) as server:
        server.always = Fault(ranges=ranges)
        assert read_remote(server.url()).architecture == "llama"
    assert len(server.seen) == 2


def test_the_weights_are_left_alone() -> None:
    with FaultServer(gguf([NAMED], [tensor("t", (32,))]) + bytes(32 << 20)) as server:
        remote = RemoteFile(server.url())
        assert len(remote.read(0, 1000)) == 1000
    assert (remote.requests, remote.received) == (1, 1000)


@pytest.mark.parametrize(
    ("fault", "error_id"),
    [
        (Fault(status=404), "model-not-found"),
        (Fault(status=401), "model-gated"),
        (Fault(status=403), "model-gated"),
        (Fault(status=500), "hub-unreachable"),
        (Fault(redirect="http://192.0.2.1/m.gguf"), "model-redirect-refused"),
        (Fault(content_range="bytes 7-9/10"), "model-ranges-refused"),
        (Fault(content_range="lines 1-2/10"), "model-ranges-refused"),
        (Fault(content=b"<!DOCTYPE html>"), "model-format-wrong"),
        (Fault(content=b""), "gguf-truncated"),
        (Fault(content=SMALL[:40]), "gguf-truncated"),
        (Fault(content=gguf([], [], version=9)), "gguf-version-unknown"),
    ],
)
def test_refusals(fault: Fault, error_id: str) -> None:
    with FaultServer(SMALL) as server:
        server.always = fault
        with pytest.raises(LocalaiError) as caught:
            read_remote(server.url())
    assert caught.value.error_id == error_id


def test_plain_http_elsewhere_is_not_asked() -> None:
    with pytest.raises(LocalaiError) as caught:
        read_remote("http://192.0.2.1/m.gguf")
    assert caught.value.error_id == "model-redirect-refused"


def test_the_token_stays_with_its_host() -> None:
    with FaultServer(SMALL) as other, FaultServer(SMALL) as server:
        server.always = Fault(redirect=other.url("there.gguf"))
        read_remote(server.url(), "secret")
    assert server.seen[0].authorization == "Bearer secret"
    assert other.seen[0].authorization == ""


def test_local_split_model(tmp_path) -> None:
    for number in range(3):
        (tmp_path / f"m-0000{number + 1}-of-00003.gguf").write_bytes(part(number))
    model = read_local(tmp_path / "m-00001-of-00003.gguf")
    assert (model.files, [row.name for row in model.tensors]) == (3, ["t0", "t1", "t2"])
    (tmp_path / "m-00003-of-00003.gguf").unlink()
    with pytest.raises(LocalaiError) as caught:
        read_local(tmp_path / "m-00001-of-00003.gguf")
    assert caught.value.error_id == "model-file-missing"


def test_a_local_file_that_is_cut_off(tmp_path) -> None:
    (tmp_path / "m.gguf").write_bytes(SMALL[:-50])
    with pytest.raises(LocalaiError) as caught:
        read_local(tmp_path / "m.gguf")
    assert caught.value.error_id == "gguf-truncated"
