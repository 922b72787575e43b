"""The lab's content is what it claims to be: built once, signed, installable, and a server that answers."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import install_channel
from tests.lab.content import Content, ensure_content
from tests.lab.content_part import ensure_part
from tests.lab.debian_packages import DebianPackage, find_packages, unpack
from tests.lab.layout import Lab, LabError, open_lab
from tests.lab.mirror import Mirror
from tests.lab.mirror_debian import upstream_of
from tests.lab.mirror_files import mirror_content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.host import LabHost
    from tests.lab.mirror_client import MirrorClient

KEY = "a-key-of-the-lab-tests"
LIBRARIES = [
    {"name": "lab-glibc", "build": "lab_0"},
    {"name": "lab-libgcc", "build": "lab_0"},
    {"name": "lab-openssl", "build": "lab_0"},
]
HARDENED_UNIT = """\
[Service]
ExecStart={prefix}/bin/llama-server --model {model} --host 127.0.0.1 --port 8080 -c 2048 -ngl 0 \
--parallel 1 --fit off --api-key-file ${{CREDENTIALS_DIRECTORY}}/api-key
LoadCredential=api-key:/etc/lab-api-key
DynamicUser=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectProc=invisible
ProcSubset=pid
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
NoExecPaths=/
ExecPaths={prefix}
"""


@pytest.fixture(scope="module")
def content() -> Content:
    return ensure_content(open_lab().directory)


@pytest.fixture(scope="module")
def channel(content: Content) -> Iterator[str]:
    with Mirror(mirror_content(open_lab())) as mirror:
        yield f"{mirror.listen('127.0.0.1')}/conda/conda-forge"


def _install(channel: str, spec: str, prefix: Path, *options: str) -> list[dict[str, str]]:
    argv = (sys.executable, install_channel.__file__, channel, spec, str(prefix), *options)
    return _without_versions(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def _without_versions(packages: str) -> list[dict[str, str]]:
    return [{"name": p["name"], "build": p["build"]} for p in json.loads(packages)]


def _build_slowly(log: Path, directory: Path) -> None:
    time.sleep(0.2)
    (directory / "file").write_text("made")
    with log.open("a") as file:
        file.write("built\n")


def _ensure(lab: Lab, log: Path, _: int) -> str:
    return (ensure_part(lab, "part", "recipe 1", partial(_build_slowly, log)) / "file").read_text()


def test_processes_that_want_a_part_at_once_build_it_once(tmp_path: Path):
    lab, log = Lab(tmp_path / "lab"), tmp_path / "log"
    with ProcessPoolExecutor(4) as pool:
        assert list(pool.map(partial(_ensure, lab, log), range(4))) == ["made"] * 4
    assert log.read_text() == "built\n"


def test_a_part_is_rebuilt_for_a_new_recipe_and_never_left_half_made(tmp_path: Path):
    lab, log = Lab(tmp_path / "lab"), tmp_path / "log"
    _ensure(lab, log, 0)

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise LabError("no network")

    with pytest.raises(LabError):
        ensure_part(lab, "part", "recipe 2", fail)
    assert _ensure(lab, log, 0) == "made"
    assert log.read_text() == "built\n"
    rebuilt = ensure_part(lab, "part", "recipe 2", partial(_build_slowly, log))
    assert sorted(path.name for path in rebuilt.iterdir()) == [".recipe", "file"]
    assert log.read_text() == "built\nbuilt\n"


def test_the_model_is_the_known_file(content: Content):
    with content.model_path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    assert found == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert content.model_sha256 == found
    assert content.model_path.stat().st_size == content.model_size_bytes == 98_362_432


def test_the_wheels_are_those_of_the_targets(content: Content):
    assert [path.name for path in content.pypi_dir.glob("*.whl")] == [
        "py_rattler-0.28.0-cp310-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    ]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A Debian archive on disk that has a real InRelease of sid and nothing else."""
    release = tmp_path / "dists" / "sid" / "InRelease"
    release.parent.mkdir(parents=True)
    release.write_bytes(_fetch_release("sid"))
    return tmp_path


def _fetch_release(suite: str) -> bytes:
    with urllib.request.urlopen(f"{upstream_of('debian')}/dists/{suite}/InRelease", timeout=60) as reply:
        return reply.read()


def test_an_altered_debian_release_is_refused(archive: Path):
    release = archive / "dists" / "sid" / "InRelease"
    release.write_bytes(release.read_bytes().replace(b"Origin: Debian", b"Origin: Debiam", 1))
    with pytest.raises(LabError, match="is not signed by a key of"):
        find_packages(archive.as_uri(), "sid", ["libc6"])


def test_another_suite_s_release_is_refused(archive: Path):
    (archive / "dists" / "sid" / "InRelease").write_bytes(_fetch_release("trixie"))
    with pytest.raises(LabError, match="another suite's InRelease"):
        find_packages(archive.as_uri(), "sid", ["libc6"])


def test_an_altered_debian_package_is_refused(tmp_path: Path):
    (tmp_path / "a.deb").write_bytes(b"not what the index names")
    package = DebianPackage("a", "1", "a.deb", hashlib.sha256(b"what the index names").hexdigest(), 20)
    with pytest.raises(LabError, match="expected"):
        unpack(tmp_path.as_uri(), package, tmp_path / "out")


def test_a_machine_without_a_card_gets_the_cpu_variant(channel: str, tmp_path: Path):
    installed = _install(channel, "llama.cpp", tmp_path / "prefix")
    assert installed == [*LIBRARIES, {"name": "llama.cpp", "build": "cpu_lab_0"}]
    assert not (tmp_path / "prefix/share/llama.cpp/cuda-variant").exists()


