#!/usr/bin/env python3
"""Unpack release archives side by side into a new directory, and let a prefix be a link to it.

The directory is laid out and recorded as a conda environment is: programs in ``bin``, and in ``conda-meta`` a
record for each archive with the hashes of its files. Standard library only. Prints one JSON object; exit
0 done, 3 refused with an error object {error_id, what, why, hint}; then the prefix is as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import re
import shutil
import stat
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

SERVER = "bin/llama-server"
CUDA_BACKEND = "bin/libggml-cuda.so"
CUDA_LIBRARY = re.compile(rb"lib(?:cudart|cublas)\.so\.(\d+)(?=\0)")
"""Names of CUDA's libraries in an ELF file's table of strings; CUDA's major version ends them."""


class Refusal(Exception):  # noqa: N818
    """An expected failure; ``answer`` is what the caller reads."""

    def __init__(self, error_id: str, what: str, why: str, hint: str = "") -> None:
        super().__init__(what)
        self.answer = {"error_id": error_id, "what": what, "why": why, "hint": hint}


def install(prefix: Path, lock: Mapping[str, Any], archives: Path) -> dict[str, str]:
    """Unpack the lock's packages and switch ``prefix``; in ``archives`` only what it links to is left."""
    new = Path(tempfile.mkdtemp(prefix=f"{lock['packages'][0]['version']}-", dir=archives))
    try:
        new.chmod(0o755)
        for package in lock["packages"]:
            unpack(archives / f"{package['sha256']}.tar", package, new)
        check_build(new, lock["variant"])
        switch(prefix, new, archives)
    finally:
        sweep(archives, prefix.resolve())
    return {"directory": str(new)}


def unpack(archive: Path, package: Mapping[str, Any], root: Path) -> None:
    """Unpack one archive into ``root`` and record it; its program's directory becomes ``bin``.

    A file that an earlier archive brought stays that one's.
    """
    with tempfile.TemporaryDirectory(dir=root.parent) as name:
        scratch = Path(name)
        try:
            with tarfile.open(archive) as tar:
                found = dict(_extracted(tar, scratch))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise Refusal("archive-unusable", f"{package['url']} cannot be unpacked", str(error)) from None
        home, kept = home_of(found), {}
        for path, entry in found.items():
            placed = place(path, home)
            if not os.path.lexists(root / placed):
                (root / placed).parent.mkdir(parents=True, exist_ok=True)
                (scratch / path).rename(root / placed)
                kept[str(placed)] = entry
    _record(root, package, kept)


def _extracted(tar: tarfile.TarFile, scratch: Path) -> Iterator[tuple[PurePosixPath, dict[str, Any]]]:
    for member in tar:
        path = PurePosixPath(member.name)
        if member.isdir() and ".." not in path.parts:
            continue
        _check_member(member, path)
        target = scratch / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.issym():
            target.symlink_to(member.linkname)
            yield path, {"path_type": "softlink"}
            continue
        content = tar.extractfile(member)
        assert content is not None  # noqa: S101 - it is a regular file
        with target.open("xb") as file:
            entry = _copied(content, file)
        target.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)
        yield path, entry


def _check_member(member: tarfile.TarInfo, path: PurePosixPath) -> None:
    """Only regular files and links to a neighbour, as shared libraries have them: nothing leads outside."""
    if path.is_absolute() or ".." in path.parts:
        raise Refusal("archive-unusable", f"the archive holds {member.name!r}", "its path leads outside")
    if member.issym() and ("/" in member.linkname or member.linkname in (".", "..")):
        raise Refusal(
            "archive-unusable", f"the archive holds {member.name!r}", f"it is a link to {member.linkname!r}"
        )
    if not (member.isreg() or member.issym()):
        raise Refusal(
            "archive-unusable",
            f"the archive holds {member.name!r}",
            "it is neither a file nor a symbolic link",
        )


