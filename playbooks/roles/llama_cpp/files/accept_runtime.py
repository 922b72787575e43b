#!/usr/bin/env python3
"""Accept a server out of a conda environment: it is the locked package's, unaltered, and it runs.

Standard library only; changes nothing. Prints one JSON object; exit 0 accepted, 3 refused with an error
object {error_id, what, why, hint}.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 60


class Refusal(Exception):  # noqa: N818
    """The server is not accepted; ``answer`` is what the caller reads."""

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        super().__init__(what)
        self.answer = {"error_id": "runtime-not-accepted", "what": what, "why": why, "hint": hint}


def package_record(prefix: Path, name: str) -> dict[str, Any]:
    """What ``conda-meta`` says of a package; raises Refusal."""
    for path in sorted((prefix / "conda-meta").glob(f"{name}-*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("name") == name:
            return dict(record)
    raise Refusal(f"{prefix} holds no package {name}", "conda-meta has no record of it")


def check_package(record: Mapping[str, Any], wanted: Mapping[str, str], variant: str) -> None:
    """Raise Refusal unless the installed package is the locked one, of the right variant."""
    differing = [key for key in sorted(wanted) if record.get(key) != wanted[key]]
    if differing:
        found = ", ".join(f"{key} {record.get(key)!r} instead of {wanted[key]!r}" for key in differing)
        raise Refusal(f"{wanted['name']} is not the locked package", found)
    if not wanted["build"].startswith(variant):
        raise Refusal(f"{wanted['name']} is no {variant} build", f"its build string is {wanted['build']!r}")


def check_file(prefix: Path, executable: Path, record: Mapping[str, Any]) -> str:
    """SHA-256 of the executable; raises Refusal unless the package recorded it."""
    relative = str(executable.relative_to(prefix))
    entries = {entry["_path"]: entry for entry in record.get("paths_data", {}).get("paths", [])}
    if relative not in entries or not executable.is_file():
        raise Refusal(f"{executable} is not there", f"{record['name']} should bring it")
    recorded = entries[relative].get("sha256_in_prefix") or entries[relative].get("sha256")
    actual = hashlib.sha256(executable.read_bytes()).hexdigest()
    if actual != recorded:
        raise Refusal(f"{executable} was altered", f"its SHA-256 is {actual}, recorded was {recorded}")
    return actual


def check_runs(executable: Path, environment: Mapping[str, str]) -> None:
    """Start it without privileges, as the service will be; raises Refusal."""
    command = [str(executable), "--version"]
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            user="nobody",
            cwd="/",
            env={**os.environ, **environment},
        )
    except subprocess.CalledProcessError as error:
        why = f"exit code {error.returncode}: {error.stderr.strip()[-500:]}"
        raise Refusal(f"{executable} does not run", why) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"{executable} does not run", str(error)) from None


def accept(given: argparse.Namespace) -> dict[str, str]:
    """Check all; returns what to record of the executable."""
    if given.may_be_absent and not given.executable.exists():
        return {"executable_sha256": ""}
    wanted = json.loads(given.package)
    record = package_record(given.prefix, wanted["name"])
    check_package(record, wanted, given.variant)
    sha256 = check_file(given.prefix, given.executable, record)
    check_runs(given.executable, json.loads(given.environment))
    return {"executable_sha256": sha256}


def main() -> int:
    """Print the answer; returns the exit code."""
    parser = argparse.ArgumentParser(description="Accept a server out of a conda environment.")
    parser.add_argument("--prefix", type=Path, required=True)
    parser.add_argument("--executable", type=Path, required=True)
    parser.add_argument("--variant", required=True)
    parser.add_argument("--package", required=True, help="JSON: name, version, build, sha256")
    parser.add_argument("--environment", default="{}", help="JSON: variables for the server alone")
    parser.add_argument("--may-be-absent", action="store_true")
    try:
        print(json.dumps(accept(parser.parse_args())))
    except Refusal as refusal:
        print(json.dumps(refusal.answer))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
