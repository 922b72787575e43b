#!/usr/bin/env python3
"""What of the base role is on this host: Debian packages, accounts, records. Standard library only.

``look``       prints JSON {packages, added, pending, record, user, group}; changes nothing
``snapshot``   notes the installed packages, so that ``look`` can tell later what was added
``removable``  prints the recorded packages that nothing else on the host needs
"""

from __future__ import annotations

import argparse
import grp
import json
import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RECORD = "installed-packages.json"
SNAPSHOT = "packages-before.json"


def installed_packages() -> set[str]:
    """Names of all packages that are fully installed."""
    lines = _output("dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\n").splitlines()
    return {name for status, name in (line.split("\t") for line in lines) if status.startswith("ii")}


def removable(recorded: set[str]) -> set[str]:
    """The largest subset of ``recorded`` whose removal takes nothing else along."""
    wanted = recorded & installed_packages()
    while wanted and (others := removed_with(wanted) - wanted):
        needed = {name for name in wanted if removed_with({name}) & others}
        wanted -= needed or wanted
    return wanted


def removed_with(names: set[str]) -> set[str]:
    """What apt would remove along with ``names``, itself included."""
    text = _output("apt-get", "--simulate", "-o", "Debug::NoLocking=1", "purge", *sorted(names))
    return {match[1] for match in re.finditer(r"^(?:Purg|Remv) (\S+)", text, re.MULTILINE)}


def look(config_dir: Path, user: str, group: str) -> dict[str, Any]:
    """State of the host; ``added``: packages since the snapshot, ``pending``: there is a snapshot."""
    packages = installed_packages()
    before = _read(config_dir / SNAPSHOT)
    return {
        "packages": sorted(packages),
        "added": sorted(packages - set(before)) if before is not None else [],
        "pending": before is not None,
        "record": _read(config_dir / RECORD),
        "user": _exists(pwd.getpwnam, user),
        "group": _exists(grp.getgrnam, group),
    }


def snapshot(config_dir: Path) -> None:
    """Write the snapshot at once or not at all."""
    path = config_dir / SNAPSHOT
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(sorted(installed_packages())), encoding="utf-8")
    fresh.replace(path)


def _exists(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Content of a JSON file; None when it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _output(*argv: str) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("look", "snapshot", "removable"))
    parser.add_argument("config_dir", type=Path)
    parser.add_argument("user")
    parser.add_argument("group")
    given = parser.parse_args()
    if given.command == "snapshot":
        snapshot(given.config_dir)
    elif given.command == "removable":
        recorded = (_read(given.config_dir / RECORD) or {}).get("packages", [])
        print(json.dumps(sorted(removable(set(recorded)))))
    else:
        print(json.dumps(look(given.config_dir, given.user, given.group)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
