"""Temporary directories outlive their process only until the next one of the same kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localai_deploy.scratch import ScratchDirectory, remove_abandoned, short_directory

OWNER = """\
import sys, time
from pathlib import Path
from localai_deploy.scratch import ScratchDirectory
directory = ScratchDirectory("kind-", Path(sys.argv[1]))
(directory.path / "secret").write_text("x")
print(directory.path, flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def directory_of(owner: subprocess.Popen[str]) -> Path:
    assert owner.stdout is not None
    return Path(owner.stdout.readline().strip())


def test_a_directory_of_this_process(tmp_path: Path) -> None:
    closed: list[Path] = []
    scratch = ScratchDirectory("kind-", tmp_path, closed.append)
    (scratch.path / "below").mkdir()
    assert scratch.path.name.startswith("kind-")
    assert scratch.path.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == [scratch.path]
    scratch.remove()
    assert closed == [scratch.path]
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_uses_stays(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    used = directory_of(owner)
    ScratchDirectory("kind-", tmp_path).remove()
    assert (used / "secret").exists()


def test_what_a_killed_process_left_goes(tmp_path: Path, owner: subprocess.Popen[str]) -> None:
    left = directory_of(owner)
    owner.kill()
    owner.wait()
    assert (left / "secret").exists()
    closed: list[Path] = []
    remove_abandoned("kind-", tmp_path, closed.append)
    assert closed == [left]
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "kind-link").symlink_to(elsewhere)
    (tmp_path / "kind-file").touch()
    (tmp_path / "kind-open-to-others").mkdir(mode=0o755)
    (tmp_path / "another-kind").mkdir(mode=0o700)
    before = sorted(tmp_path.iterdir())
    remove_abandoned("kind-", tmp_path)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("runtime", "below", "found"),
    [
        ("/dev/shm", 80, "/dev/shm"),
        ("/dev/shm", 81, "/tmp"),
        ("", 10, "/tmp"),
        ("/nowhere", 10, "/tmp"),
        ("/dev/shm/a b", 10, "/tmp"),
    ],
)
def test_a_place_for_sockets(runtime: str, below: int, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert str(short_directory(below)) == found
