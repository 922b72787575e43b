"""The program that unpacks release archives: any layout, nothing outside, and a refusal changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "playbooks" / "roles" / "conda" / "files"
BACKEND = b"\x7fELF\0libcudart.so.12\0libcublas.so.12\0libcuda.so.1\0"
SERVER = {"llama-b7/llama-server": b"server", "llama-b7/libggml-cuda.so": BACKEND}
CUDA = {"cudart/libcudart.so.12": b"r", "cudart/libcublas.so.12": b"b"}

Content = Mapping[str, bytes | tarfile.TarInfo]


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


class Place:
    """A folder as ``/opt/localai-deploy``."""

    def __init__(self, folder: Path) -> None:
        self.prefix, self.archives = folder / "envs" / "llama", folder / "archives" / "llama"
        self.prefix.parent.mkdir()
        self.archives.mkdir(parents=True)
        self.wanted: dict[str, str] = {}

    def install(self, *archives: Content | bytes, variant: str = "cpu") -> dict[str, str]:
        """Run the program; its answer."""
        packages = [self._fetched(f"part{i}", content, variant) for i, content in enumerate(archives)]
        self.wanted = {package["name"]: package["sha256"] for package in packages}
        lock = self.prefix.parent.parent / "lock.json"
        lock.write_text(json.dumps({"variant": variant, "packages": packages}))
        return self._run(
            "unpack_archives.py",
            *("--prefix", str(self.prefix), "--lock", str(lock), "--archives", str(self.archives)),
        )

    def differences(self) -> dict[str, Any]:
        """What the role finds missing or damaged, by the program that compares any environment."""
        words = ("status", "--prefix", str(self.prefix), "--packages", json.dumps(self.wanted))
        return self._run("conda_environment.py", *words)

    def files(self) -> dict[str, str]:
        """Path in the prefix → text; of a link its target."""
        found = (path for path in self.prefix.rglob("*") if path.is_symlink() or path.is_file())
        return {
            str(path.relative_to(self.prefix)): f"-> {path.readlink()}"
            if path.is_symlink()
            else path.read_text(errors="replace")
            for path in found
            if path.parent.name != "conda-meta"
        }

    def _fetched(self, name: str, content: Content | bytes, variant: str) -> dict[str, str]:
        data = content if isinstance(content, bytes) else packed(content)
        sha256 = hashlib.sha256(data).hexdigest()
        (self.archives / f"{sha256}.tar").write_bytes(data)
        told = {"version": "7", "build": f"{variant}_archive", "subdir": "linux-64"}
        return {"name": name, "url": f"https://example.org/{name}.tar.gz", "sha256": sha256, **told}

    def _run(self, program: str, *words: str) -> dict[str, Any]:
        done = subprocess.run([sys.executable, str(FILES / program), *words], capture_output=True, text=True)
        answer = dict(json.loads(done.stdout))
        assert done.returncode == (3 if "error_id" in answer else 0), done.stderr
        return answer


def packed(content: Content) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, given in content.items():
            info = given if isinstance(given, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(given, tarfile.TarInfo) else given
            info.size, info.mode = len(data), 0o4777
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("content", "files"),
    [
        ({"llama-b7/llama-server": b"s", "llama-b7/LICENSE": b"l"}, {"bin/llama-server", "bin/LICENSE"}),
        ({"./llama-server": b"s", "./libllama.so": b"x"}, {"bin/llama-server", "bin/libllama.so"}),
        ({"build/bin/llama-server": b"s", "LICENSE": b"l"}, {"bin/llama-server", "LICENSE"}),
        ({"a/bin/llama-server": b"s", "a/lib/libllama.so": b"x"}, {"bin/llama-server", "lib/libllama.so"}),
    ],
    ids=["one folder", "none", "build/bin", "bin and lib"],
)
def test_layouts(place: Place, content: Content, files: set[str]) -> None:
    place.install(content)
    assert set(place.files()) == files
    assert place.differences() == {"changed_packages": [], "damaged_files": []}


def test_cudas_libraries_come_beside_the_server(place: Place) -> None:
    links: Content = {
        "cudart/libcudart.so": member("cudart/libcudart.so", tarfile.SYMTYPE, "libcudart.so.12")
    }
    place.install(SERVER, {**CUDA, **links}, variant="cuda12")
    assert place.files() == {
        "bin/llama-server": "server",
        "bin/libggml-cuda.so": BACKEND.decode(errors="replace"),
        "bin/libcudart.so.12": "r",
        "bin/libcublas.so.12": "b",
        "bin/libcudart.so": "-> libcudart.so.12",
    }
    assert place.differences() == {"changed_packages": [], "damaged_files": []}
    assert (place.prefix / "bin" / "llama-server").stat().st_mode & 0o7777 == 0o755


def test_damage_is_seen_and_repaired_in_a_new_directory(place: Place) -> None:
    first = place.install(SERVER)["directory"]
    (place.prefix / "bin" / "llama-server").write_bytes(b"changed")
    assert place.differences()["damaged_files"] == ["bin/llama-server"]
    second = place.install(SERVER)["directory"]
    assert second != first
    assert place.differences()["damaged_files"] == []
    assert [str(path) for path in place.archives.iterdir()] == [second]


def test_a_conda_environment_is_replaced_and_another_directory_is_not(place: Place) -> None:
    (place.prefix / "conda-meta").mkdir(parents=True)
    (place.prefix / "conda-meta" / "x.json").write_text("{}")
    place.install(SERVER)
    assert place.prefix.is_symlink()
    assert len(list(place.archives.iterdir())) == 1
    place.prefix.unlink()
    place.prefix.mkdir()
    (place.prefix / "mine").write_text("")
    assert place.install(SERVER)["error_id"] == "conda-prefix-foreign"
    assert (place.prefix / "mine").exists()


BAD: dict[str, Content | bytes] = {
    "out by ..": {"../evil": b"x"},
    "out by .. inside": {"a/../../evil": b"x"},
    "absolute": {"/evil": b"x"},
    "directory outside": {"..": member("..", tarfile.DIRTYPE)},
    "link to a directory above": {"a/l": member("a/l", tarfile.SYMTYPE, "..")},
    "link with a path": {"a/l": member("a/l", tarfile.SYMTYPE, "b/../../evil")},
    "absolute link": {"a/l": member("a/l", tarfile.SYMTYPE, "/etc/shadow")},
    "hard link": {"a/l": member("a/l", tarfile.LNKTYPE, "a/llama-server")},
    "device": {"a/null": member("a/null", tarfile.CHRTYPE)},
    "pipe": {"a/pipe": member("a/pipe", tarfile.FIFOTYPE)},
    "no server": {"a/llama-cli": b"x"},
    "empty": {},
    "no archive": b"<html>not found</html>",
    "cut short": packed({"a/llama-server": b"x" * (1 << 20)})[:500],
}


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_used_leaves_all_as_it_was(place: Place, bad: str) -> None:
    before = place.install(SERVER)["directory"]
    content = BAD[bad]
    whole = content if isinstance(content, bytes) else {"a/x": b"x", **content}
    answer = place.install(whole)
    assert answer["error_id"] == "archive-unusable", answer
    assert str(place.prefix.readlink()) == before
    assert [str(path) for path in place.archives.iterdir()] == [before]
    assert not list(place.archives.parent.parent.rglob("evil"))


@pytest.mark.parametrize(
    ("archives", "variant", "why"),
    [
        (({"a/llama-server": b"s"}, CUDA), "cuda12", "libggml-cuda.so is not in them"),
        ((SERVER, CUDA), "cuda13", "libggml-cuda.so needs libcublas.so.12, libcudart.so.12"),
        ((SERVER,), "cuda12", "needs libcublas.so.12, libcudart.so.12, which none of them holds"),
    ],
    ids=["CPU build", "other major", "without CUDA's libraries"],
)
def test_no_cuda_for_a_planned_card(
    place: Place, archives: tuple[Content, ...], variant: str, why: str
) -> None:
    answer = place.install(*archives, variant=variant)
    assert answer["error_id"] == "archive-without-cuda"
    assert answer["why"].endswith(why)
    assert not place.prefix.exists()
