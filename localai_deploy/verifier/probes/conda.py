"""A conda prefix out of its ``conda-meta``: which packages, and which file belongs to which of them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
PACKAGE_FIELDS = ("name", "version", "build", "sha256")


def read_records(prefix: str) -> dict[str, dict[str, Any]]:
    """File name in ``conda-meta`` → record; an unreadable record is empty."""
    return {path.name: _read(path) for path in sorted(Path(prefix, "conda-meta").glob("*.json"))}


def packages(records: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """Name, version, build and archive hash of every record."""
    return [{"file": name, **_package(record)} for name, record in records.items()]


def owners(prefix: str, records: dict[str, dict[str, Any]], paths: list[str]) -> list[dict[str, str]]:
    """For each path below ``prefix``: its hash now, the hash recorded for it, and the package that did.

    The recorded hash is the file's after its prefix was written into it; empty fields: nobody recorded it.
    """
    root = os.path.realpath(prefix)
    relative = {os.path.relpath(path, root): path for path in paths if path.startswith(root + "/")}
    found = {
        name: {"path": path, "sha256": file_sha256(path), "recorded_sha256": "", "package": ""}
        for name, path in relative.items()
    }
    for record in records.values():
        for entry in record.get("paths_data", {}).get("paths", []):
            if entry.get("_path") in found:
                recorded = entry.get("sha256_in_prefix") or entry.get("sha256") or ""
                owner = {"recorded_sha256": recorded, "package": str(record.get("name") or "")}
                found[entry["_path"]].update(owner)
    return list(found.values())


def file_sha256(path: str) -> str:
    """SHA-256 of a file in hex; empty when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as source:  # noqa: PTH123
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def _package(record: dict[str, Any]) -> dict[str, str]:
    return {field: str(record.get(field) or "") for field in PACKAGE_FIELDS}


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