def _copied(content: IO[bytes], file: IO[bytes]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    while data := content.read(1 << 20):
        digest.update(data)
        size += file.write(data)
    return {"path_type": "hardlink", "sha256": digest.hexdigest(), "size_in_bytes": size}


def home_of(paths: Iterable[PurePosixPath]) -> PurePosixPath:
    """The directory of an archive's server, else of the shared library that lies nearest to the top."""
    wanted = [path for path in paths if path.name == PurePosixPath(SERVER).name]
    libraries = [path for path in paths if ".so" in path.name]
    nearest = sorted(wanted or libraries or paths, key=lambda path: (len(path.parts), path))
    if not nearest:
        raise Refusal("archive-unusable", "the archive is empty", "it holds no file")
    return nearest[0].parent


def place(path: PurePosixPath, home: PurePosixPath) -> PurePosixPath:
    """Where a file goes: ``home`` becomes ``bin``, and what lies beside ``home`` stays beside it."""
    if home in path.parents:
        return "bin" / path.relative_to(home)
    return path.relative_to(home.parent) if home.parent in path.parents else path


def _record(root: Path, package: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> None:
    record = {
        **{key: package[key] for key in ("name", "version", "build", "subdir", "url", "sha256")},
        "files": sorted(files),
        "paths_data": {"paths": [{"_path": path, **files[path]} for path in sorted(files)]},
    }
    target = root / "conda-meta" / f"{package['name']}-{package['version']}-{package['build']}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def check_build(root: Path, variant: str) -> None:
    """Raise Refusal unless there is a server and, for CUDA, its backend with all that it needs."""
    if not (root / SERVER).is_file():
        raise Refusal("archive-unusable", "no archive holds llama-server", "the first one must")
    if not variant.startswith("cuda"):
        return
    what = f"the archives are no {variant} build"
    backend = root / CUDA_BACKEND
    if not backend.is_file():
        raise Refusal("archive-without-cuda", what, f"{backend.name} is not in them")
    needed = cuda_libraries(backend)
    if wrong := sorted(name for name, major in needed.items() if f"cuda{major}" != variant):
        raise Refusal("archive-without-cuda", what, f"{backend.name} needs {', '.join(wrong)}")
    if missing := sorted(name for name in needed if not (root / "bin" / name).exists()):
        hint = "name the cudart-… archive of the same release as well"
        why = f"{backend.name} needs {', '.join(missing)}, which none of them holds"
        raise Refusal("archive-without-cuda", what, why, hint)


def cuda_libraries(library: Path) -> dict[str, int]:
    """Names of CUDA's own libraries that a shared library needs, with CUDA's major version."""
    if not library.stat().st_size:
        return {}
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return {match[0].decode(): int(match[1]) for match in CUDA_LIBRARY.finditer(content)}


def switch(prefix: Path, new: Path, archives: Path) -> None:
    """Let ``prefix`` be a link to ``new``, in one step where it was a link before."""
    if prefix.is_dir() and not prefix.is_symlink():
        if any(prefix.iterdir()) and not (prefix / "conda-meta").is_dir():
            why = "it is not empty and no conda environment"
            raise Refusal("conda-prefix-foreign", f"{prefix} is in the way", why, "move it away")
        prefix.rename(archives / "replaced")
    link = prefix.with_name(f"{prefix.name}.new")
    link.unlink(missing_ok=True)
    link.symlink_to(new)
    link.replace(prefix)


def sweep(archives: Path, kept: Path) -> None:
    """Remove all of ``archives`` but one directory."""
    for path in archives.iterdir():
        if path.is_dir() and path != kept:
            shutil.rmtree(path)
        elif not path.is_dir():
            path.unlink()


def main() -> int:
    """Print the answer; returns the exit code."""
    os.umask(0o022)
    parser = argparse.ArgumentParser(description="Unpack release archives side by side.")
    for name in ("--prefix", "--lock", "--archives"):
        parser.add_argument(name, type=Path, required=True)
    given = parser.parse_args()
    lock = json.loads(given.lock.read_text(encoding="utf-8"))
    try:
        print(json.dumps(install(given.prefix, lock, given.archives)))
    except Refusal as refusal:
        print(json.dumps(refusal.answer))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
