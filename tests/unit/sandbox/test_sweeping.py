"""Finding what a sandbox left: only what carries its own token, and never this machine's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from localai_deploy.errors import LocalaiError
from localai_deploy.sandbox import sweeping
from localai_deploy.sandbox.cache import Cache
from localai_deploy.sandbox.settings import (
    Forward,
    Places,
    Settings,
    default_settings,
    parse_archive,
    parse_forward,
    places_of,
    read_settings,
    remove_private_files,
    write_settings,
)
from localai_deploy.sandbox_record import make_private

TOKEN = "0123abcd"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cgroups and namespaces as plain folders and files."""
    for name in ("cgroup", "netns", "propagate"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sweeping, "_CGROUP_MOUNTS", (tmp_path / "cgroup",))
    monkeypatch.setattr(sweeping, "_NAMESPACES", tmp_path / "netns")
    monkeypatch.setattr(sweeping, "_NSPAWN_RUN", tmp_path / "propagate")
    return tmp_path


def test_remains_are_those_of_the_token(kernel: Path) -> None:
    data = kernel / "data"
    assert sweeping.remains(TOKEN, data) == []
    data.mkdir()
    (kernel / "cgroup" / f"localai-{TOKEN}-100" / "inner").mkdir(parents=True)
    (kernel / "cgroup" / "localai-ffffffff-100").mkdir()
    (kernel / "netns" / f"localai-{TOKEN}").touch()
    (kernel / "netns" / "other").touch()
    assert sweeping.remains(TOKEN, data) == [
        f"control group {kernel}/cgroup/localai-{TOKEN}-100",
        f"network namespace localai-{TOKEN}",
        str(data),
    ]


def test_only_the_tokens_own_is_removed(kernel: Path) -> None:
    data = kernel / "data"
    (data / "deep").mkdir(parents=True)
    (kernel / "cgroup" / f"localai-{TOKEN}-100" / "inner").mkdir(parents=True)
    (kernel / "cgroup" / "localai-ffffffff-100").mkdir()
    (kernel / "propagate" / f"localai-{TOKEN}-100").mkdir()
    sweeping.sweep(TOKEN, data)
    assert not data.exists()
    assert [path.name for path in (kernel / "cgroup").iterdir()] == ["localai-ffffffff-100"]
    assert not list((kernel / "propagate").iterdir())
    sweeping.sweep(TOKEN, data)


def test_processes_of_this_machines_own_network_are_never_ours(kernel: Path) -> None:
    (kernel / "netns" / f"localai-{TOKEN}").symlink_to("/proc/self/ns/net")
    assert sweeping._pids(TOKEN) == []


def test_mount_points_with_blanks() -> None:
    assert sweeping._unescaped(rb"/a\040b\134c") == b"/a b\\c"


def test_what_cannot_be_removed_is_named(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_KILL_TIMEOUT_S", 0.1)
    group = kernel / "cgroup" / f"localai-{TOKEN}-100"
    group.mkdir()
    (group / "busy").touch()
    with pytest.raises(LocalaiError) as caught:
        sweeping.sweep(TOKEN, kernel / "data")
    assert caught.value.error_id == "sandbox-remains"
    assert str(group) in caught.value.why


def test_settings_come_back_and_go(tmp_path: Path) -> None:
    environment = {
        "LOCALAI_DEPLOY_SANDBOX_DIR": str(tmp_path / "run"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    places = places_of(environment)
    assert places.data == tmp_path / "state" / "localai-deploy" / f"sandbox-{places.token}"
    make_private(places.runtime)
    settings = Settings("bare", 8, "/cache", "http://192.0.2.1/debian", ("192.0.2.1:80",))
    assert read_settings(places) is None
    write_settings(places, settings)
    assert read_settings(places) == settings
    assert places_of(environment | {"XDG_STATE_HOME": "/elsewhere"}) == places
    remove_private_files(places)
    assert list(places.runtime.iterdir()) == []


def test_two_directories_have_two_tokens() -> None:
    assert Places(Path("/a"), Path("/d")).token != Places(Path("/b"), Path("/d")).token


def test_defaults() -> None:
    assert default_settings({"XDG_CACHE_HOME": "/c"}) == Settings("container", 9, "/c/localai-deploy/sandbox")


def test_addresses() -> None:
    assert parse_forward("198.19.3.4:8443") == Forward("198.19.3.4", 8443)
    named = parse_forward("mirror.lab=198.19.3.4:8443")
    assert (named, str(named)) == (Forward("198.19.3.4", 8443, "mirror.lab"), "mirror.lab=198.19.3.4:8443")
    for text in (
        "",
        "198.19.3.4",
        "host:80",
        "198.19.3.4:0",
        "198.19.3.4:70000",
        "::1:80",
        "127.0.0.1:80",
        "A_b=198.19.3.4:80",
    ):
        with pytest.raises(LocalaiError) as caught:
            parse_forward(text)
        assert caught.value.error_id == "sandbox-forward-invalid"


def test_archives() -> None:
    assert parse_archive("http://deb.debian.org/debian/") == "http://deb.debian.org/debian"
    for text in (
        "",
        "deb.debian.org",
        "ftp://deb.debian.org/debian",
        "http:///debian",
        "http://127.0.0.1:3142/debian",
    ):
        with pytest.raises(LocalaiError) as caught:
            parse_archive(text)
        assert caught.value.error_id == "sandbox-mirror-invalid"


def test_the_cache_removes_only_its_own(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.container_root.mkdir(parents=True)
    (cache.container_root / "file").write_bytes(b"x" * 5000)
    (cache.directory / "somebody's").touch()
    assert cache.size_bytes() >= 5000
    cache.remove()
    assert [path.name for path in cache.directory.iterdir()] == ["somebody's"]
    (cache.directory / "somebody's").unlink()
    cache.remove()
    assert not cache.directory.exists()


def test_a_cache_in_use_is_not_emptied(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with cache.in_use(), cache.in_use():
        (cache.container_root).mkdir()
        with pytest.raises(LocalaiError) as caught:
            cache.remove()
        assert caught.value.error_id == "sandbox-cache-in-use"
        assert cache.container_root.exists()
    cache.remove()
    assert not cache.directory.exists()