def test_the_cuda_variant_wants_a_card_and_is_marked(channel: str, tmp_path: Path):
    with pytest.raises(subprocess.CalledProcessError) as refusal:
        _install(channel, "llama.cpp * cuda129*", tmp_path / "without")
    assert "__cuda" in refusal.value.stderr
    installed = _install(channel, "llama.cpp * cuda129*", tmp_path / "with", "--cuda")
    assert installed == [*LIBRARIES, {"name": "llama.cpp", "build": "cuda129_lab_0"}]
    assert (tmp_path / "with/share/llama.cpp/cuda-variant").read_text() == "cuda129\n"


def test_the_server_runs_from_its_prefix_alone(channel: str, content: Content, tmp_path: Path):
    prefix, key_file = tmp_path / "prefix", tmp_path / "key"
    _install(channel, "llama.cpp * cpu*", prefix)
    key_file.write_text(f"{KEY}\n")
    port = _free_port()
    argv = (
        *(prefix / "bin/llama-server", "--model", content.model_path, "--host", "127.0.0.1"),
        *("--port", str(port), "-c", "2048", "-ngl", "0", "--parallel", "1", "--fit", "off"),
        *("--api-key-file", key_file),
    )
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(argv, env={}, stdout=log, stderr=log) as server,
    ):
        try:
            base_url = f"http://127.0.0.1:{port}"
            _wait_for_health(base_url, server)
            _check_answers(base_url)
            _check_identity(prefix, Path(f"/proc/{server.pid}"))
        finally:
            server.terminate()


@pytest.mark.host
def test_the_server_runs_hardened_on_debian_13(host: LabHost, mirror: MirrorClient, content: Content):
    prefix = Path("/opt/lab/envs/llama_cpp")
    _plant(host.rootfs, content, prefix)
    installed = host.root(
        *("env", "PYTHONPATH=/opt/lab/rattler", "python3", "/opt/lab/install_channel.py"),
        *(mirror.url("conda/conda-forge"), "llama.cpp", str(prefix)),
    )
    assert _without_versions(installed) == [*LIBRARIES, {"name": "llama.cpp", "build": "cpu_lab_0"}]
    host.root("systemctl", "start", "lab-llama")
    pid = host.root("systemctl", "show", "--value", "--property=MainPID", "lab-llama").strip()
    host.root("sh", "-c", _health_loop(pid))
    assert host.root("readlink", f"/proc/{pid}/exe").strip() == str(prefix / "bin/llama-server")
    running = host.root("sha256sum", f"/proc/{pid}/exe").split()[0]
    assert running == _recorded_sha256(host.rootfs / prefix.relative_to("/"), "bin/llama-server")
    assert {"NoNewPrivs:\t1", "Seccomp:\t2"} <= set(host.root("cat", f"/proc/{pid}/status").splitlines())


def _plant(rootfs: Path, content: Content, prefix: Path) -> None:
    """Give a host what the test needs besides its image: rattler, the program, model, key and unit."""
    lab_files = rootfs / "opt/lab"
    for wheel in content.pypi_dir.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(lab_files / "rattler")
    shutil.copy(install_channel.__file__, lab_files)
    shutil.copy(content.model_path, lab_files / "model.gguf")
    (rootfs / "etc/lab-api-key").write_text(f"{KEY}\n")
    unit = HARDENED_UNIT.format(prefix=prefix, model="/opt/lab/model.gguf")
    (rootfs / "etc/systemd/system/lab-llama.service").write_text(unit)


def _health_loop(pid: str) -> str:
    """A shell loop that ends well when the server answers, badly when it dies."""
    ask = "urllib.request.urlopen('http://127.0.0.1:8080/health')"
    return (
        f'until python3 -c "import urllib.request; {ask}" 2>&-; do kill -0 {pid} || exit 1; sleep 0.2; done'
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _wait_for_health(base_url: str, server: subprocess.Popen[bytes]) -> None:
    while _get(f"{base_url}/health")[0] != 200:
        assert server.poll() is None
        time.sleep(0.1)


def _check_answers(base_url: str) -> None:
    assert _get(f"{base_url}/v1/models")[0] == 401
    assert _get(f"{base_url}/v1/models", KEY)[0] == 200
    question = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    status, answer = _get(f"{base_url}/v1/chat/completions", KEY, question)
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] > 0


def _check_identity(prefix: Path, process: Path) -> None:
    """The kernel knows the process by its path in the prefix, and its bytes are the recorded ones."""
    executable = (process / "exe").readlink()
    assert executable == prefix / "bin/llama-server"
    running = hashlib.sha256((process / "exe").read_bytes()).hexdigest()
    assert running == _recorded_sha256(prefix, "bin/llama-server")
    mapped = {Path(line.split()[-1]) for line in (process / "maps").read_text().splitlines() if ".so" in line}
    assert mapped
    assert [path for path in mapped if not path.is_relative_to(prefix)] == []


def _recorded_sha256(prefix: Path, path: str) -> str:
    (record,) = (prefix / "conda-meta").glob("llama.cpp-*.json")
    (entry,) = (e for e in json.loads(record.read_text())["paths_data"]["paths"] if e["_path"] == path)
    assert entry["file_mode"] == "binary"
    assert entry["sha256_in_prefix"] != entry["sha256"]
    return entry["sha256_in_prefix"]


def _get(url: str, key: str = "", data: Any = None) -> tuple[int, Any]:
    """Status (0: no connection) and the answer's JSON."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, headers | {"Content-Type": "application/json"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return 0, None
