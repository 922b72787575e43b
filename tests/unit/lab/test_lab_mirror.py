"""The mirror's serving, its faults and its log, over real sockets on the loopback interface."""

from __future__ import annotations

import hashlib
import http.client
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from urllib.parse import urlsplit

import pytest

from tests.lab.hub import HubFile, HubRepository
from tests.lab.mirror import Mirror
from tests.lab.mirror_answer import Request, wanted_range
from tests.lab.mirror_debian import DebianArchive
from tests.lab.mirror_faults import Fault
from tests.lab.mirror_routes import MirrorContent
from tests.lab.mirror_tls import Authority

BODY = bytes(range(256)) * 16


@pytest.fixture
def content(tmp_path):
    for name in ("conda", "pypi", "files", "debian"):
        (tmp_path / name).mkdir()
    (tmp_path / "files" / "a.bin").write_bytes(BODY)
    (tmp_path / "secret").write_text("outside")
    file = HubFile(tmp_path / "files" / "a.bin", hashlib.sha256(BODY).hexdigest())
    return MirrorContent(
        conda=tmp_path / "conda",
        pypi=(tmp_path / "pypi", tmp_path / "absent"),
        files=tmp_path / "files",
        debian_cache=tmp_path / "debian",
        hub=lambda: {"o/r": HubRepository("c" * 40, {"a.gguf": file})},
    )


@pytest.fixture
def server(content):
    with Mirror(content) as mirror:
        mirror.listen("127.0.0.1")
        yield mirror


@pytest.fixture
def client(server):
    return server.client()


def fetch(client, path="files/a.bin", method="GET", **headers):
    """Status, headers and as much of the body as came; names of headers with _ for -."""
    connection = http.client.HTTPConnection(urlsplit(client.base_url).netloc, timeout=5)
    connection.request(method, f"/{path}", headers={n.replace("_", "-"): v for n, v in headers.items()})
    reply = connection.getresponse()
    try:
        body = reply.read()
    except http.client.IncompleteRead as error:
        body = error.partial
    connection.close()
    return reply.status, reply.headers, body


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("bytes=0-", range(10)),
        ("bytes=3-5", range(3, 6)),
        ("bytes=3-99", range(3, 10)),
        ("bytes=-4", range(6, 10)),
        ("bytes=-99", range(10)),
        ("bytes=10-", range(0)),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("bytes=0-1,4-5", None),
    ],
)
def test_wanted_range(header, expected):
    assert wanted_range(header, 10) == expected


def test_whole_file_and_head(client):
    status, headers, body = fetch(client)
    assert (status, body) == (200, BODY)
    assert headers["Accept-Ranges"] == "bytes"
    head_status, head_headers, head_body = fetch(client, method="HEAD")
    assert (head_status, head_body) == (200, b"")
    assert head_headers["Content-Length"] == "4096"
    assert head_headers["ETag"] == headers["ETag"]


def test_range_with_a_condition(client):
    etag = fetch(client)[1]["ETag"]
    status, headers, body = fetch(client, Range="bytes=4000-", If_Range=etag)
    assert (status, body) == (206, BODY[4000:])
    assert headers["Content-Range"] == "bytes 4000-4095/4096"
    assert fetch(client, Range="bytes=4000-", If_Range='"another"')[0] == 200
    status, headers, _ = fetch(client, Range="bytes=4096-")
    assert (status, headers["Content-Range"]) == (416, "bytes */4096")


@pytest.mark.parametrize("path", ["files/../secret", "files/%2e%2e/secret", "files/none", "nowhere/x", ""])
def test_what_is_not_served(client, path):
    assert fetch(client, path)[0] == 404


def test_a_304_is_never_sent(client):
    modified = fetch(client)[1]["Last-Modified"]
    assert fetch(client, If_Modified_Since=modified)[0] == 200


def test_log_tells_what_was_asked(client):
    fetch(client, Range="bytes=0-9", Authorization="Bearer x")
    fetch(client, "files/none", method="HEAD")
    first, second = client.requests()
    assert first == {
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/files/a.bin",
        "range": "bytes=0-9",
        "authorized": True,
        "status": 206,
        "sent_bytes": 10,
    }
    assert (second["method"], second["status"], second["authorized"]) == ("HEAD", 404, False)
    assert client.requests(path="none") == [second]
    assert client.requests(client="198.18.0.2") == []
    client.forget_requests()
    assert client.requests() == []


def test_fault_no_ranges(client):
    with client.fault(Fault("no-ranges")):
        status, headers, body = fetch(client, Range="bytes=10-")
    assert (status, body) == (200, BODY)
    assert "Accept-Ranges" not in headers
    assert fetch(client, Range="bytes=10-")[0] == 206


@pytest.mark.parametrize(("delta", "announced", "got"), [(7, "4103", BODY), (-7, "4089", BODY[:-7])])
def test_fault_wrong_length(client, delta, announced, got):
    with client.fault(Fault("wrong-length", value=delta)):
        _, headers, body = fetch(client)
    assert headers["Content-Length"] == announced
    assert body == got


def test_fault_changed_etag_after_the_first_request(client):
    with client.fault(Fault("changed-etag", after=1)):
        etag = fetch(client)[1]["ETag"]
        status, headers, _ = fetch(client, Range="bytes=10-", If_Range=etag)
    assert status == 200
    assert headers["ETag"] != etag


