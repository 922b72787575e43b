"""References of a runtime's release archives, and the lock that they make."""

from __future__ import annotations

import pytest

from localai_deploy.domain.archives import archive_lock, parse_archives
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.errors import InputError

BASE = "https://github.com/ggml-org/llama.cpp/releases/download/b11191"
SERVER = f"{BASE}/llama-b11191-bin-ubuntu-cuda-12.8-x64.tar.gz#sha256={'a' * 64}"
CUDART = f"{BASE}/cudart-llama-b11191-bin-ubuntu-cuda-12.8-x64.tar.gz#sha256={'b' * 64}"


def lock_of(*texts: str) -> EnvironmentLock:
    return archive_lock(parse_archives(texts), package="llama.cpp", variant="cuda12", platform="linux-64")


def test_the_first_archive_stands_for_the_runtimes_package() -> None:
    lock = lock_of(SERVER, CUDART)
    assert lock.from_archives
    assert [(one.name, one.version, one.build) for one in lock.packages] == [
        ("llama.cpp", "11191", "cuda12_archive"),
        ("cudart-llama-b11191-bin-ubuntu-cuda-12.8-x64", "11191", "cuda12_archive"),
    ]
    assert EnvironmentLock.from_data(lock.to_data()) == lock


def test_another_content_is_another_lock() -> None:
    assert lock_of(SERVER).digest != lock_of(SERVER.replace("a" * 64, "c" * 64)).digest


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("llama-b11191-bin-ubuntu-x64.tar.gz", "11191"),
        ("llama-v0.7.0-bin-ubuntu-x64.tgz", "0.7.0"),
        ("llama.cpp-0.7.0-cuda.tar.xz", "0.7.0"),
    ],
)
def test_version_is_in_the_files_name(name: str, version: str) -> None:
    (archive,) = parse_archives([f"https://example.org/{name}#sha256={'a' * 64}"])
    assert archive.version == version


@pytest.mark.parametrize(
    "value",
    [
        {"cuda12": SERVER.partition("#")[0]},
        {"cuda12": SERVER.replace("https", "http")},
        {"cuda12": SERVER[:-1]},
        {"cuda12": SERVER.replace(".tar.gz", ".zip")},
        {"cuda12": SERVER.replace("llama-b11191", "llama-latest")},
        {"cuda12": [SERVER, SERVER]},
        {"cuda12": []},
        {"cuda12": 5},
        {"cuda11": SERVER},
    ],
)
def test_refused(value: object) -> None:
    with pytest.raises(InputError) as refused:
        resolve_settings([{"localai_runtime_archives": Sourced(value, "test")}])
    assert refused.value.error_id == "archive-reference-invalid"


def test_one_alone_needs_no_list() -> None:
    settings = resolve_settings([{"localai_runtime_archives": Sourced({"cpu": SERVER}, "test")}])
    assert settings["localai_runtime_archives"].value == {"cpu": (SERVER,)}
