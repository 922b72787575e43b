#!/usr/bin/env python3
"""What of the base role is on this host: Debian packages, accounts, records. Standard library only.

``look``       prints JSON {packages, added, pending, record, user, group, wsl_*}; changes nothing
``snapshot``   notes the installed packages, so that ``look`` can tell later what was added
``removable``  prints the packages that came with us and that nothing else on the host needs
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
WSL_RECORD = "wsl.json"
ANSIBLE_NEEDS = ("python3-apt",)
"""Ansible's apt module brings it where it is missing."""


def installed_packages() -> set[str]:
    """Names of all packages that are fully installed."""
    return {name for name, status in known_packages().items() if status.startswith("ii")}


def known_packages() -> dict[str, str]:
    """Name → dpkg's status of all packages that are installed, half installed or only configured."""
    lines = _output("dpkg-query", "-W", "-f", "${Package}\t${db:Status-Abbrev}\n").splitlines()
    return dict(line.split("\t") for line in lines)


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


def added(config_dir: Path, wanted: list[str]) -> set[str]:
    """Packages since the snapshot that ``wanted`` need: what an admin installed meanwhile stays out."""
    before = _read(config_dir / SNAPSHOT)
    fresh = installed_packages() - set(before) if before is not None else set()
    return fresh & needed_by({*wanted, *ANSIBLE_NEEDS} & {*known_packages()})


def needed_by(names: set[str]) -> set[str]:
    """``names`` and all that they depend on, directly or not."""
    if not names:
        return set()
    options = ("--recurse", "--installed", "--no-recommends", "--no-suggests", "--no-enhances")
    return {*names, *_output("apt-cache", "depends", *options, *sorted(names)).split()}


def look(config_dir: Path, user: str, group: str, wanted: list[str]) -> dict[str, Any]:
    """State of the host; ``added``: packages since the snapshot, ``pending``: there is a snapshot."""
    return {
        "packages": sorted(installed_packages()),
        "added": sorted(added(config_dir, wanted)),
        "pending": _read(config_dir / SNAPSHOT) is not None,
        "record": _read(config_dir / RECORD),
        "user": _exists(pwd.getpwnam, user),
        "group": _exists(grp.getgrnam, group),
        "wsl_without_systemd": is_wsl() and not Path("/run/systemd/system").is_dir(),
        "wsl_changed": (config_dir / WSL_RECORD).exists(),
    }


def is_wsl() -> bool:
    """Whether the kernel is the one that Windows brings."""
    return "microsoft" in Path("/proc/version").read_text(encoding="utf-8", errors="replace").lower()


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
    parser.add_argument("wanted", nargs="*", help="packages of the role")
    given = parser.parse_args()
    if given.command == "snapshot":
        snapshot(given.config_dir)
    elif given.command == "removable":
        recorded = (_read(given.config_dir / RECORD) or {}).get("packages", [])
        ours = {*recorded, *added(given.config_dir, given.wanted)}
        print(json.dumps(sorted(removable(ours))))
    else:
        print(json.dumps(look(given.config_dir, given.user, given.group, given.wanted)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