def test_fault_cut_leaves_the_announced_length(client):
    with client.fault(Fault("cut", value=1000, times=1)):
        _, headers, body = fetch(client, Range="bytes=96-")
        assert headers["Content-Length"] == "4000"
        assert body == BODY[96:1096]
        assert fetch(client)[2] == BODY


def test_fault_corrupt_is_at_an_offset_of_the_file(client):
    with client.fault(Fault("corrupt", value=300)):
        whole, part = fetch(client)[2], fetch(client, Range="bytes=290-")[2]
    assert whole == BODY[:300] + bytes([BODY[300] ^ 0xFF]) + BODY[301:]
    assert part == whole[290:]


def test_fault_slow_drip(client):
    with client.fault(Fault("slow-drip", value=8192)):
        start = time.monotonic()
        assert fetch(client)[2] == BODY
    assert time.monotonic() - start > 0.4


def test_fault_status_for_so_many_requests(client):
    with client.fault(Fault("status", value=503, after=1, times=2)):
        assert [fetch(client)[0] for _ in range(4)] == [200, 503, 503, 200]


def test_fault_redirect_keeps_what_the_hub_says_about_the_file(client):
    target = client.url("files/a.bin")
    with client.fault(Fault("redirect", path="/hf/*", target=target)):
        status, headers, _ = fetch(client, "hf/o/r/resolve/main/a.gguf", method="HEAD")
    assert (status, headers["Location"]) == (302, target)
    assert headers["X-Linked-Size"] == "4096"


def test_fault_meets_only_its_path_client_and_method(client):
    client.add_fault(Fault("status", value=500, path="/conda/*"))
    client.add_fault(Fault("status", value=501, client="198.18.0.2"))
    client.add_fault(Fault("status", value=502, method="HEAD"))
    assert fetch(client)[0] == 200
    assert fetch(client, "conda/x")[0] == 500
    assert fetch(client, method="HEAD")[0] == 502
    client.clear_faults(client="198.18.0.2")
    assert fetch(client, "conda/x")[0] == 500
    client.clear_faults()
    assert fetch(client, "conda/x")[0] == 404


def test_control_refuses_what_is_no_fault(client):
    request = urllib.request.Request(client.url("-/faults"), b'{"kind": "meteor"}', method="POST")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)


def test_https_with_the_labs_authority(content, tmp_path):
    authority = Authority(tmp_path / "tls")
    with Mirror(content) as mirror:
        context = authority.server_context("127.0.0.1", ("mirror.lab",))
        url = f"{mirror.listen('127.0.0.1', tls=context)}/files/a.bin"
        trusting = ["curl", "--silent", "--fail", "--cacert", str(authority.certificate), url]
        assert subprocess.run(trusting, capture_output=True, check=True).stdout == BODY
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(url)


def make_wheel(directory, name, version):
    path = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def test_pip_downloads_from_the_index(client, content, tmp_path):
    wheel = make_wheel(content.pypi[0], "lab_sample", "1.2.0")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"Lab.Sample==1.2.0 --hash=sha256:{digest}\n")
    index = ("--isolated", f"--index-url={client.url('pypi/simple')}", "--require-hashes")
    target = tmp_path / "downloaded"
    argv = [sys.executable, "-m", "pip", "download", *index, f"--dest={target}", "-r", str(requirements)]
    subprocess.run(argv, check=True, capture_output=True)
    assert [path.name for path in target.iterdir()] == [wheel.name]
    assert b'href="lab-sample/"' in fetch(client, "pypi/simple/")[2]
    assert fetch(client, "pypi/simple/none/")[0] == 404


@pytest.fixture
def archive(client, tmp_path):
    return DebianArchive(lambda: client.url("files"), tmp_path / "cache")


def ask(archive, path):
    return archive(Request("GET", path, {}))


def test_debian_files_are_fetched_once(archive, client, content):
    package = content.files / "pool" / "main" / "a_1.0+b~c_all.deb"
    package.parent.mkdir(parents=True)
    package.write_bytes(b"deb")
    for _ in range(2):
        assert ask(archive, "pool/main/a_1.0+b~c_all.deb").body.read_bytes() == b"deb"
    assert len(client.requests(path="pool")) == 1


def test_debian_indexes_outlive_a_broken_upstream(archive, client, content, monkeypatch):
    index = content.files / "dists" / "x" / "InRelease"
    index.parent.mkdir(parents=True)
    index.write_bytes(b"one")
    monkeypatch.setattr("tests.lab.mirror_debian._INDEX_LIFETIME_S", 0)
    assert ask(archive, "dists/x/InRelease").body.read_bytes() == b"one"
    index.write_bytes(b"two")
    assert ask(archive, "dists/x/InRelease").body.read_bytes() == b"two"
    with client.fault(Fault("cut", value=0)):
        assert ask(archive, "dists/x/InRelease").body.read_bytes() == b"two"


@pytest.mark.parametrize("path", ["pool/none.deb", "etc/passwd", "pool/../../x", "dists/a?b"])
def test_debian_paths_that_are_not_there(archive, path):
    assert ask(archive, path).status == 404
