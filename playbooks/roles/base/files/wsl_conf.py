#!/usr/bin/env python3
"""Switch systemd on in WSL's /etc/wsl.conf, and take that back. Standard library only.

``on``       sets systemd=true under [boot]; all other lines stay, the file as it was is kept
``restore``  puts the file back as it was; one that was changed since only loses our line
``restart``  ends with an error object and exit 3: WSL reads the file when it starts the distribution

``on`` and ``restore`` print {changed: true|false}; with --check they change nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

RECORD = "wsl.json"
BACKUP = "wsl.conf.before"
NAME = "systemd"
_SECTION = re.compile(r"\s*\[\s*([^\]]*?)\s*\]")
_SETTING = re.compile(r"\s*([^=#\s]+)\s*=\s*([^#]*?)\s*(#.*)?$")


def switched_on(text: str) -> str:
    """``text`` with systemd on under [boot]; equal to ``text`` where it is on already."""
    lines, places = text.splitlines(keepends=True), _boot_lines(text)
    settings = [number for number in places if _setting(lines[number])]
    if settings and all(_setting(lines[number]) in {"true", "1"} for number in settings):
        return text
    if settings:
        for number in settings:
            lines[number] = f"{NAME}=true\n"
    elif places:
        lines[places[0] : places[0] + 1] = [_ended(lines[places[0]]), f"{NAME}=true\n"]
    else:
        lines = [*map(_ended, lines), f"[boot]\n{NAME}=true\n"]
    return "".join(lines)


def switched_back(text: str, before: str) -> str:
    """``text``, which somebody changed since, with what ``before`` says of systemd in place of ours."""
    old = before.splitlines(keepends=True)
    kept = [old[number] for number in _boot_lines(before) if _setting(old[number])]
    lines, places = text.splitlines(keepends=True), _boot_lines(text)
    ours = [number for number in places if _setting(lines[number])]
    if not ours:
        return text
    lines[ours[0]] = "".join(map(_ended, kept))
    for number in ours[1:]:
        lines[number] = ""
    if len(places) == 1 + len(ours) and not kept and not _boot_lines(before):
        lines[places[0]] = ""
    return "".join(lines)


def _boot_lines(text: str) -> list[int]:
    """Numbers of the lines of section [boot], its head first, without empty ones."""
    found, inside = [], False
    for number, line in enumerate(text.splitlines()):
        if head := _SECTION.match(line):
            inside = head[1].lower() == "boot"
        if inside and line.strip():
            found.append(number)
    return found


def _setting(line: str) -> str:
    """Value of the switch in lower case; empty on other lines."""
    match = _SETTING.match(line)
    return (match[2].strip("\"'").lower() or "-") if match and match[1].lower() == NAME else ""


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n"


def turn_on(conf: Path, place: Path, *, check: bool) -> bool:
    """Switch systemd on; what was there is kept before anything is written."""
    before = _read(conf)
    after = switched_on(before)
    if after == before or check:
        return after != before
    record = _record(place)
    if not record:
        if conf.exists():
            shutil.copy2(conf, place / BACKUP)
        record = {"existed": conf.exists()}
    _write(place / RECORD, json.dumps({**record, "after": None if "after" in record else after}), conf)
    _write(conf, after, conf)
    return True


def restore(conf: Path, place: Path, *, check: bool) -> bool:
    """Take back what :func:`turn_on` did; without its record nothing was done."""
    record = _record(place)
    if not record or check:
        return bool(record)
    now, before = _read(conf), _read(place / BACKUP)
    wanted = before if now == record["after"] else switched_back(now, before)
    if not wanted.strip() and not record["existed"]:
        conf.unlink(missing_ok=True)
    elif wanted != now:
        _write(conf, wanted, conf)
    for path in (Path(f"{conf}.new"), place / BACKUP, place / RECORD):
        path.unlink(missing_ok=True)
    return True


def restart_problem(name: str) -> dict[str, str]:
    """The error object of a distribution that has to be started anew."""
    return {
        "error_id": "wsl-restart-needed",
        "what": f"{name} has to be restarted by Windows",
        "why": "WSL reads /etc/wsl.conf, which switches systemd on, only when it starts a distribution",
        "hint": (
            "in Windows: wsl.exe --terminate DISTRIBUTION (wsl.exe --list names it; it ends everything that "
            "runs in it), open it again, and run the same command"
        ),
    }


def _record(place: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((place / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _read(path: Path) -> str:
    """Any bytes, and as they are: no line end is changed."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def _write(path: Path, text: str, like: Path) -> None:
    """At once or not at all, with the mode and the owner of ``like`` if that is there."""
    fresh = Path(f"{path}.new")
    fresh.write_bytes(text.encode("utf-8", "surrogateescape"))
    fresh.chmod(0o644)
    if like.exists():
        status = like.stat()
        fresh.chmod(status.st_mode & 0o7777)
        os.chown(fresh, status.st_uid, status.st_gid)
    fresh.replace(path)


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(description="Switch systemd on in /etc/wsl.conf, and take that back.")
    parser.add_argument("command", choices=("on", "restore", "restart"))
    parser.add_argument("config_dir", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--conf", type=Path, default=Path("/etc/wsl.conf"))
    given = parser.parse_args()
    if given.command == "restart":
        print(json.dumps(restart_problem(os.uname().nodename)))
        return 3
    act = turn_on if given.command == "on" else restore
    print(json.dumps({"changed": act(given.conf.resolve(), given.config_dir, check=given.check)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
