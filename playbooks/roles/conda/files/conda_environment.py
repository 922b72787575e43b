#!/usr/bin/env python3
"""A conda environment against its lock.

``status``   says what is missing, foreign or damaged; changes nothing, needs the standard library only
``check``    the same, and fails when there is anything
``install``  brings the environment in line with the lock file; needs py-rattler

All print one JSON object. Exit: 0 done, 3 refused with an error object {error_id, what, why, hint}.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rattler import RepoDataRecord

HASHED_BYTES = 64 << 20
"""What is larger and no program is compared by size alone: CUDA's libraries take seconds to read."""

WRONG_CONTENT = ("hash mismatch", "checksum", "corruption")
"""rattler hashes while it unpacks: a damaged archive may fail to unpack before its hash is known."""


class Refusal(Exception):  # noqa: N818
    """An expected failure; ``answer`` is what the caller reads."""

    def __init__(self, error_id: str, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.answer = {"error_id": error_id, "what": what, "why": why, "hint": hint}


def installed_records(prefix: Path) -> dict[str, dict[str, Any]]:
    """Package name → its record in ``conda-meta``; an unreadable record goes by its file's name."""
    return dict(map(_record, sorted((prefix / "conda-meta").glob("*.json"))))


def _record(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return str(record["name"]), record
    except (ValueError, TypeError, KeyError):
        return path.name, {}


def status(prefix: Path, wanted: Mapping[str, str]) -> dict[str, list[str]]:
    """Compare ``prefix`` with ``wanted`` (package name → SHA-256 of its archive).

    Returns ``changed_packages`` (missing, foreign or of another archive) and ``damaged_files``.
    """
    records = installed_records(prefix)
    found = {name: str(record.get("sha256", "")) for name, record in records.items()}
    changed = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    damaged = {path for name in {*wanted} - {*changed} for path in damaged_files(prefix, records[name])}
    return {"changed_packages": changed, "damaged_files": sorted(damaged)}


def damaged_files(prefix: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """Paths of a package, relative to ``prefix``, that are not as they were installed."""
    for entry in record.get("paths_data", {}).get("paths", []):
        if entry.get("path_type") in ("hardlink", "softlink") and not _intact(prefix, entry):
            yield entry["_path"]


def _intact(prefix: Path, entry: Mapping[str, Any]) -> bool:
    path = prefix / str(entry["_path"])
    if entry.get("path_type") == "softlink":
        return path.is_symlink() and path.exists()
    if path.is_symlink() or not path.is_file():
        return False
    hashed = entry.get("sha256_in_prefix") or entry.get("sha256")
    size = path.stat().st_size
    is_program = path.parent == prefix / "bin" and ".so" not in path.name
    if hashed and (size <= HASHED_BYTES or is_program):
        return file_sha256(path) == str(hashed)
    return size == int(entry.get("size_in_bytes", size))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def install(prefix: Path, lock: Mapping[str, Any], channel: str, cache: Path) -> dict[str, list[str]]:
    """Bring ``prefix`` in line with ``lock``; returns what :func:`status` said before.

    A prefix without one good package of the lock is made anew, so that nothing of an unfinished or
    foreign installation stays. ``cache`` is removed: its files are the environment's own, hard-linked.
    """
    wanted = {package["name"]: package["sha256"] for package in lock["packages"]}
    before = status(prefix, wanted)
    _make_room(prefix, wanted, before)
    damaged = owners(prefix, before["damaged_files"])
    try:
        asyncio.run(_link(prefix, lock, channel, cache, damaged))
    finally:
        shutil.rmtree(cache, ignore_errors=True)
    check(prefix, wanted)
    return before


def _make_room(prefix: Path, wanted: Mapping[str, str], before: Mapping[str, list[str]]) -> None:
    records = installed_records(prefix)
    if not prefix.exists() or (all(records.values()) and {*wanted} - {*before["changed_packages"]}):
        return
    if any(prefix.iterdir()) and not (prefix / "conda-meta").is_dir():
        hint = "move it away, or name another conda_prefix"
        raise Refusal("conda-prefix-foreign", f"{prefix} is not empty and no conda environment", hint=hint)
    shutil.rmtree(prefix)


def owners(prefix: Path, paths: list[str]) -> set[str]:
    """Names of the packages that ``paths`` belong to."""
    lost = set(paths)
    records = installed_records(prefix)
    return {name for name, record in records.items() if lost & set(record.get("files", []))}


async def _link(
    prefix: Path, lock: Mapping[str, Any], channel: str, cache: Path, reinstalled: set[str]
) -> None:
    from rattler import install as rattler_install
    from rattler.exceptions import InstallerError

    try:
        await rattler_install(
            [_locked_record(package, channel) for package in lock["packages"]],
            prefix,
            cache_dir=cache,
            reinstall_packages=reinstalled,
            show_progress=False,
        )
    except InstallerError as error:
        raise _refusal(str(error)) from None


def _refusal(text: str) -> Refusal:
    why = " / ".join(text.splitlines())
    if any(sign in text.lower() for sign in WRONG_CONTENT):
        hint = "the channel, or a mirror of it, serves another file than the one that was locked"
        return Refusal("conda-package-wrong", "a conda package is not the locked one", why, hint)
    return Refusal("conda-install-failed", "the conda packages cannot be installed", why)


def _locked_record(package: Mapping[str, Any], channel: str) -> RepoDataRecord:
    from rattler import BuildString, PackageRecord, RepoDataRecord

    record = PackageRecord(
        package["name"],
        package["version"],
        BuildString(package["build"]),
        0,
        package["subdir"],
        sha256=bytes.fromhex(package["sha256"]),
        size=package["size_bytes"] or None,
    )
    url = f"{channel}/{package['url']}"
    return RepoDataRecord(record, url.rsplit("/", 1)[1], url, channel)


def check(prefix: Path, wanted: Mapping[str, str]) -> dict[str, list[str]]:
    """Return :func:`status`; raises Refusal ``conda-environment-wrong`` when anything differs."""
    found = status(prefix, wanted)
    if wrong := found["changed_packages"] + found["damaged_files"]:
        why = f"not as locked: {', '.join(wrong[:10])}"
        raise Refusal("conda-environment-wrong", f"{prefix} is not what the lock says", why)
    return found


def run(given: argparse.Namespace) -> dict[str, list[str]]:
    """Run the command; returns its answer, raises Refusal."""
    if given.command == "install":
        lock = json.loads(given.lock.read_text(encoding="utf-8"))
        return install(given.prefix, lock, given.channel.rstrip("/"), given.cache)
    wanted = json.loads(given.packages)
    return (check if given.command == "check" else status)(given.prefix, wanted)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A conda environment against its lock.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("status", "check", "install"):
        command = commands.add_parser(name)
        command.add_argument("--prefix", type=Path, required=True)
        if name != "install":
            command.add_argument("--packages", required=True, help="JSON: package name to SHA-256")
            continue
        command.add_argument("--lock", type=Path, required=True)
        command.add_argument("--channel", required=True)
        command.add_argument("--cache", type=Path, required=True)
    return parser.parse_args()


def main() -> int:
    """Print the answer; returns the exit code."""
    os.umask(0o022)
    try:
        answer: dict[str, Any] = run(arguments())
    except Refusal as refusal:
        print(json.dumps(refusal.answer))
        return 3
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
